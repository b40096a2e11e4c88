"""Asks lm-evaluation-harness what a model answers: paths come in, what was right goes out.

Nothing here knows pnode. The model is loaded by transformers and, with an adapter, by PEFT.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1")

import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(question: dict[str, Any]) -> dict[str, list[bool]]:
    """Return for each task whether each document was answered correctly, in order."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(question["base"])
    if question["adapter"] is not None:
        model = PeftModel.from_pretrained(model, question["adapter"]).merge_and_unload()
    tokenizer = AutoTokenizer.from_pretrained(question["base"])
    os.chdir(question["tasks"])
    done = simple_evaluate(
        HFLM(pretrained=model.eval(), tokenizer=tokenizer, batch_size=8),
        tasks=list(question["metrics"]),
        task_manager=TaskManager(include_path=".", include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
    )
    return {
        task: [
            bool(sample[metric])
            for sample in sorted(done["samples"][task], key=lambda sample: sample["doc_id"])
        ]
        for task, metric in question["metrics"].items()
    }


if __name__ == "__main__":
    answer = main(json.load(sys.stdin))
    json.dump(answer, sys.stdout)
