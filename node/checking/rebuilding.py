"""The other process of a replay: `python -m node.checking.rebuilding HOME STATE`.

Reads one JSON request on standard input and writes one JSON answer on standard output, so that
the replay shares no memory, no import and no cache with whoever asked for it. It is confined
before it reads anything of a stranger's (`node.checking.confinement`).

    request   {"lock": base64 of the lock, "items": {suite id: [item number]},
               "sizes": [[suite id, number of items claimed]],
               "limits": {"seconds", "gib", "tokens"}}
    answer    {"system_digest", "outcomes": {suite id: text of an outcomes file}}
              or {"error": {"code", "message", "hint"}}
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.encoding import decode_base64
from ledger.errors import DigestError, IncompleteError, PnodeError
from node.checking.confinement import Limits, confine
from node.home import Home
from node.materials import Materials, fresh_materials

if TYPE_CHECKING:
    from compose.lock import Lock


def rebuild(
    home: Home,
    lock: Lock,
    items: Mapping[str, Sequence[int]],
    sizes: Sequence[tuple[str, int]],
    tokens: int,
) -> dict[str, Any]:
    """Assemble a lock from verified bytes and answer the chosen items.

    Raises:
        DigestError: if a claim is about another number of items than its suite has.
        IncompleteError: if the items may ask to write more than so many tokens.
    """
    from compose.evaluation import evaluate
    from compose.outcomes import encode_outcomes
    from compose.system import assemble

    with fresh_materials(home, lock) as materials:
        _check_sizes(lock, materials, sizes)
        _check_tokens(lock, materials, items, tokens)
        system = assemble(lock, materials.base, materials.adapters, materials.dev, materials.titles)
        outcomes = {}
        for locked, suite in zip(lock.suites, materials.suites, strict=True):
            chosen = items.get(locked.id)
            if chosen:
                part = replace(suite, items=tuple(suite.items[number] for number in chosen))
                outcomes[locked.id] = encode_outcomes(locked.id, evaluate(system, part)).decode()
        return {"system_digest": system.digest(), "outcomes": outcomes}


def _check_sizes(lock: Lock, materials: Materials, sizes: Sequence[tuple[str, int]]) -> None:
    held = {
        locked.id: len(suite.items)
        for locked, suite in zip(lock.suites, materials.suites, strict=True)
    }
    for suite_id, claimed in sizes:
        if held[suite_id] != claimed:
            raise DigestError(
                f"suite {suite_id}: {claimed} outcomes are claimed, it has {held[suite_id]} items"
            )


def _check_tokens(
    lock: Lock, materials: Materials, items: Mapping[str, Sequence[int]], most: int
) -> None:
    asked = sum(
        len(items.get(locked.id, ())) * suite.max_tokens
        for locked, suite in zip(lock.suites, materials.suites, strict=True)
    )
    if asked > most:
        raise IncompleteError(
            f"the items may ask to write {asked:,} tokens, the limit is {most:,}",
            hint="answer fewer items with --sample, or raise --max-tokens",
        )


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    limits = Limits(**request["limits"])
    home = replace(Home.open(Path(sys.argv[1]), Path(sys.argv[2])), untouched=True)
    confine(limits, home.path / "keys")
    # From here on bytes of strangers are read.
    from compose.lock import Lock

    try:
        lock = Lock.parse(decode_base64(request["lock"], what="lock"))
        answer = rebuild(home, lock, request["items"], request["sizes"], limits.tokens)
    except PnodeError as error:
        answer = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
