# Everything runs in .venv; the first target that needs it creates it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# torch first and pinned to its CPU build: the usual one brings gigabytes of GPU libraries. Where
# pip does not find that build by itself, it comes from the index of the PyTorch project.
TORCH := torch==2.13.0+cpu
TORCH_INDEX := https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The independent implementations that tests/interop compares with; pnode itself needs none of them.
# What is in the group `beside` runs on the torch of .venv and has a folder of its own.
INTEROP := .venv-interop
INTEROP_READY := $(INTEROP)/.ready

.PHONY: demo test coverage interop check fix bench clean

demo: $(READY)
	$(BIN)/pnode demo --keep demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

coverage: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered

interop: $(READY) $(INTEROP_READY)
	PNODE_REQUIRE_INTEROP=1 $(BIN)/python -m pytest tests/interop

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	for bench in tests/bench/bench_*.py; do $(BIN)/python $$bench || exit 1; done

clean:
	rm -rf $(VENV) $(INTEROP) demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install $(TORCH) 2>/dev/null || $(PIP) install $(TORCH) --index-url $(TORCH_INDEX)
	$(PIP) install --editable ".[all,dev]"
	touch $@

# Two of them ask for Python 3.12 and run on 3.11; pip 25 is the first that knows groups.
$(INTEROP_READY): pyproject.toml
	$(PYTHON) -m venv $(INTEROP)
	$(INTEROP)/bin/python -m pip --quiet install pip==25.3
	$(INTEROP)/bin/python -m pip --quiet install --ignore-requires-python --group interop
	$(INTEROP)/bin/python -m pip --quiet install --no-deps --target $(INTEROP)/beside --group beside
	touch $@
