"""An exported merge loads in plain PEFT and answers as the system does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compose.adapter import inspect_adapter
from compose.admission import WEIGHTS
from compose.base import BaseModel
from compose.delta import delta_of
from compose.errors import MethodError
from compose.evaluation import evaluate
from compose.export import Exported, export_adapter
from compose.methods import find_method
from compose.system import assemble_context, open_context
from ledger.errors import StorageError
from tests.compose.systems import Workshop, exact_suite, prompts

# PEFT 0.21.2 asks transformers for a property that 5.23 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")


@pytest.fixture(scope="module")
def workshop(workshop: Workshop) -> Workshop:
    """What the mean of two members says is right on dev: methods that search find it."""
    said = workshop.answers(workshop.assemble("merge.linear", workshop.ids[:2]))[0]
    dev = exact_suite("dev", prompts(), [str(each) or "?" for each in said])
    return replace(workshop, dev=dev)


def export(
    shop: Workshop,
    directory: Path,
    method: str,
    members: list[str] | None = None,
    *,
    rank: int | None = None,
    **parameters: str,
) -> Exported:
    lock = shop.lock(method, members, **parameters)
    context = open_context(lock, shop.base, shop.adapters, shop.dev)
    assembly = assemble_context(find_method(method), context).assembly
    return export_adapter(assembly, context, directory, rank=rank)


def peft_answers(base: BaseModel, adapter: Path) -> list[str]:
    import torch
    from peft import PeftModel
    from transformers import AutoTokenizer, LlamaForCausalLM

    plain = LlamaForCausalLM.from_pretrained(base.directory)
    model = PeftModel.from_pretrained(plain, adapter).eval()
    tokenizer = AutoTokenizer.from_pretrained(base.directory)
    texts = []
    for prompt in prompts():
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        mask = torch.ones_like(ids)
        produced = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=5, do_sample=False
        )
        text = tokenizer.decode(produced[0, ids.shape[1] :], skip_special_tokens=True)
        texts.append(text.strip())
    return texts


@pytest.mark.parametrize(
    ("method", "parameters", "rank"),
    [
        ("merge.linear", {"form": "mean"}, 12),
        ("merge.linear", {"form": "sum", "scale": "-0.75"}, 12),
        ("merge.ties", {"density": "0.4"}, 16),
        ("merge.dare_ties", {}, 16),
        ("merge.greedy_soup", {}, 6),
        ("merge.lorahub", {"objective": "loss", "budget": "6"}, 12),
        ("merge.model_swarms", {"steps": "1"}, 10),
        ("merge.regmean", {"prompts": "all"}, 16),
    ],
)
def test_peft_gives_the_same_greedy_answers(
    workshop: Workshop, tmp_path: Path, method: str, parameters: dict[str, str], rank: int
) -> None:
    exported = export(workshop, tmp_path / "out", method, **parameters)
    assert exported.rank == rank
    assert float(exported.error) < 1e-6
    system = workshop.assemble(method, **parameters)
    ours = [outcome.answer for outcome in evaluate(system, workshop.suites[0])]
    assert peft_answers(workshop.base, tmp_path / "out") == ours


def test_an_export_passes_our_own_inspection_with_the_same_deltas(
    workshop: Workshop, tmp_path: Path
) -> None:
    export(workshop, tmp_path / "out", "merge.linear", form="sum")
    adapter = inspect_adapter(tmp_path / "out", workshop.base)
    assert adapter.scale == 1.0
    merged = workshop.assemble("merge.linear", form="sum").assembly.merged
    assert merged is not None
    again = delta_of(adapter)
    assert sorted(again) == sorted(merged)
    for name, delta in merged.items():
        assert np.allclose(again[name], delta, rtol=0, atol=1e-6)


def test_a_smaller_rank_records_its_error(workshop: Workshop, tmp_path: Path) -> None:
    errors = [
        float(export(workshop, tmp_path / str(rank), "merge.ties", rank=rank).error)
        for rank in (2, 6, 16)
    ]
    assert errors[0] > errors[1] > 0.05
    assert errors[2] < 1e-6


def test_ranks_that_add_up_to_too_much_are_cut_and_the_error_is_recorded(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import safe_open

    monkeypatch.setattr("compose.export.MAX_RANK", 8)
    exported = export(workshop, tmp_path / "out", "merge.linear")
    assert exported.rank == 8
    assert float(exported.error) > 0.001
    merged = workshop.assemble("merge.linear").assembly.merged
    assert merged is not None
    with safe_open(tmp_path / "out" / WEIGHTS, framework="numpy") as file:
        recorded = file.metadata()
    assert recorded["pnode.error"] == exported.error
    assert recorded["pnode.deltas"] == merged.digest()
    again = delta_of(inspect_adapter(tmp_path / "out", workshop.base))
    wrong = sum(float(np.sum((again[name] - delta) ** 2)) for name, delta in merged.items())
    total = sum(float(np.sum(delta**2)) for delta in merged.values())
    assert float(exported.error) == pytest.approx((wrong / total) ** 0.5, rel=1e-4)


def test_only_merges_of_somebody_can_be_exported(workshop: Workshop, tmp_path: Path) -> None:
    for method, members in (("logit.select", None), ("merge.linear", [])):
        with pytest.raises(MethodError, match="does not yield one adapter"):
            export(workshop, tmp_path / "out", method, members)
    with pytest.raises(MethodError, match="this composition is the base"):
        export(workshop, tmp_path / "out", "merge.lorahub", budget="1")
    assert not (tmp_path / "out").exists()


def test_an_existing_directory_is_not_touched(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="exists"):
        export(workshop, tmp_path, "merge.linear")
    assert list(tmp_path.iterdir()) == []
