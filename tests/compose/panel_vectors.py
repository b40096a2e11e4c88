"""What procedures over whole answers make of answers that are given.

`python -m tests.compose.panel_vectors` prints the document that `tests/vectors/pnode/panel-1.json`
holds. It never changes: what changes it is a new version of a method. Coalitions are bit masks,
member 0 in id order being bit 0; scores are float64 in C99 hexadecimal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compose.answering import Answer
from compose.methods.route_cascade import Cascade
from compose.methods.route_description import Described
from compose.methods.text_chain import Form
from compose.methods.text_refine import STYLES, Refine
from compose.methods.text_vote import Vote
from compose.panel import Panel, Procedure
from tests.compose.scripted import Scripted, question

FILE = Path(__file__).parents[1] / "vectors" / "pnode" / "panel-1.json"

TITLES = ("Rotate left", "rotate  RIGHT", "Sort letters", "Sort letters")
PROMPTS = ("rotate this to the left", "please sort", "7 + 8", "Sort letters")
DEV = ("rev a b >", "up c d e >", "rev up a b >")
STAGED = ("rev up a b >", "up rev up a >", "rev a >", "rev up a b")
ANSWERS: tuple[Answer, ...] = (
    Answer("base", 9, -1.0),
    Answer("x", 5, -0.5),
    Answer("y ", 3, -2.0),
    Answer(" x", 8, -0.25),
    Answer("", 1, -4.0),
)
RANKING = (1, 0, 2, 3)
LIMITS = (-400_000, -2_000_000, -300_000, -3_000_000)


def document() -> dict[str, Any]:
    """Return the vectors, as JSON can hold them."""
    described = Described(TITLES, 0.0)
    form = Form.of(DEV)
    order = [member + 1 for member in reversed(RANKING)]
    return {
        "schema": "pnode.panel-vectors/1",
        "route.description": {
            "titles": TITLES,
            "scores": {each: [score.hex() for score in described.score(each)] for each in PROMPTS},
        },
        "answers": [[each.value, each.margin, each.confidence] for each in ANSWERS],
        "ranking": RANKING,
        "text.vote": _outcomes(Vote(RANKING)),
        "route.cascade": {
            "order": order,
            "thresholds": LIMITS,
            "outcomes": _outcomes(Cascade(order, LIMITS)),
        },
        "text.chain": {
            "dev": DEV,
            "stages": sorted(form.stages),
            "ending": form.ending,
            "parsed": {each: form.parse(each) for each in STAGED},
            "prompt": form.prompt("rev", "c d"),
        },
        "text.refine": {style: _asked(style) for style in sorted(STYLES)},
    }


def _outcomes(procedure: Procedure) -> list[list[Any]]:
    """Return value, margin and who had a say for every coalition, by its mask."""
    panel = Panel([Scripted(each) for each in ANSWERS], procedure)
    members = len(ANSWERS) - 1
    masks = np.arange(1 << members)[:, None] >> np.arange(members) & 1
    row = panel.spoken([question("0")] * len(masks), masks.astype(np.bool_))
    return [[each.answer.value, each.answer.margin, each.speakers] for each in row]


def _asked(style: str) -> Sequence[str]:
    """Return what the member that concludes is asked, of three in two rounds."""
    models = [Scripted(by=lambda prompt, n=n: f"{n}:{len(prompt)}") for n in range(4)]
    panel = Panel(models, Refine([1, 0, 2], STYLES[style], rounds=2))
    panel.answer([question("What is it?")], np.ones((1, 3), dtype=np.bool_))
    return models[2].asked


if __name__ == "__main__":
    print(json.dumps(document(), indent=1, ensure_ascii=True))
