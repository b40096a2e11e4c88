"""Verifying single things, offline: entries by id, and files of proofs by themselves.

This path imports neither torch nor sqlite-utils, so that checking one proof takes a moment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ledger.checkpoint import Checkpoint, log_key, open_checkpoint
from ledger.database import storage_errors
from ledger.encoding import canonical_json, decode_base64, encode_base64, parse_canonical_json
from ledger.entry import Entry
from ledger.errors import (
    EquivocationError,
    EvidenceError,
    IncompleteError,
    MalformedError,
    NotFoundError,
    PnodeError,
    StorageError,
    UsageError,
)
from ledger.evidence import EVIDENCE_MAGIC, Evidence
from ledger.heldevidence import evidence_against
from ledger.log import Log, find_log, places, resolve_id
from ledger.merkle import leaf_hash
from ledger.note import Note, NoteKey
from ledger.policy import Policy
from ledger.rules import WARNING
from ledger.statement import artifact_cids
from ledger.tlogproof import MAGIC, TlogProof
from node.checking.artifactcheck import ArtifactChecker
from node.clock import at
from node.home import Home
from node.peering.policyfile import home_policy, read_policy
from node.peering.states import best_proof, disqualified, witnessed_by

_MAX_FILE_BYTES = 1 << 20
_ID = re.compile(r"b[a-z2-7]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked about one target; `exit_code` is 0 if it holds.

    One that is not `required` says what is the case, and the verdict does not depend on it.
    """

    name: str
    ok: bool
    detail: str
    target: str
    exit_code: int = 0
    required: bool = True

    @classmethod
    def passed(cls, name: str, target: str, detail: str) -> Check:
        """Return a check that holds."""
        return cls(name, ok=True, detail=detail, target=target)

    @classmethod
    def failed(cls, name: str, target: str, error: PnodeError) -> Check:
        """Return a check that does not hold, for the reason the error gives."""
        return cls(name, ok=False, detail=error.message, target=target, exit_code=error.exit_code)


@dataclass(frozen=True, slots=True)
class Verified:
    """All checks of all targets."""

    ok: bool
    checks: list[Check]
    exit_code: int


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What counts as witnessed, and whether the verdict depends on it."""

    policy: Policy | None
    required: bool


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
    wanted = _Wanted(_policy(home, policy), witnessed)
    if witnessed and wanted.policy is None:
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
    gravest = max((check.exit_code for check in checks), key=_gravity, default=0)
    return Verified(all(check.ok or not check.required for check in checks), checks, gravest)


def _policy(home: Home | None, path: Path | None) -> Policy | None:
    if path is not None:
        return read_policy(path)
    return None if home is None else home_policy(home)


def self_contained(proof: TlogProof, body: bytes, key: NoteKey) -> TlogProof:
    """Return the proof with the entry and the log key in its `extra` line.

    They are unauthenticated there and need not be more: the entry must hash to the proven leaf
    and the key to the origin that the checkpoint names.
    """
    extra = canonical_json({"entry": encode_base64(body), "log_key": str(key)})
    return TlogProof(proof.index, proof.path, proof.note, extra)


def _gravity(code: int) -> int:
    order = (0, 9, 3, 8)
    return order.index(code) if code in order else 1


def _verify_id(home: Home | None, prefix: str, wanted: _Wanted) -> Iterator[Check]:
    if home is None:
        raise NotFoundError(f"{prefix}: no such file, and no home to look up an id in")
    with home.reading() as database:
        id_ = resolve_id(database, prefix)
        origin, index, body = places(database, id_)[0]
        entry = yield from _signature(id_, body)
        log = Log(database, origin)
        yield _check("inclusion", id_, lambda: _included(log, index, body))
        yield from _witnessed_entry(id_, log, index, wanted)
    if entry is not None:
        yield from _artifacts(home, entry)


def _signature(target: str, body: bytes) -> Generator[Check, None, Entry | None]:
    try:
        entry = Entry.parse(body)
    except PnodeError as error:
        yield Check.failed("signature", target, error)
        return None
    yield Check.passed("signature", target, f"{entry.kind} by {entry.author}")
    return entry


def _included(log: Log, index: int, body: bytes) -> str:
    proof = self_contained(log.prove(index), body, log.key)
    checkpoint = proof.verify(leaf_hash(body), log.key)
    return f"index {index} of size {checkpoint.size} in {log.origin}"


def _artifacts(home: Home, entry: Entry) -> Iterator[Check]:
    artifacts = ArtifactChecker(home.store)
    findings = [each for each in artifacts.check_blocks(entry) if each.severity != WARNING]
    if not findings and entry.kind == "contribution":
        findings = list(artifacts.check_files(entry))
    for finding in findings:
        code = 9 if finding.severity == "incomplete" else 3
        yield Check("artifact", ok=False, detail=finding.message, target=entry.id, exit_code=code)
    cids = artifact_cids(entry.statement)
    if cids and not findings:
        yield Check.passed("artifact", entry.id, ", ".join(map(str, cids)))
        if entry.kind in ("composition", "evaluation", "attribution"):
            yield _check("claim", entry.id, partial(_claim, home, entry))


def _claim(home: Home, entry: Entry) -> str:
    from node.checking.claims import check_claim
    from node.reading import load_view

    with home.reading() as database:
        ledger = load_view(database)
    check_claim(entry, ledger, home.store)
    return f"the {entry.kind} follows from its documents"


def _verify_file(home: Home | None, path: Path, wanted: _Wanted) -> Iterator[Check]:
    with storage_errors(path), path.open("rb") as stream:
        data = stream.read(_MAX_FILE_BYTES + 1)
    if len(data) > _MAX_FILE_BYTES:
        error = MalformedError("too large for an envelope, a proof or a checkpoint")
        yield Check.failed("proof", str(path), error)
    elif data.startswith(MAGIC.encode("ascii")):
        yield from _verify_proof(home, path, data, wanted)
    elif data.startswith(EVIDENCE_MAGIC.encode("ascii")):
        yield _check("evidence", str(path), lambda: _proof_of_two_histories(data))
    elif data.startswith(b"{"):
        yield from _verify_envelope(home, path, data, wanted)
    else:
        yield _check("checkpoint", str(path), lambda: _checkpoint(home, data))
        yield from _witnessed(home, str(path), data, wanted)


def _proof_of_two_histories(data: bytes) -> str:
    evidence = Evidence.parse(data)
    evidence.verify()
    a, b = evidence.checkpoints
    return (
        f"{evidence.origin} signed two histories: {evidence.kind}, trees of {a.size} and "
        f"{b.size} entries (evidence {evidence.id})"
    )


def _verify_envelope(
    home: Home | None, path: Path, data: bytes, wanted: _Wanted
) -> Iterator[Check]:
    entry = yield from _signature(str(path), data.removesuffix(b"\n"))
    if entry is None or home is None:
        return
    with home.reading() as database:
        held = places(database, entry.id)
        for origin, index, body in held[:1]:
            log = Log(database, origin)
            yield _check("inclusion", str(path), partial(_included, log, index, body))
            yield from _witnessed_entry(str(path), log, index, wanted)


def _verify_proof(home: Home | None, path: Path, data: bytes, wanted: _Wanted) -> Iterator[Check]:
    target = str(path)
    try:
        proof = TlogProof.parse(data)
        body, key = _carried(proof) or _looked_up(home, proof)
    except PnodeError as error:
        yield Check.failed("proof", target, error)
        return
    yield from _signature(target, body)
    yield _check("inclusion", target, lambda: _proven(proof, body, key))
    if _held(home, proof.origin) is not None:
        yield _check("checkpoint", target, lambda: _checkpoint(home, proof.note))
    yield from _witnessed(home, target, proof.note, wanted)


def _proven(proof: TlogProof, body: bytes, key: NoteKey) -> str:
    checkpoint = proof.verify(leaf_hash(body), key)
    return f"index {proof.index} of size {checkpoint.size} in {checkpoint.origin}"


def _witnessed_entry(target: str, log: Log, index: int, wanted: _Wanted) -> Iterator[Check]:
    """Report on an entry that is held: any checkpoint that covers it may be the witnessed one."""
    if wanted.policy is None:
        return
    try:
        note = best_proof(log, index, wanted.policy).note
    except PnodeError as error:
        yield _unwitnessed(target, error, wanted)
        return
    excluded = disqualified(log.database, log.origin)
    yield _quorum(target, note, excluded, wanted.policy, wanted)


def _witnessed(home: Home | None, target: str, note: bytes, wanted: _Wanted) -> Iterator[Check]:
    """Report on a checkpoint note, by the cosignatures that it carries itself."""
    if wanted.policy is None:
        return
    try:
        origin = Checkpoint.parse(Note.parse(note).text).origin
    except PnodeError:
        return  # reported as what it is already
    excluded: frozenset[str] = frozenset({origin})
    if home is not None:
        with home.reading() as database:
            excluded = disqualified(database, origin)
    yield _quorum(target, note, excluded, wanted.policy, wanted)


def _quorum(
    target: str, note: bytes, excluded: frozenset[str], policy: Policy, wanted: _Wanted
) -> Check:
    try:
        quorum = policy.evaluate(Note.parse(note), excluded=excluded)
    except EvidenceError as error:
        return Check.failed("witnessed", target, error)
    except IncompleteError as error:
        return _unwitnessed(target, error, wanted)
    names = ", ".join(f"{each.name} ({each.time})" for each in witnessed_by(quorum))
    return Check.passed("witnessed", target, f"since {at(quorum.time)} by {names}")


def _unwitnessed(target: str, error: PnodeError, wanted: _Wanted) -> Check:
    code = error.exit_code if wanted.required else 0
    return Check(
        "witnessed",
        ok=False,
        detail=error.message,
        target=target,
        exit_code=code,
        required=wanted.required,
    )


def _carried(proof: TlogProof) -> tuple[bytes, NoteKey] | None:
    """Return the entry and the log key that a proof of ours carries, the key matched to its log."""
    if proof.extra is None:
        return None
    value = parse_canonical_json(proof.extra, what="extra line of tlog-proof")
    if not isinstance(value, dict) or set(value) != {"entry", "log_key"}:
        return None
    key = NoteKey.parse(str(value["log_key"]))
    log_key(proof.origin, key.key)
    return decode_base64(str(value["entry"]), what="entry in tlog-proof"), key


def _looked_up(home: Home | None, proof: TlogProof) -> tuple[bytes, NoteKey]:
    if home is not None:
        with home.reading() as database:
            log = find_log(database, proof.origin)
            bodies = list(log.bodies(proof.index, proof.index + 1)) if log else []
            if log and bodies:
                return bodies[0], log.key
    raise IncompleteError(
        f"the proof is about entry {proof.index} of {proof.origin}, which is not here",
        hint="sync that log first, or verify a proof file that carries its entry",
    )


def _held(home: Home | None, origin: str) -> NoteKey | None:
    """Return the key of a log if this home holds a copy of it."""
    if home is None:
        return None
    with home.reading() as database:
        log = find_log(database, origin)
        return None if log is None else log.key


def _checkpoint(home: Home | None, data: bytes) -> str:
    claimed = Checkpoint.parse(Note.parse(data).text)
    if home is not None:
        try:
            with home.reading() as database:
                log = find_log(database, claimed.origin)
                if log is not None:
                    return _held_checkpoint(log, data)
        except EquivocationError as error:
            raise _kept(home, error) from None
    raise IncompleteError(f"the key of {claimed.origin} is not known here")


def _kept(home: Home, error: EquivocationError) -> EquivocationError:
    """Store the evidence of an equivocation, where that is possible, and say so."""
    from node.peering.equivocation import keep

    if error.evidence is None:
        return error
    try:
        evidence = keep(home, error.evidence)
    except StorageError as problem:
        text = f"{error.message} (the evidence could not be kept: {problem.message})"
        return EquivocationError(text, evidence=error.evidence)
    text = f"{error.message} (evidence {evidence.id}, kept)"
    return EquivocationError(text, evidence=bytes(evidence))


def _held_checkpoint(log: Log, data: bytes) -> str:
    checkpoint = open_checkpoint(data, log.key)
    if checkpoint.size > log.size:
        raise IncompleteError(f"signs {checkpoint.size} entries, only {log.size} are here")
    if not is_intact(log):
        raise EvidenceError(
            f"the ledger here does not hash to the signed tree of {log.origin}",
            hint="run 'pnode audit', and restore this home from a copy",
        )
    if log.root(checkpoint.size) != checkpoint.root:
        evidence = evidence_against(log, data)
        raise EquivocationError(
            f"{log.origin} signed a tree of {checkpoint.size} entries that is not the one held",
            evidence=bytes(evidence) if evidence else None,
        )
    return f"size {checkpoint.size} of {log.origin}"


def is_intact(log: Log) -> bool:
    """Whether the tiles held give the root of the largest checkpoint held.

    Only then can a contradiction be the log's fault and not that of this disk.
    """
    latest = log.checkpoint()
    return latest is None or log.root(latest[0].size) == latest[0].root


def _check(name: str, target: str, run: Callable[[], str]) -> Check:
    try:
        return Check.passed(name, target, run())
    except PnodeError as error:
        return Check.failed(name, target, error)
