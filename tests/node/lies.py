"""Lies that every digest and signature agrees with: only running again tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compose.outcomes import Outcome, encode_outcomes, outcomes_root
from ledger.cid import Cid
from node.api import Node
from node.artifacts import read_document, store_document
from node.checking.claims import claimed_outcomes
from node.checking.replaying import Replayed
from tests.node.worlds import World, predicate_of, say

MERGE = "merge.linear"


@dataclass(frozen=True)
class Accused:
    """A world with the evaluation `lie`, its fault proof, and the replay that wrote the file."""

    world: World
    lie: str
    file: Path
    replayed: Replayed


Lie = Callable[[tuple[Outcome, ...]], tuple[Outcome, ...]]


def honest(node: Node, composition: str) -> tuple[dict[str, Any], dict[str, tuple[Outcome, ...]]]:
    """The predicate of the evaluation of a composition, and its outcomes by suite."""
    with node.home.reading() as database:
        from node.reading import load_view

        placed = load_view(database).about("evaluation", "composition", composition)[0]
    outcomes = claimed_outcomes(placed.entry, node.home.store)
    return dict(placed.entry.statement.predicate), {
        suite: each.outcomes for suite, each in outcomes.items()
    }


def forge(
    node: Node, composition: str, lie: Lie, *, about: str | None = None, **counts: int
) -> str:
    """Sign an evaluation with the outcomes of the first suite changed, all digests consistent."""
    predicate, outcomes = honest(node, composition)
    predicate["composition"] = about or composition
    predicate["software"] = {"forged": str(len(node.log()))}
    first = next(iter(outcomes))
    outcomes[first] = lie(outcomes[first])
    documents = {suite: encode_outcomes(suite, each) for suite, each in outcomes.items()}
    predicate["scores"] = [
        {
            "suite": suite,
            "correct": sum(outcome.correct for outcome in each),
            "total": len(each),
            "root": outcomes_root(each).hex(),
            "outcomes": str(store_document(documents[suite], node.home.store)),
        }
        for suite, each in outcomes.items()
    ]
    predicate["scores"][0] |= counts
    subjects = {f"{suite}.jsonl": data for suite, data in documents.items()}
    return say(node.home, "evaluation", predicate, subjects)


def improve(outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """Claim that every item was answered correctly."""
    return tuple(replace(outcome, correct=True) for outcome in outcomes)


def relock(world: World, exactness: str, digest: str | None = None, **software: str) -> str:
    """Sign the merge once more with another class, other versions or another system digest."""
    from compose.lock import Lock

    node = world.node
    predicate = predicate_of(node, world.compositions[MERGE])
    lock = Lock.parse(read_document(Cid.parse(predicate["lock"]), node.home.store, what="lock"))
    data = replace(lock, exactness=exactness, software={**lock.software, **software}).encode()
    stored = str(store_document(data, node.home.store))
    predicate |= {"lock": stored, "exactness": exactness}
    predicate |= {} if digest is None else {"system_digest": digest}
    return say(node.home, "composition", predicate, {"lock.json": data})
