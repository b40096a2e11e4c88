"""The reference says what the program does: nothing is missing and nothing is invented."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from compose import admission
from compose.errors import UnfitAdapterError
from compose.methods import METHODS
from compose.methods.method import Method, Option
from compose.methods.reference import MethodReference, reference
from compose.recipe import _FILTERS, _KNOWN
from compose.similarity import NEAR_COPY
from compose.suite import _KNOWN as SUITE_KEYS
from ledger.errors import PnodeError
from ledger.predicate import FIELDS
from ledger.rules import CHECKS
from node.api import Node
from node.cli.program import COMMANDS, program
from tests.docs import commands_page
from tests.docs.pages import ROOT, name_of, pages

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PACKAGES = (
    "ledger",
    "compose",
    "attribution",
    "node",
    "node.checking",
    "node.cli",
    "node.describing",
    "node.identity",
    "node.peering",
    "node.storage",
    "node.web",
)

_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"`([^`]*)`")


def read(*names: str) -> str:
    return DOCS.joinpath(*names).read_text("utf-8")


def section(page: str, heading: str) -> str:
    """Return the text between a heading and the next of its level or above."""
    level = heading.split(" ", maxsplit=1)[0]
    _, _, rest = page.partition(f"\n{heading}\n")
    assert rest, f"no section '{heading}'"
    return re.split(rf"\n#{{1,{len(level)}}} ", rest)[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of all table rows, code marks and escapes removed."""
    lines = [line for line in text.split("\n") if line.startswith("| ") and "---" not in line]
    cut = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return [[cell.strip().strip("`").replace("\\|", "|") for cell in cells] for cells in cut]


def error_classes() -> list[type[PnodeError]]:
    """Return every class of error in every package."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for found in pkgutil.iter_modules(module.__path__):
            importlib.import_module(f"{package}.{found.name}")
    known: list[type[PnodeError]] = [PnodeError]
    for each in known:
        known.extend(sub for sub in each.__subclasses__() if sub not in known)
    return [each for each in known if not each.__module__.startswith("tests")]


def shown_options(command: click.Command) -> set[str]:
    listed = (param for param in command.params if not getattr(param, "hidden", False))
    return {name for param in listed for name in param.opts if name.startswith("-")}


def test_the_page_of_commands_is_what_the_program_says() -> None:
    hint = "run: python tests/docs/commands_page.py"
    assert commands_page.PAGE.read_text("utf-8") == commands_page.render(), hint


@pytest.mark.parametrize("name", [name for part in COMMANDS.values() for name in part])
def test_every_command_and_option_is_documented_and_no_other(name: str) -> None:
    group = program()
    context = click.Context(group, info_name="pnode")
    command = group.get_command(context, name)
    assert command is not None
    verbs = {"": command}
    if isinstance(command, click.Group):
        verbs = {f" {verb}": command.commands[verb] for verb in command.commands}
    page = read("reference", "commands.md")
    for verb, each in verbs.items():
        text = section(page, f"### `pnode {name}{verb}`")
        table = [row[0] for row in rows(text)]
        documented = {
            word for cell in table for word in re.findall(r"(?<!\S)--?[a-z][a-z-]*", cell)
        }
        assert documented == shown_options(each)


def test_every_error_has_a_hint_and_a_row() -> None:
    listed = {row[0]: row[1] for row in rows(read("reference", "exit-codes.md"))}
    for each in error_classes():
        assert each.default_hint.strip(), each
        assert each.code in listed, f"{each.__module__}.{each.__name__}"
    known = {each.code for each in error_classes()} | {"interrupted"}
    described = section(read("reference", "exit-codes.md"), "## Error codes")
    assert {row[0] for row in rows(described)} - {"code"} == known


def test_every_error_has_the_exit_code_its_row_says() -> None:
    described = section(read("reference", "exit-codes.md"), "## Error codes")
    codes: dict[str, set[int]] = {}
    for each in error_classes():
        codes.setdefault(each.code, set()).add(each.exit_code)
    said: dict[str, set[int]] = {}
    for code, exit_code, _ in rows(described)[1:]:
        said.setdefault(code, set()).add(int(exit_code))
    said.pop("interrupted")
    assert said == codes


def test_every_check_is_listed_with_its_sentence() -> None:
    listed = {row[0]: row[1] for row in rows(read("reference", "checks.md")) if len(row) == 2}
    assert {name: listed.get(name) for name in CHECKS} == dict(CHECKS)


def test_every_check_of_an_adapter_is_listed_with_its_code_and_limit() -> None:
    page = read("reference", "adapter.md")
    sections = {
        "## Files": admission.FILES,
        "## Header": admission.HEADER,
        "## Configuration": admission.CONFIGURATION,
        "## Fit": admission.FIT,
        "## Numbers": admission.VALUES,
    }
    for heading, checks in sections.items():
        listed = [row for row in rows(section(page, heading)) if row[0] != "code"]
        assert listed == [
            [f"{UnfitAdapterError.code}.{name}", check.rule.strip("`"), check.limit.strip("`")]
            for name, check in checks.items()
        ]
    assert f"cosine > {NEAR_COPY}" in page


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_has_a_section_with_its_parameters(method: Method) -> None:
    text = section(read("reference", "methods.md"), f"## {method.name}")
    assert f"Version {method.version}." in text
    assert "```text" in text, "no formula"
    table = {row[0]: row[1:] for row in rows(text)[1:]}
    assert set(table) == set(method.parameters)
    for name, parameter in method.parameters.items():
        default, values = table[name]
        assert default == parameter.default
        if isinstance(parameter, Option):
            assert all(option in values for option in parameter.options)
        else:
            assert values.startswith(parameter.values)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_method_says_itself_what_the_page_says(method: Method) -> None:
    said = reference(method)
    assert said.summary.endswith(".")
    assert not said.summary.startswith("`")
    assert said.text.startswith(f"Version {method.version}")
    assert [each.name for each in said.parameters] == list(method.parameters)


def test_no_method_is_documented_that_does_not_exist() -> None:
    headings = re.findall(r"^## (\S+)$", read("reference", "methods.md"), re.MULTILINE)
    assert sorted(headings) == sorted(METHODS)


def test_the_table_of_methods_says_how_they_treat_coalitions() -> None:
    page = read("reference", "methods.md").partition("\n## ")[0]
    for method in METHODS.values():
        (row,) = (row for row in rows(page) if f"[`{method.name}`]" in row[0])
        assert row[2] == ("yes" if method.needs_dev else "no")
        assert row[3] == ("yes" if method.level == "weight" else "no")
        assert row[4] == method.semantics


@pytest.mark.parametrize("kind", FIELDS)
def test_every_field_of_every_statement_is_specified(kind: str) -> None:
    text = section(read("spec", "statements.md"), f"### `{kind}`")
    needed = {row[0]: row[1] for row in rows(text)[1:]}
    required, optional = FIELDS[kind]
    assert needed == dict.fromkeys(required, "yes") | dict.fromkeys(optional, "no")


def test_every_key_of_recipe_and_suite_is_documented() -> None:
    recipe = read("reference", "recipe.md")
    assert {row[0] for row in rows(recipe) if len(row) == 3} - {"key"} == set(_KNOWN)
    assert all(key in section(recipe, "## Members") for key in _FILTERS)
    suite = section(read("reference", "suite.md"), "## `suite.toml`")
    assert {row[0] for row in rows(suite)} - {"key"} == set(SUITE_KEYS)


def test_every_field_of_the_documents_is_specified() -> None:
    from attribution.schema import RECORD_SHAPE
    from compose.lock import _KEYS as LOCK_KEYS

    lock = section(read("spec", "lock.md"), "## Lock")
    assert {row[0] for row in rows(lock)} - {"field"} == set(LOCK_KEYS)
    record, _, value = read("spec", "attribution-record.md").partition("A value:")
    assert {row[0] for row in rows(record)} - {"field"} == set(RECORD_SHAPE)
    (shape,) = RECORD_SHAPE["values"]
    named = {name for row in rows(value) for name in re.findall(r"\w+", row[0])} - {"field"}
    assert named == set(shape)


def schemas() -> dict[str, set[str]]:
    """Return the documented JSON objects: keys by schema."""
    table = rows(section(read("reference", "json.md"), "## Objects"))[1:]
    return {row[0].removeprefix("pnode.").removesuffix("/1"): set(keys(row[1])) for row in table}


def keys(cell: str) -> list[str]:
    return re.findall(r"\b[a-z_]+\b", re.sub(r", and `?(\w+)`?.*", r" \1", cell))


def written_schemas() -> set[str]:
    """Return the first argument of every `output.result(...)` in the command line."""
    names = set()
    for path in sorted((ROOT / "node" / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "result":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    names.add(str(first.value))
    return names


ARRAYS = {"list", "log", "base.list", "peer.list", "evidence.list", "evidence.add"}


def test_every_json_object_is_documented() -> None:
    assert set(schemas()) == written_schemas() - ARRAYS


def test_the_documented_keys_are_those_of_the_results() -> None:
    from node.attributing import Attributed
    from node.bases import KnownBase
    from node.checking.auditing import Audited
    from node.checking.faults import Settled
    from node.checking.replaying import Replayed
    from node.checking.verdict import Verified
    from node.cli.identity import Initialised, Standing
    from node.cli.record import HIDDEN
    from node.composing import Composed
    from node.demo.story import Told
    from node.doctor import Diagnosed
    from node.fetching import Fetched
    from node.identity.keyring import Keyring, Moved, Protected
    from node.identity.revocation import Revoked
    from node.identity.rotation import Renewed
    from node.identity.watching import Watched
    from node.peering.export import ExportReport
    from node.publish import Published, Withdrawn
    from node.reading import Shown
    from node.reporting import Reported
    from node.storage.carfiles import CarFile
    from node.storage.keeping import Cleaned, StoreStatus

    types = {
        "init": Initialised,
        "status": Standing,
        "key.show": Keyring,
        "key.rotate": Renewed,
        "key.recover": Renewed,
        "key.revoke": Revoked,
        "key.passphrase": Protected,
        "key.recovery": Moved,
        "watch": Watched,
        "publish": Published,
        "withdraw": Withdrawn,
        "show": Shown,
        "fetch": Fetched,
        "verify": Verified,
        "audit": Audited,
        "replay": Replayed,
        "replay.fault": Settled,
        "base.add": KnownBase,
        "methods": MethodReference,
        "compose": Composed,
        "attribute": Attributed,
        "report": Reported,
        "export": ExportReport,
        "store.status": StoreStatus,
        "store.gc": Cleaned,
        "store.export": CarFile,
        "store.import": CarFile,
        "demo": Told,
        "doctor": Diagnosed,
    }
    documented = schemas()
    for name, result in types.items():
        fields = {field.name for field in dataclasses.fields(result)} - HIDDEN
        assert documented[name] == fields, name


def test_json_of_a_command_has_the_documented_keys(tmp_path: Path) -> None:
    def pnode(*arguments: str) -> dict[str, object]:
        command = [sys.executable, "-c", "from node.cli import main; main()", "--json"]
        environment = {"PNODE_STATE": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*command, "--home", str(tmp_path / "home"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        value = json.loads(done.stdout)
        assert isinstance(value, dict)
        return value

    documented = schemas()
    for name, arguments in {
        "init": ["init", "--name", "ada"],
        "status": ["status"],
        "checkpoint": ["checkpoint"],
        "audit": ["audit"],
        "export": ["export", str(tmp_path / "stick")],
        "peer.add": ["peer", "add", str(tmp_path / "stick")],
        "sync": ["sync"],
        "peer.remove": ["peer", "remove", str(tmp_path / "stick")],
        "completion": ["completion", "bash"],
        "version": ["--version"],
    }.items():
        value = pnode(*arguments)
        assert value.pop("schema") == f"pnode.{name}/1"
        assert set(value) == documented[name], name


def test_every_method_of_the_python_interface_is_listed() -> None:
    page = read("reference", "python.md")
    public = {name for name, _ in inspect.getmembers(Node, callable) if not name.startswith("_")}
    listed = set()
    for row in rows(page)[1:]:
        listed |= set(re.findall(r"(?:Node\.)?\b(\w+)\(", row[0]))
    assert listed == public
    for name in public:
        described = re.search(rf"^\|.*\b{name}\(([^)]*)\)", page, re.MULTILINE)
        assert described is not None
        said = {word.strip().rstrip("=") for word in described[1].split(",") if word.strip()}
        parameters = set(inspect.signature(getattr(Node, name)).parameters) - {"self", "cls"}
        assert {word.rstrip("_") for word in parameters} == said, name


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_between_pages_resolve(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for found in _LINK.finditer(text):
        target, _, anchor = found["target"].partition("#")
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{name_of(page)}: {found['target']}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, found["target"]


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached = {ROOT / "README.md"}
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        for found in _LINK.finditer(page.read_text("utf-8")):
            target = (page.parent / found["target"].partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and target not in reached:
                reached.add(target)
                waiting.append(target)
    assert {name_of(page) for page in pages()} <= {name_of(page) for page in reached}


def test_every_page_that_the_program_names_exists() -> None:
    for package in ("ledger", "compose", "attribution", "node"):
        for path in (ROOT / package).rglob("*.py"):
            for name in re.findall(r"docs/[\w/-]+\.md", path.read_text("utf-8")):
                assert (ROOT / name).is_file(), f"{path}: {name}"


def test_every_runtime_dependency_has_its_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["compose"], *extras["ipfs"], *extras["report"]]
    reasons = {row[0].split(" ")[0] for row in rows(read("adr", "0011-light-base-install.md"))}
    assert {re.split(r"[<>=]", text)[0] for text in needed} == reasons - {"dependency"}


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_pages_are_plain_text_without_trailing_blanks(page: Path) -> None:
    for number, line in enumerate(page.read_text("utf-8").split("\n"), start=1):
        assert line.isascii(), f"{name_of(page)} line {number}: {line!r}"
        assert line == line.rstrip(), f"{name_of(page)} line {number}"
