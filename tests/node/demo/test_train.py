"""Training the demo's models, with two steps instead of thousands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compose.adapter import inspect_adapter
from compose.base import open_base
from ledger.errors import UsageError
from node.demo import train as training
from node.demo.world import NAMES


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BASE_SCHEDULE", "ADAPTER_SCHEDULE"):
        schedule = getattr(training, name)
        monkeypatch.setattr(training, name, replace(schedule, steps=2, batch=4, warmup=1))


@pytest.mark.filterwarnings("ignore")  # transformers and peft, while training
def test_training_makes_models_that_pass_inspection_and_resumes(
    tmp_path: Path, short: None
) -> None:
    steps: list[str] = []
    training.train(tmp_path, progress=lambda stage, _done, _total: steps.append(stage))
    base = open_base(tmp_path / "base", name="cipher-tiny")
    for name in (name for pair in NAMES for name in pair):
        assert inspect_adapter(tmp_path / "adapters" / name, base).rank == 8
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert len(before) == 9
    (tmp_path / "adapters" / "hal" / "adapter_model.safetensors").unlink()
    (tmp_path / "adapters" / "hal" / "adapter_config.json").unlink()
    (tmp_path / "adapters" / "hal").rmdir()
    training.train(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == before


def test_a_folder_begun_with_another_seed_is_refused(tmp_path: Path, short: None) -> None:
    (tmp_path / "world.json").write_text("{}")
    with pytest.raises(UsageError, match="another seed"):
        training.train(tmp_path)
