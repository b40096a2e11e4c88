"""lm-evaluation-harness and pnode on the same task and the same model: item by item alike.

The task is written once, in the harness's YAML over JSON lines. The harness reads it, and pnode the
suite that `pnode suite import` makes of it. The model is the demo base, alone and with an exported
composition, which the harness loads with PEFT.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import node.demo
from compose.adapter import inspect_adapter
from compose.base import open_base
from compose.delta import delta_of
from compose.export import export_adapter
from compose.forward import Decoder
from compose.methods.merge_linear import MergeLinear
from compose.methods.method import Context, Member
from compose.tokens import Tokens
from node.api import Node
from node.evaluating import Evaluated
from node.importing import import_task
from tests.interop.partners import ask_beside

DATA = Path(node.demo.__file__).parent / "data"
ITEMS = Path(__file__).parents[2] / "docs/examples/suites/own0-test/items.jsonl"
COUNT = 24

WRITE: dict[str, Any] = {
    "task": "write",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "items.jsonl"}},
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{prompt}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": 5},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
CHOOSE: dict[str, Any] = {
    **{key: value for key, value in WRITE.items() if key != "generation_kwargs"},
    "task": "choose",
    "output_type": "multiple_choice",
    "doc_to_choice": "choices",
    "doc_to_target": "gold",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both tasks; wrong choices are the answers to other items."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [json.loads(line) for line in ITEMS.read_text().splitlines()[:COUNT]]
    with (folder / "items.jsonl").open("w") as stream:
        for number, row in enumerate(rows):
            others = [rows[(number + step) % COUNT]["answer"] for step in (1, 7, 19)]
            gold = number % 4
            choices = [*others[:gold], row["answer"], *others[gold:]]
            stream.write(json.dumps({**row, "choices": choices, "gold": gold}) + "\n")
    for task in (WRITE, CHOOSE):
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(task))
    return folder


def export_composition(folder: Path) -> None:
    """Write what `pnode compose -o` writes for two adapters of the demo."""
    base = open_base(DATA / "base", name="cipher-tiny")
    members = []
    for name in ("ada", "bo"):
        adapter = inspect_adapter(DATA / "adapters" / name, base)
        members.append(Member(name, adapter, delta_of(adapter, name=name)))
    context = Context(
        base,
        Decoder.load(base),
        Tokens.open(base),
        tuple(members),
        MergeLinear().validate({"form": "sum", "scale": "0.8"}),
        None,
        0,
        {},
    )
    export_adapter(MergeLinear().assemble(context), context, folder)


@pytest.mark.parametrize("composed", [False, True])
def test_the_harness_gets_the_same_outcomes(tasks: Path, tmp_path: Path, *, composed: bool) -> None:
    folder = str(tmp_path / "composed") if composed else None
    if folder is not None:
        export_composition(Path(folder))
    question = {
        "base": str(DATA / "base"),
        "adapter": folder,
        "tasks": str(tasks),
        "metrics": {"write": "exact_match", "choose": "acc"},
    }
    theirs = ask_beside("lm_eval", "ask_lm_eval.py", question)
    node = Node.init(tmp_path / "home", tmp_path / "state")
    node.add_base(str(DATA / "base"), name="cipher-tiny")
    suites = []
    for name in ("write", "choose"):
        suites.append(str(tmp_path / name))
        import_task(tasks / f"{name}.yaml", tmp_path / name, license_name="CC0-1.0")
    ours: Evaluated = node.evaluate(suites, base="cipher-tiny", adapter=folder)
    for name, outcomes in zip(("write", "choose"), ours.outcomes, strict=True):
        assert [outcome.correct for outcome in outcomes] == theirs[name], name
    write, choose = ours.scores
    assert choose.total == write.total == COUNT
    assert (write.correct > 0) == composed
    assert choose.correct > 0
