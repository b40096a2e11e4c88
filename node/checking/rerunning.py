"""Running again: a new process rebuilds a system from verified bytes and answers chosen items.

The new process starts from nothing: it extracts base, adapters and suites from blocks into a
temporary folder, assembles, answers, and returns outcomes. No cache is read.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.encoding import encode_base64
from ledger.errors import PnodeError
from node.composing import software
from node.home import Home

if TYPE_CHECKING:
    from compose.lock import Lock
    from compose.outcomes import Outcomes


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What the new process found: the system digest and the outcomes by suite."""

    system_digest: str
    outcomes: dict[str, Outcomes]


def rerun(
    home: Home,
    lock: Lock,
    chosen: Mapping[str, Sequence[int]],
    sizes: Sequence[tuple[str, int]],
) -> Rebuilt:
    """Assemble a lock and answer the chosen items of its suites in a new process.

    Args:
        chosen: the item numbers by suite id.
        sizes: how many items a claim says that a suite has, by suite id.

    Raises:
        DigestError: if a claim is about another number of items than its suite has.
        PnodeError: whatever the other process raised, or that it failed.
    """
    from compose.outcomes import parse_outcomes

    request = {"lock": encode_base64(lock.encode()), "items": chosen, "sizes": sizes}
    # -P: nothing in the current folder, which may be a stranger's, is imported.
    program = [sys.executable, "-P", "-m", "node.checking.rebuilding"]
    command = [*program, str(home.path), str(home.state)]
    done = subprocess.run(  # noqa: S603 - our own module, arguments as a list
        command, input=json.dumps(request).encode(), capture_output=True, check=False
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no output"])[-1]
        raise PnodeError(f"the replay process failed: {last[:300]}") from None
    if "error" in answer:
        raise _same_error(answer["error"])
    outcomes = {
        suite: parse_outcomes(text.encode(), what=f"replayed outcomes of suite {suite}")
        for suite, text in answer["outcomes"].items()
    }
    return Rebuilt(answer["system_digest"], outcomes)


def other_stack(lock: Lock) -> str:
    """Return how the software here differs from that of a lock, where it excuses a difference.

    Empty if it excuses nothing: it is the same, or the lock promises the same bits everywhere.
    """
    here, there = _stack(software()), _stack(lock.software)
    if lock.exactness == "bitwise" or here == there:
        return ""
    return f"here: {here}; in the lock: {there}"


def _stack(versions: Mapping[str, str]) -> str:
    """Return the part of the software versions that decides about numbers."""
    named = {name: versions.get(name, "missing").partition("+")[0] for name in ("numpy", "torch")}
    return ", ".join(f"{name} {version}" for name, version in named.items())


def _same_error(error: Mapping[str, str]) -> PnodeError:
    """Return the error of the other process as one of this."""
    classes = [PnodeError]
    for cls in classes:
        classes += cls.__subclasses__()
    name = error["code"].partition(".")[0]
    same = next((each for each in classes if each.code == name), PnodeError)(
        error["message"], hint=error["hint"]
    )
    same.code = error["code"]
    return same
