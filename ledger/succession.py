"""Key life: which author keys are one contributor, and which entries they do not speak for.

A contributor who takes a new seed begins a new log, and the two logs are joined in one of two ways
(docs/spec/keys.md):

- *Succession.* The author of the old log appends a `succession` that names the new genesis by id,
  and that genesis names the old log as its predecessor, with the size and root it had just before.
  Both must exist: neither key can pull the other into its history alone.
- *Recovery.* The new genesis names its predecessor, reveals the recovery key that the old genesis
  commits to, and carries that key's signature. It needs nothing from the old author key, which
  may be lost or stolen, and so it outranks a succession.

Either way the old log is *closed* at the size named. A `revocation`, signed by the recovery key,
says from which index on the old key is not to be trusted any more.

Everything here is a pure function of the entries below a frontier; a claim that does not hold has
no effect and is kept as an `Objection` for the auditor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ledger.encoding import canonical_json, decode_base64, encode_base64
from ledger.errors import EvidenceError, ProofError, SignatureError
from ledger.keys import SIGNATURE_SIZE, PrivateKey, PublicKey, commitment
from ledger.merkle import root_of
from ledger.placedentry import PlacedEntry
from ledger.rejected import Placed, RejectedEntry

Standing = Literal["revoked", "doubtful"]

REVOKED: Final = "revoked"
DOUBTFUL: Final = "doubtful"

_RECOVERY_DOMAIN: Final = b"pnode/recovery/v1\n"


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The tree of the old log at which it is closed."""

    origin: str
    size: int
    root: bytes

    def document(self) -> dict[str, Any]:
        """Return the value of a genesis' `predecessor` field."""
        return {"origin": self.origin, "size": self.size, "root": self.root.hex()}

    @classmethod
    def of(cls, genesis: Mapping[str, Any]) -> Predecessor | None:
        """Return the predecessor that the predicate of a genesis names, if it names one."""
        named = genesis.get("predecessor")
        if named is None:
            return None
        return cls(named["origin"], named["size"], bytes.fromhex(named["root"]))


@dataclass(frozen=True, slots=True)
class Succession:
    """A log that was closed at `size`, and the log that goes on; `id` is the new genesis."""

    origin: str
    size: int
    successor: str
    id: str
    recovered: bool


@dataclass(frozen=True, slots=True)
class Objection:
    """A claim about keys that has no effect, and why; `incomplete` if that may change."""

    check: str
    id: str
    message: str
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """What the ledger says about author keys.

    Attributes:
        authors: the author that the genesis of each log binds, by origin.
        logs: the log of each author key that exactly one log binds.
        chains: the keys of a contributor, oldest first, by each key of a chain of several.
        successions: the one succession that counts of each closed log, by its origin.
        doubted: the first index that is in doubt, by origin.
        objections: claims without effect, sorted.
    """

    authors: Mapping[str, str]
    logs: Mapping[str, str]
    chains: Mapping[str, tuple[str, ...]]
    successions: Mapping[str, Succession]
    doubted: Mapping[str, int]
    objections: tuple[Objection, ...]

    def identity(self, author: str) -> str:
        """Return the first author key of the chain that a key belongs to."""
        return self.chain(author)[0]

    def chain(self, author: str) -> tuple[str, ...]:
        """Return the author keys of one contributor, from the first to the newest."""
        return self.chains.get(author, (author,))

    def standing(self, item: PlacedEntry) -> Standing | None:
        """Say whether an entry is spoken by a key that was closed or is in doubt there.

        An author whose log is closed speaks only in that log, below the closing point: a stolen
        key could sign for any log.
        """
        if not self.successions and not self.doubted:
            return None
        author = item.entry.author
        here = self.authors.get(item.origin) == author
        origin = item.origin if here else self.logs.get(author)
        if origin is None:
            return None
        closed = self.successions.get(origin)
        if closed is not None and (not here or item.index >= closed.size):
            said = item.entry.statement.predicate
            if item.entry.kind != "succession" or said["successor"] != closed.id:
                return REVOKED
        doubted = self.doubted.get(origin)
        # A genesis binds the keys; there would be nothing to revoke without it.
        if doubted is not None and (not here or item.index >= max(doubted, 1)):
            return DOUBTFUL
        return None


def recovery_message(author: PublicKey, origin: str, predecessor: Predecessor) -> bytes:
    """Return the bytes a recovery key signs: who goes on, in which log, and from which tree."""
    document = {
        "author": author.did,
        "origin": origin,
        "predecessor": predecessor.document(),
    }
    return _RECOVERY_DOMAIN + canonical_json(document)


def recovery_fields(
    key: PrivateKey, author: PublicKey, origin: str, predecessor: Predecessor
) -> dict[str, Any]:
    """Return the fields of a genesis by which a recovery key takes over a log."""
    signature = key.sign(recovery_message(author, origin, predecessor))
    return {
        "predecessor": predecessor.document(),
        "recovery_key": key.public.did,
        "recovery_signature": encode_base64(signature),
    }


def check_recovery(genesis: Mapping[str, Any], committed: str) -> None:
    """Require that the recovery key a log committed to has signed the genesis that goes on.

    Args:
        genesis: the predicate of the new genesis.
        committed: the `recovery` field of the old one.

    Raises:
        SignatureError: if another key signed, or none, or something else.
    """
    predecessor = Predecessor.of(genesis)
    signature, revealed = genesis.get("recovery_signature"), genesis.get("recovery_key")
    if predecessor is None or signature is None or revealed is None:
        raise SignatureError("the recovery claim lacks its predecessor, key or signature")
    key = PublicKey.from_did(revealed)
    if commitment(key) != committed:
        raise SignatureError("the recovery key revealed is not the one the old log committed to")
    key.verify(
        decode_base64(signature, what="recovery signature", length=SIGNATURE_SIZE),
        recovery_message(PublicKey.from_did(genesis["author"]), genesis["origin"], predecessor),
    )


def key_history(placed: Iterable[Placed]) -> KeyHistory:
    """Return what the entries below a frontier say about keys, whatever their order."""
    logs: dict[str, list[Placed]] = {}
    for item in sorted(placed, key=lambda item: (item.origin, item.index)):
        logs.setdefault(item.origin, []).append(item)
    geneses = {
        origin: log[0]
        for origin, log in logs.items()
        if isinstance(log[0], PlacedEntry) and is_genesis_of(log[0])
    }
    objections: list[Objection] = []
    successions = _successions(logs, geneses, objections)
    objections += _without_effect(logs, geneses, successions)
    doubted = _doubted(logs, geneses, objections)
    authors = {origin: item.entry.author for origin, item in geneses.items()}
    shared = Counter(authors.values())
    objections += _shared_authors(geneses, shared)
    sole = {author: origin for origin, author in authors.items() if shared[author] == 1}
    joins = ((authors[each.origin], authors[each.successor]) for each in successions.values())
    chains = join_keys((old, new) for old, new in joins if old in sole and new in sole)
    ordered = sorted(objections, key=lambda each: (each.id, each.check, each.message))
    return KeyHistory(authors, sole, chains, successions, doubted, tuple(ordered))


def join_keys(joins: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the chain of every key that is joined to another, from (old, new) pairs.

    No key is old in two pairs or new in two. Keys in a circle, which hashes make impossible, are
    joined to none.
    """
    following = dict(joins)
    chains: dict[str, tuple[str, ...]] = {}
    for first in following.keys() - set(following.values()):
        chain = [first]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        chains |= dict.fromkeys(chain, tuple(chain))
    return dict(sorted(chains.items()))


def is_genesis_of(item: PlacedEntry) -> bool:
    """Say whether an entry is the genesis of the log it stands in."""
    genesis = item.index == 0 and item.entry.kind == "genesis"
    return genesis and item.entry.statement.predicate["origin"] == item.origin


def _successions(
    logs: Mapping[str, Sequence[Placed]],
    geneses: Mapping[str, PlacedEntry],
    objections: list[Objection],
) -> dict[str, Succession]:
    """Return the succession that counts of each log: a recovery first, then the earliest."""
    claims: dict[str, list[Succession]] = {}
    roots: dict[tuple[str, int], bytes | None] = {}
    for item in geneses.values():
        named = Predecessor.of(item.entry.statement.predicate)
        if named is None:
            continue
        if named.origin not in geneses or len(logs[named.origin]) < named.size:
            message = f"continues {named.origin} at size {named.size}, which is not held here"
            objections.append(Objection("key.succession", item.entry.id, message, incomplete=True))
            continue
        try:
            claim = _claim(item, named, geneses[named.origin], logs[named.origin], roots)
        except EvidenceError as error:
            message = f"does not continue {named.origin}: {error.message}"
            objections.append(Objection("key.succession", item.entry.id, message))
            continue
        claims.setdefault(named.origin, []).append(claim)
    chosen = {}
    for origin, rivals in sorted(claims.items()):
        rivals.sort(key=lambda claim: (not claim.recovered, claim.size, claim.id))
        chosen[origin] = rivals[0]
        for rival in rivals[1:]:
            message = f"does not continue {origin}: {rivals[0].id} does"
            objections.append(Objection("key.succession", rival.id, message))
    return chosen


def _claim(
    item: PlacedEntry,
    named: Predecessor,
    old: PlacedEntry,
    log: Sequence[Placed],
    roots: dict[tuple[str, int], bytes | None],
) -> Succession:
    """Return the succession a genesis claims; `roots` keeps what was hashed for other claims.

    Raises:
        SignatureError: if neither the author nor the recovery key of the predecessor agrees.
        ProofError: if the predecessor never had that tree.
    """
    predicate = item.entry.statement.predicate
    recovered = "recovery_key" in predicate or "recovery_signature" in predicate
    if recovered:
        check_recovery(predicate, old.entry.statement.predicate["recovery"])
    else:
        _check_named(item, named, old, log)
    # Only now: a stranger must not make everybody hash a long log.
    tree = (named.origin, named.size)
    if tree not in roots:
        roots[tree] = _root(log[: named.size])
    if roots[tree] != named.root:
        raise ProofError(f"it never had that tree of {named.size} entries")
    return Succession(named.origin, named.size, item.origin, item.entry.id, recovered)


def _root(log: Sequence[Placed]) -> bytes | None:
    """Return the root over the beginning of a log, None if entries are missing."""
    whole = all(item.index == index for index, item in enumerate(log))
    return root_of(map(_leaf, log)) if whole else None


def _leaf(item: Placed) -> bytes:
    return item.leaf_hash if isinstance(item, RejectedEntry) else item.entry.leaf_hash


def _valid(log: Iterable[Placed]) -> Iterator[PlacedEntry]:
    return (item for item in log if isinstance(item, PlacedEntry))


def _check_named(
    item: PlacedEntry, named: Predecessor, old: PlacedEntry, log: Sequence[Placed]
) -> None:
    """Require that the old log, right after the tree named, names this genesis."""
    farewell = next((each.entry for each in _valid(log[named.size : named.size + 1])), None)
    if farewell is None or farewell.kind != "succession" or farewell.author != old.entry.author:
        raise SignatureError(f"its author signed no succession at index {named.size}")
    said = farewell.statement.predicate
    if (said["successor"], said["origin"]) != (item.entry.id, item.origin):
        raise SignatureError(f"its succession names {said['successor']}")


def _without_effect(
    logs: Mapping[str, Sequence[Placed]],
    geneses: Mapping[str, PlacedEntry],
    successions: Mapping[str, Succession],
) -> Iterator[Objection]:
    """Yield the succession statements that do not count."""
    for origin, log in logs.items():
        for item in _valid(log):
            if item.entry.kind != "succession":
                continue
            said = item.entry.statement.predicate
            chosen = successions.get(origin)
            if chosen is not None and said["successor"] == chosen.id:
                continue
            held = said["origin"] in geneses
            why = "it has no effect" if held or chosen else "that log is not held here"
            message = f"names {said['successor']} of {said['origin']} as successor; {why}"
            incomplete = not held and chosen is None
            yield Objection("key.succession", item.entry.id, message, incomplete=incomplete)


def _doubted(
    logs: Mapping[str, Sequence[Placed]],
    geneses: Mapping[str, PlacedEntry],
    objections: list[Objection],
) -> dict[str, int]:
    """Return from which index on the key of each log was revoked, the earliest claim counting."""
    doubted: dict[str, int] = {}
    for log in logs.values():
        for item in _valid(log):
            if item.entry.kind != "revocation":
                continue
            said = item.entry.statement.predicate
            origin = said["origin"]
            if origin not in geneses:
                message = f"revokes the key of {origin}, which is not held here"
                gap = Objection("key.revocation", item.entry.id, message, incomplete=True)
                objections.append(gap)
                continue
            committed = geneses[origin].entry.statement.predicate["recovery"]
            if commitment(item.entry.statement.author) != committed:
                message = f"is not signed by the recovery key of {origin}; it has no effect"
                objections.append(Objection("key.revocation", item.entry.id, message))
                continue
            doubted[origin] = min(said["from"], doubted.get(origin, said["from"]))
    return dict(sorted(doubted.items()))


def _shared_authors(
    geneses: Mapping[str, PlacedEntry], shared: Mapping[str, int]
) -> Iterator[Objection]:
    """Yield a log for every author key that several logs bind: no succession joins them."""
    for item in geneses.values():
        author = item.entry.author
        if shared[author] > 1:
            message = f"{author} is the author of {shared[author]} logs; no succession joins them"
            yield Objection("key.author", item.entry.id, message)
