"""Running again: a new process rebuilds a system from verified bytes and answers chosen items.

The new process starts from nothing: it extracts base, adapters and suites from blocks into a
temporary folder, assembles, answers, and returns outcomes. No cache is read. What it may use and
do is limited (`node.checking.confinement`); when its time is over it is killed with all it started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Final

from ledger.encoding import encode_base64
from ledger.errors import IncompleteError, PnodeError
from node.checking.confinement import Limits, environment
from node.composing import software
from node.home import Home

if TYPE_CHECKING:
    from compose.lock import Lock
    from compose.outcomes import Outcomes

_MAX_MESSAGE: Final = 1 << 20
_HINT: Final = "answer fewer items with --sample, or raise --max-seconds or --max-memory"


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
    limits: Limits,
) -> Rebuilt:
    """Assemble a lock and answer the chosen items of its suites in a new process.

    Args:
        chosen: the item numbers by suite id.
        sizes: how many items a claim says that a suite has, by suite id.
        limits: what the process may use.

    Raises:
        IncompleteError: if it takes more than that.
        DigestError: if a claim is about another number of items than its suite has.
        PnodeError: whatever the other process raised, or that it failed.
    """
    from compose.outcomes import parse_outcomes

    request = {
        "lock": encode_base64(lock.encode()),
        "items": chosen,
        "sizes": sizes,
        "limits": asdict(limits),
    }
    # -P: nothing in the current folder, which may be a stranger's, is imported.
    program = [sys.executable, "-P", "-m", "node.checking.rebuilding"]
    answer = _run([*program, str(home.path), str(home.state)], request, limits)
    if "error" in answer:
        raise _same_error(answer["error"])
    outcomes = {
        suite: parse_outcomes(text.encode(), what=f"replayed outcomes of suite {suite}")
        for suite, text in answer["outcomes"].items()
    }
    return Rebuilt(answer["system_digest"], outcomes)


def _run(command: Sequence[str], request: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Start a process with a group of its own, and return what it answers within its time."""
    # Into files: what the process may write there is limited, unlike what a pipe may bring.
    with TemporaryFile() as out, TemporaryFile() as err:
        process = subprocess.Popen(  # noqa: S603 - our own module, arguments as a list
            command,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            env=environment(os.environ),
            start_new_session=True,
        )
        try:
            process.communicate(json.dumps(request).encode(), timeout=limits.seconds)
        except subprocess.TimeoutExpired:
            raise IncompleteError(
                f"the replay did not end within {limits.seconds} seconds", hint=_HINT
            ) from None
        finally:
            _end(process)
        out.seek(0)
        err.seek(0)
        try:
            answer = json.load(out)
        except ValueError:
            raise _failure(process.returncode, err.read(_MAX_MESSAGE)) from None
    assert isinstance(answer, dict)
    return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that still runs, and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _failure(status: int, said: bytes) -> PnodeError:
    """Return why a process gave no answer."""
    last = (said.decode("utf-8", "replace").strip().splitlines() or ["no output"])[-1][:300]
    if status < 0:
        name = signal.Signals(-status).name
        return IncompleteError(f"the replay process was ended by {name}", hint=_HINT)
    if "memory" in last.lower():
        return IncompleteError(f"the replay process had too little memory: {last}", hint=_HINT)
    return PnodeError(f"the replay process failed: {last}")


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
