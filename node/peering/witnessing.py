"""Cosigning the logs of others, and asking others to cosign one's own.

A node cosigns every tree of somebody else's log that it has verified: after its mirror has grown,
and when the log itself asks (`POST /add-checkpoint`). The rules are in `ledger.witness`; here they
are applied to what is stored, as one step under the writer lock, and the cosignature is on disk
before anybody sees it. The same tree is cosigned once; who asks again gets the same line. Before
anything is signed the tree is written to the signing lock, outside the home: a node that was
restored from a backup does not cosign what contradicts it. Nobody takes the writer lock with a
request that its log, known here, has not signed.

Never cosigned: the node's own log, a log that is not known here, and a log against which there is
evidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.checkpoint import Checkpoint, log_origin, open_checkpoint
from ledger.cosignature import cosign
from ledger.database import Database
from ledger.errors import (
    EquivocationError,
    EvidenceError,
    IdentityError,
    LogFrozenError,
    MalformedError,
    UnavailableError,
)
from ledger.evidence import Evidence, same_size
from ledger.heldevidence import frozen_origins, hold
from ledger.keys import PrivateKey
from ledger.log import Log, add_log, find_log
from ledger.note import ED25519_COSIGNATURE, Note, NoteKey, NoteSignature
from ledger.observations import (
    MAX_COSIGNERS,
    add_cosignatures,
    add_sighting,
    cosignatures,
    cosigner_of,
    count_sightings,
    last_cosigned,
    note_of,
    sightings,
)
from ledger.signinglock import SigningLock
from ledger.witness import (
    MAX_ANSWER_BYTES,
    AddCheckpoint,
    NotCosignedError,
    decide,
    encode_answer,
    parse_answer,
    parse_conflict,
    require_signed,
    verified_lines,
)
from node.clock import PosixClock, posix_now
from node.home import Home
from node.identity.lineage import own_origins
from node.peering.peers import read_settings
from node.peering.policyfile import home_policy
from node.peering.pull import Offer, is_new
from node.peering.source import Poster

Lines = list[tuple[NoteKey, NoteSignature]]

MAX_AHEAD: Final = 1_000
"""Trees of one log that are cosigned ahead of its mirror; each is stored until it catches up."""


@dataclass(frozen=True, slots=True)
class Cosigner:
    """The key with which this node cosigns, under the origin of its log as name."""

    key: NoteKey
    private: PrivateKey

    @classmethod
    def of(cls, home: Home) -> Cosigner:
        """Return the cosigner of a home.

        Raises:
            IdentityError: if its keys are not here.
        """
        private = home.keys().cosigner
        return cls(NoteKey(home.origin, ED25519_COSIGNATURE, private.public), private)


def add_checkpoint(home: Home, body: bytes, *, clock: PosixClock = posix_now) -> bytes:
    """Answer a request to cosign a checkpoint; what it returns is stored already.

    Raises:
        MalformedError: if the body is not a request.
        NotCosignedError: with the status of the refusal; its cause is an EquivocationError if the
            request shows that the log has signed two histories.
        HomeBusyError: if another process writes to this home.
    """
    request = AddCheckpoint.parse(body)
    # A node vouches for others. What it says of its own log is its checkpoint.
    if request.origin == home.origin:
        raise NotCosignedError(404, "this is the log of this node, which cosigns only others")
    try:
        cosigner = Cosigner.of(home)
    except IdentityError:
        raise NotCosignedError(404, "this node has no keys and cosigns no log") from None
    with home.reading() as database:
        _admitted(home, database, request)
    with home.locked() as database:
        key = _admitted(home, database, request)
        log = find_log(database, request.origin)
        try:
            lock = home.signing_lock().of_cosigned(request.origin)
        except LogFrozenError:
            raise NotCosignedError(404, "this node was copied or restored") from None
        if log is not None:
            _cosign_held(log, cosigner, lock, clock())
        try:
            checkpoint = decide(request, key, _last(log, cosigner, lock))
        except NotCosignedError as refusal:
            if refusal.status in (409, 422):
                _require_one_history(database, log, key, request, refusal)
            raise
        other = NotCosignedError(422, "the tree is not the one that is held here")
        _require_one_history(database, log, key, request, other)
        line = _cosign_ahead(database, key, checkpoint, request, cosigner, lock, clock())
        return encode_answer([line])


def _admitted(home: Home, database: Database, request: AddCheckpoint) -> NoteKey:
    """Return the key of a log that may be cosigned here, and that has signed what is asked.

    Raises:
        NotCosignedError: with status 404 or 403.
    """
    if request.origin in own_origins(home, database):
        raise NotCosignedError(404, "this node continues that log, and cosigns only others")
    key = known_log(home, database, request.origin)
    if key is None:
        raise NotCosignedError(404, f"{request.origin[:200]} is not a log known here")
    if request.origin in frozen_origins(database):
        raise NotCosignedError(403, f"there is evidence against {request.origin}")
    require_signed(request, key)
    return key


def known_log(home: Home, database: Database, origin: str) -> NoteKey | None:
    """Return the key of a log that this node cosigns: one held here, or one that its owner named.

    The owner names logs in the policy, and in `peers.toml` those that may be pushed here.
    """
    log = find_log(database, origin)
    if log is not None:
        return log.key
    policy = home_policy(home)
    named = [*(policy.logs if policy is not None else ()), *read_settings(home).log_keys()]
    # A foreign log, whose name does not contain its key, has no place in a pnode ledger.
    own = (key for key in named if key.name == origin == log_origin(key.key))
    return next(own, None)


def cosign_mirror(
    home: Home, database: Database, log: Log, *, clock: PosixClock = posix_now
) -> None:
    """Cosign the largest tree held of somebody else's log, unless that is done already.

    Call it under the writer lock. A home without keys cosigns nothing.

    Raises:
        EquivocationError: if the tree held does not extend one that was cosigned.
    """
    if log.origin in own_origins(home, database) or log.origin in frozen_origins(database):
        return
    try:
        cosigner = Cosigner.of(home)
        lock = home.signing_lock().of_cosigned(log.origin)
    except (IdentityError, LogFrozenError):
        return
    _cosign_held(log, cosigner, lock, clock())


def _last(log: Log | None, cosigner: Cosigner, lock: SigningLock) -> Checkpoint | None:
    """Return the largest tree that was cosigned, as the ledger or the signing lock remembers it."""
    stored = last_cosigned(log, cosigner.key) if log is not None else None
    locked = lock.read()
    if stored is None or stored.size < locked.size:
        return locked if locked.size else None
    return stored


def _size(checkpoint: Checkpoint | None) -> int:
    return 0 if checkpoint is None else checkpoint.size


def _clear(lock: SigningLock, checkpoint: Checkpoint) -> None:
    """Remember a tree as cosigned, before it is."""
    locked = lock.read()
    if checkpoint.size > locked.size:
        lock.advance(locked, checkpoint)
    elif checkpoint != locked:
        raise LogFrozenError(f"another tree of {checkpoint.origin} was cosigned here")


def _cosign_held(log: Log, cosigner: Cosigner, lock: SigningLock, time: int) -> None:
    held = log.checkpoint()
    last = _last(log, cosigner, lock)
    if last is not None:
        is_new(Offer(log.key, last, note_of(log, last) or b""), log)
    stored = last_cosigned(log, cosigner.key)
    # What is remembered as cleared and has no line yet was interrupted, and is finished here.
    if held is None or max(_size(last) - 1, _size(stored)) >= held[0].size:
        return
    checkpoint, note = held
    if open_checkpoint(note, log.key) != checkpoint or log.root(checkpoint.size) != checkpoint.root:
        raise EvidenceError(f"the ledger here is damaged: it does not hold {log.origin} as signed")
    _clear(lock, checkpoint)
    line = cosign(checkpoint.text, cosigner.key.name, cosigner.private, time=time)
    with log.database.transaction() as writer:
        add_cosignatures(writer, log, checkpoint, [(cosigner.key, line)])


def _cosign_ahead(
    database: Database,
    key: NoteKey,
    checkpoint: Checkpoint,
    request: AddCheckpoint,
    cosigner: Cosigner,
    lock: SigningLock,
    time: int,
) -> NoteSignature:
    """Store a cosignature, with the checkpoint where no entries back it, and return the line.

    Raises:
        NotCosignedError: with status 429 if too many trees are ahead of the mirror.
    """
    log = add_log(database, key)
    stored = cosignatures(log, checkpoint).get(str(cosigner.key))
    if stored is not None:
        return stored
    held = log.checkpoint()
    ahead = count_sightings(log, beyond=held[0].size if held else 0)
    if ahead >= MAX_AHEAD and note_of(log, checkpoint) is None:
        raise NotCosignedError(
            429,
            f"{ahead} trees of this log were cosigned ahead of the entries held; sync first",
        )
    _clear(lock, checkpoint)
    line = cosign(checkpoint.text, cosigner.key.name, cosigner.private, time=time)
    with database.transaction() as writer:
        if note_of(log, checkpoint) is None:
            add_sighting(writer, log, checkpoint, _only_by(key, request.note))
        add_cosignatures(writer, log, checkpoint, [(cosigner.key, line)])
    return line


def _require_one_history(
    database: Database,
    log: Log | None,
    key: NoteKey,
    request: AddCheckpoint,
    refusal: NotCosignedError,
) -> None:
    """Require that a signed checkpoint fits all that is held and was seen of its log.

    Raises:
        NotCosignedError: the refusal given, caused by an EquivocationError.
    """
    if log is None or request.claims_an_impossible_root:
        return
    checkpoint = Checkpoint.parse(request.note.text)
    note = _only_by(key, request.note)
    try:
        is_new(Offer(key, checkpoint, note), log)
        for seen, other in sightings(log):
            if seen.size == checkpoint.size and seen.root != checkpoint.root:
                raise EquivocationError(
                    f"log {log.origin} signed two different trees of {seen.size} entries",
                    evidence=bytes(same_size(key, other, note)),
                )
    except EquivocationError as error:
        # Kept before anything else is done about it: it may never be shown to us again.
        if error.evidence is not None:
            hold(database, Evidence.parse(error.evidence))
        with database.transaction() as writer:
            add_sighting(writer, log, checkpoint, note)
        raise refusal from error


def _only_by(key: NoteKey, note: Note) -> bytes:
    """Return a note with the lines of one key alone; nobody verified the others."""
    return bytes(Note(note.text, tuple(line for line in note.signatures if line.is_by(key))[:1]))


def new_lines(
    home: Home, database: Database, log: Log, checkpoint: Checkpoint, lines: Iterable[NoteSignature]
) -> Lines:
    """Return the cosignatures among some lines that verify, are by known cosigners, and are new.

    Known are this node itself, the witnesses of its policy, and whoever is bound as cosigner by
    the genesis of a log held here. A log does not cosign itself.
    """
    stored = cosignatures(log, checkpoint)
    policy = home_policy(home)
    wanted = {witness.key for witness in policy.witnesses.values()} if policy else set()
    lines = [line for line in lines if line.name != log.origin]
    names = dict.fromkeys(line.name for line in lines)
    bound = [key for name in names if (key := cosigner_of(database, name)) is not None]
    keys = dict.fromkeys([*(key for key in wanted if key.name in names), *bound])
    unknown = [key for key in keys if str(key) not in stored]
    room = MAX_COSIGNERS - len(stored)
    found: Lines = []
    for key, line in verified_lines(checkpoint.text, lines, unknown):
        if key in wanted or key.name == home.origin or len(found) < room:
            found.append((key, line))
    return found


def take_over(home: Home, offer: Offer) -> None:
    """Store what known cosigners said of a tree that is held here, from the note of a peer.

    The caller has compared the offer with what is held: the entries held hash to its root.
    """
    with home.reading() as database:
        log = find_log(database, offer.key.name)
        lines = Note.parse(offer.note).signatures
        if log is None or not new_lines(home, database, log, offer.checkpoint, lines):
            return
    with home.locked() as database:
        keep_lines(home, database, Log(database, offer.key.name), offer)


def keep_lines(home: Home, database: Database, log: Log, offer: Offer) -> tuple[str, ...]:
    """Store new cosignatures of a tree held here, and return whose; under the writer lock."""
    note = Note.parse(offer.note)
    found = new_lines(home, database, log, offer.checkpoint, note.signatures)
    if found:
        point = offer.checkpoint
        row = {"log": log.row_id, "size": point.size, "root": point.root}
        with database.transaction() as writer:
            # A smaller tree than the largest held may never have been stored as a checkpoint.
            writer.table("checkpoint").insert({**row, "note": _only_by(log.key, note)}, ignore=True)
            add_cosignatures(writer, log, point, found)
    return tuple(key.name for key, _ in found)


def request_cosignature(home: Home, peer: Poster, *, old_size: int = 0) -> tuple[str, ...]:
    """Ask a peer to cosign this node's newest checkpoint, and store what it answers.

    Args:
        home: whose log it is.
        peer: whom to ask.
        old_size: how much of the log the peer is thought to have cosigned.

    Returns:
        the names of the cosigners whose lines are new here; none if the peer does not cosign
        this log, or cosigns nothing at all: that is its right, not an error.
    """
    with home.reading() as database:
        log = find_log(database, home.origin)
        latest = log.checkpoint() if log is not None else None
        if log is None or latest is None:
            return ()
        checkpoint, note = latest
        own = Note.parse(_only_by(log.key, Note.parse(note))).signatures
        try:
            answer = _ask(log, checkpoint, own, peer, old_size)
            lines = parse_answer(answer) if answer is not None else ()
        except (UnavailableError, MalformedError):
            return ()
    if not lines:
        return ()
    with home.locked() as database:
        log = Log(database, home.origin)
        cosigned = bytes(Note(checkpoint.text, (*own, *lines)))
        return keep_lines(home, database, log, Offer(log.key, checkpoint, cosigned))


def _ask(
    log: Log,
    checkpoint: Checkpoint,
    signatures: tuple[NoteSignature, ...],
    peer: Poster,
    guess: int,
) -> bytes | None:
    """Send the request, once more if the peer names another size, and return what it answers."""
    size = guess if guess <= checkpoint.size else 0
    for attempt in range(2):
        proof = log.prove_consistency(size, checkpoint.size) if size else []
        request = AddCheckpoint(size, tuple(proof), Note(checkpoint.text, signatures))
        reply = peer.post("/add-checkpoint", bytes(request), max_bytes=MAX_ANSWER_BYTES)
        if reply.status == 200:
            return reply.body
        if reply.status != 409 or attempt:
            return None
        size = parse_conflict(reply.body)
        if size > checkpoint.size:
            return None
    return None
