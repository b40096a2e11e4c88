"""Verifying single things, offline: entries by id, and files of proofs by themselves.

Checking one proof takes a moment, so nothing is imported here that a proof which stands alone does
not need: neither torch and sqlite-utils nor what reads a home or a policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.checkpoint import Checkpoint
from ledger.errors import (
    IncompleteError,
    MalformedError,
    NotFoundError,
    PnodeError,
    StorageError,
    UsageError,
)
from ledger.note import Note, NoteKey
from ledger.tlogproof import MAGIC, TlogProof
from node.checking.proofs import (
    check_signature,
    is_evidence,
    is_fault,
    proven,
    two_histories,
)
from node.checking.verdict import Check, Verified

if TYPE_CHECKING:
    from ledger.policy import Policy
    from node.checking.witnessed import Wanted
    from node.home import Home

_MAX_FILE_BYTES = 1 << 20
_ID = re.compile(r"b[a-z2-7]*", re.ASCII)


def verify(
    home: Home | None,
    targets: Sequence[str],
    *,
    witnessed: bool = False,
    policy: Path | None = None,
) -> Verified:
    """Verify ids and files.

    Args:
        home: the home to look ids up in; None if there is none, for files that stand alone.
        targets: ids (or unique prefixes), envelope, tlog-proof, checkpoint or evidence files.
        witnessed: fail unless the policy is satisfied; without it that is only reported.
        policy: a policy file to use instead of the home's.

    Raises:
        NotFoundError, UsageError: for a target that is neither an id here nor a file, or if
            witnesses are asked for without a policy.
        MalformedError: if the policy file is not one.
    """
    wanted = _wanted(home, policy, required=witnessed)
    if witnessed and wanted is None:
        raise UsageError(
            "there is no policy that says which witnesses count",
            hint="name one with --policy FILE, or write policy.txt in the home",
        )
    checks: list[Check] = []
    for target in targets:
        path = Path(target)
        if not path.is_file() and not _ID.fullmatch(target):
            raise NotFoundError(f"{target}: no such file, and not an id")
        if path.is_file():
            checks += _verify_file(home, path, wanted)
        else:
            checks += _verify_id(home, target, wanted)
    return Verified.of(checks)


def _wanted(home: Home | None, path: Path | None, *, required: bool) -> Wanted | None:
    if home is None and path is None:
        return None
    from node.peering.policyfile import home_policy, read_policy

    if path is not None:
        policy: Policy | None = read_policy(path)
    else:
        policy = None if home is None else home_policy(home)
    if policy is None:
        return None
    from node.checking.witnessed import Wanted

    return Wanted(policy, required)


def _verify_id(home: Home | None, prefix: str, wanted: Wanted | None) -> Iterator[Check]:
    if home is None:
        raise NotFoundError(f"{prefix}: no such file, and no home to look up an id in")
    from node.checking.ids import check_id

    return check_id(home, prefix, wanted)


def _verify_file(home: Home | None, path: Path, wanted: Wanted | None) -> Iterator[Check]:
    target, data = str(path), _read(path)
    if len(data) > _MAX_FILE_BYTES:
        error = MalformedError("too large for an envelope, a proof or a checkpoint")
        yield Check.failed("proof", target, error)
    elif data.startswith(MAGIC.encode("ascii")):
        yield from _verify_proof(home, target, data, wanted)
    elif data.startswith(b"{"):
        yield from _verify_envelope(home, target, data, wanted)
    elif is_evidence(data):
        yield Check.of("evidence", target, lambda: two_histories(data))
    elif is_fault(data):
        yield from _verify_fault(home, target, data, wanted)
    else:
        yield Check.of("checkpoint", target, lambda: _checkpoint(home, data))
        if wanted is not None:
            yield from wanted.check_note(home, target, data)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error


def _verify_envelope(
    home: Home | None, target: str, data: bytes, wanted: Wanted | None
) -> Iterator[Check]:
    signature, entry = check_signature(target, data.removesuffix(b"\n"))
    yield signature
    if entry is not None and home is not None:
        from node.checking.held import check_place

        yield from check_place(home, target, entry.id, wanted)


def _verify_proof(
    home: Home | None, target: str, data: bytes, wanted: Wanted | None
) -> Iterator[Check]:
    try:
        proof = TlogProof.parse(data)
        body, key = proof.carried() or _looked_up(home, proof)
    except PnodeError as error:
        yield Check.failed("proof", target, error)
        return
    yield check_signature(target, body)[0]
    yield Check.of("inclusion", target, lambda: proven(proof, body, key))
    if home is not None:
        from node.checking.held import is_held

        if is_held(home, proof.origin):
            yield Check.of("checkpoint", target, lambda: _checkpoint(home, proof.note))
    if wanted is not None:
        yield from wanted.check_note(home, target, proof.note)


def _verify_fault(
    home: Home | None, target: str, data: bytes, wanted: Wanted | None
) -> Iterator[Check]:
    from compose.faultproof import FaultProof
    from node.checking.faultcheck import check_fault

    try:
        fault = FaultProof.parse(data)
    except PnodeError as error:
        yield Check.failed("proof", target, error)
        return
    yield from check_fault(fault, target)
    if wanted is not None:
        yield from wanted.check_note(home, target, fault.note)


def _looked_up(home: Home | None, proof: TlogProof) -> tuple[bytes, NoteKey]:
    if home is not None:
        from node.checking.held import find_entry

        found = find_entry(home, proof)
        if found is not None:
            return found
    raise IncompleteError(
        f"the proof is about entry {proof.index} of {proof.origin}, which is not here",
        hint="sync that log first, or verify a proof file that carries its entry",
    )


def _checkpoint(home: Home | None, data: bytes) -> str:
    if home is None:
        origin = Checkpoint.parse(Note.parse(data).text).origin
        raise IncompleteError(f"the key of {origin} is not known here")
    from node.checking.held import compare

    return compare(home, data)
