"""Every check of the list refuses what it is for, in words, before anything else happens."""

from __future__ import annotations

import ast
import dataclasses
import json
import shutil
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from compose import admission
from compose.adapter import inspect_adapter, open_adapter
from compose.adapter_config import _CHECK_OF
from compose.admission import CHECKS
from compose.base import BaseModel, open_base
from compose.errors import UnfitAdapterError
from compose.header import PIECE_BYTES
from compose.llama import LinearLayer
from tests.compose.attacks import ATTACKS, Attack
from tests.compose.hostile import WEIGHTS, encode, frame, header_of

ROOT = Path(__file__).parents[2]
DATA = ROOT / "node" / "demo" / "data"
ELSEWHERE = {
    "spectral-norm": "test_one_direction_that_drowns_the_weight_is_refused",
    "unreadable": "test_file_that_shrank_after_its_header_was_read_is_refused",
}
"""Checks that no change of one small adapter can reach, and where they are tested."""


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return open_base(DATA / "base", name="cipher-tiny")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA / "adapters" / "ada", tmp_path / "adapter"))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_what_is_hostile_or_unfit_is_refused_by_its_check(
    attack: Attack, adapter: Path, base: BaseModel
) -> None:
    attack.change(adapter)
    with pytest.raises(UnfitAdapterError) as caught:
        inspect_adapter(adapter, base)
    assert caught.value.code == f"unfit-adapter.{attack.check}"
    assert attack.reason in caught.value.message
    assert caught.value.exit_code == 7
    assert caught.value.hint
    assert caught.value.message.isprintable()


def test_the_adapter_they_are_made_of_passes(adapter: Path, base: BaseModel) -> None:
    assert inspect_adapter(adapter, base).rank == 8


def test_the_corpus_has_an_attack_on_every_check() -> None:
    names = Counter(attack.name for attack in ATTACKS)
    assert len(names) == len(ATTACKS) >= 60
    assert {attack.check for attack in ATTACKS} == set(CHECKS) - set(ELSEWHERE)


def test_every_refusal_in_the_code_names_a_check_of_the_list() -> None:
    for path in [*(ROOT / "compose").rglob("*.py"), *(ROOT / "node").glob("*.py")]:
        text = path.read_text()
        if "Unfit" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            given = [each.value for each in node.keywords if each.arg == "check"]
            if getattr(node.func, "id", "") == "UnfitAdapterError":
                assert given, f"{path}:{node.lineno} names no check"
            names = {each.value for each in given if isinstance(each, ast.Constant)}
            assert names <= set(CHECKS), f"{path}:{node.lineno}"
    assert set(_CHECK_OF.values()) <= set(CHECKS)


def test_the_list_reads_nothing() -> None:
    """The rules are data: the module that holds them imports nothing that does anything."""
    tree = ast.parse(Path(str(admission.__file__)).read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= {"__future__", "collections.abc", "dataclasses", "typing"}
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))


def test_one_direction_that_drowns_the_weight_is_refused(tmp_path: Path, base: BaseModel) -> None:
    """Below the cap on the whole norm, all of it in one direction."""
    width, layers = 512, base.shape.layers
    linears = {
        name: LinearLayer(name, width, width) for name in base.linears if name.endswith("q_proj")
    }
    norms = dict.fromkeys(linears, 100.0)
    wide = dataclasses.replace(base, linears=linears, _norms=norms)
    for size, check in ((2.7, None), (2.9, "spectral-norm"), (8.1, "norm")):
        directory = tmp_path / str(size)
        directory.mkdir()
        b = np.zeros((width, 1), "<f4")
        a = np.zeros((1, width), "<f4")
        a[0, 3] = b[7, 0] = (100 * size) ** 0.5
        tensors = {
            f"base_model.model.{name}.lora_{factor}.weight": ("F32", list(each.shape), bytes(each))
            for name in linears
            for factor, each in (("A", a), ("B", b))
        }
        (directory / WEIGHTS).write_bytes(encode(tensors))
        (directory / "adapter_config.json").write_text(
            '{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"]}'
        )
        if check is None:
            assert len(inspect_adapter(directory, wide).layers) == layers
        else:
            with pytest.raises(UnfitAdapterError) as caught:
                inspect_adapter(directory, wide)
            assert caught.value.code == f"unfit-adapter.{check}"


def write_large(directory: Path, megabytes: int, *, sparse: bool) -> None:
    """Write an adapter of rank 8 with one pair of factors, almost all of it in A."""
    width = (megabytes << 20) // 32
    directory.mkdir()
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    shapes = {name.format("B"): [4, 8], name.format("A"): [8, width]}
    tensors = {each: ("F32", shape, b"") for each, shape in shapes.items()}
    header, position = header_of(tensors), 0
    for each, shape in shapes.items():
        size = 4 * shape[0] * shape[1]
        header[each]["data_offsets"] = [position, position + size]
        position += size
    head = frame(json.dumps(header).encode(), b"")
    with (directory / WEIGHTS).open("wb") as file:
        file.write(head + np.full(32, 0.5, "<f4").tobytes())
        if sparse:
            file.truncate(len(head) + position)
        else:
            block = np.tile(np.array([0.25, -0.5], "<f4"), 1 << 17).tobytes()
            for _ in range(megabytes):
                file.write(block)
    (directory / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["q_proj"]}'
    )


def bytes_read() -> int:
    """Return how many bytes this process has read so far, from anywhere."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts bytes read")
def test_of_a_gigabyte_only_the_header_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file of this size is quick to make only as a hole, which would be refused for that.
    write_large(tmp_path / "large", 1023, sparse=True)
    with pytest.raises(UnfitAdapterError, match="hole"):
        open_adapter(tmp_path / "large", None)
    monkeypatch.setattr("compose.adapter.check_dense", lambda directory, what: None)
    before = bytes_read()
    opened = open_adapter(tmp_path / "large", None)
    assert opened.header.file_size > 1000 << 20
    assert bytes_read() - before < 64 * 1024


def test_numbers_are_looked_at_in_constant_memory(tmp_path: Path) -> None:
    peaks = []
    for megabytes in (16, 48):
        directory = tmp_path / str(megabytes)
        write_large(directory, megabytes, sparse=False)
        tracemalloc.start()
        inspected = inspect_adapter(directory, None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert inspected.parameters == 32 + (megabytes << 18)
    assert max(peaks) < 24 * PIECE_BYTES
    assert peaks[1] < 1.1 * peaks[0]
