"""An audit finds every way in which a log, an entry or a reference can be wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ledger import errors
from ledger.auditindex import AuditIndex
from ledger.checkpoint import Checkpoint, log_key, sign_checkpoint
from ledger.dsse import Envelope
from ledger.entry import Entry
from ledger.entrycheck import Accepted, Row, check_rows
from ledger.errors import (
    EquivocationError,
    IncompleteError,
    NotFoundError,
    PnodeError,
    ProofError,
    StorageError,
    UnavailableError,
)
from ledger.keys import NodeKeys
from ledger.merkle import EMPTY_ROOT, leaf_hash, perfect_root
from ledger.note import Note, NoteKey
from ledger.outline import outline_of
from ledger.rules import (
    CHECKS,
    ERROR,
    INCOMPLETE,
    WARNING,
    Finding,
    LogEvidence,
    check_log,
    check_references,
    exit_code,
)
from ledger.succession import key_history
from ledger.tile import Tile
from tests.ledger.makers import (
    ALICE,
    BOB,
    MALLORY,
    contribution,
    genesis,
    note_entry,
    origin_of,
    sign,
    signed,
    withdrawal,
)

ENTRIES = [genesis(ALICE), *(note_entry(ALICE, number) for number in range(299))]
BODIES = [entry.body for entry in ENTRIES]


def tiles(bodies: Sequence[bytes]) -> Callable[[Tile], Sequence[bytes]]:
    leaves = [leaf_hash(body) for body in bodies]

    def read(tile: Tile) -> Sequence[bytes]:
        if tile.level == 0:
            return leaves[tile.index * 256 :][: tile.width]
        return [perfect_root(leaves[:256])]

    return read


def parsed(note: bytes) -> tuple[Checkpoint, bytes]:
    return Checkpoint.parse(Note.parse(note).text), note


def findings(
    bodies: Sequence[bytes] = tuple(BODIES),
    *,
    keys: NodeKeys = ALICE,
    key: NoteKey | None = None,
    notes: Sequence[bytes] | None = None,
    read: Callable[[Tile], Sequence[bytes]] | None = None,
) -> dict[str, str]:
    """The checks that fail, with their severity."""
    key = key or log_key(origin_of(keys), keys.log.public)
    held = [signed(keys, bodies)] if notes is None else notes
    evidence = LogEvidence(key, list(bodies), [parsed(n) for n in held], read or tiles(bodies))
    found = list(check_log(evidence, []))
    assert all(finding.subject and finding.message for finding in found)
    return {finding.check: finding.severity for finding in found}


def test_a_sound_log_has_no_findings() -> None:
    assert findings() == {}
    assert findings(notes=[signed(ALICE, BODIES[:n]) for n in (1, 255, 256, 257, 300)]) == {}
    accepted: list[Accepted] = []
    key = log_key(origin_of(ALICE), ALICE.log.public)
    notes = [parsed(signed(ALICE, BODIES))]
    list(check_log(LogEvidence(key, BODIES, notes, tiles(BODIES)), accepted))
    assert [item.id for item in accepted] == [entry.id for entry in ENTRIES]
    assert [item.outline for item in accepted] == [outline_of(entry.statement) for entry in ENTRIES]
    assert [item.place for item in accepted] == list(range(300))


def test_an_empty_log_has_no_findings() -> None:
    assert findings([], notes=[]) == {}
    assert findings([]) == {}, "a signed checkpoint of the empty tree is true"


def test_a_changed_entry_is_found() -> None:
    changed = [*BODIES[:7], note_entry(ALICE, 999).body, *BODIES[8:]]
    found = findings(changed, notes=[signed(ALICE, BODIES)], read=tiles(BODIES))
    assert found == {"log.root": ERROR, "log.tiles": ERROR}


def test_a_swapped_pair_is_found() -> None:
    swapped = [*BODIES[:7], BODIES[8], BODIES[7], *BODIES[9:]]
    assert findings(swapped, notes=[signed(ALICE, BODIES)]) == {"log.root": ERROR}


def test_a_missing_last_entry_is_found() -> None:
    assert findings(BODIES[:-1], notes=[signed(ALICE, BODIES)]) == {"log.root": ERROR}


def test_an_unsigned_tail_is_a_warning() -> None:
    assert findings(notes=[signed(ALICE, BODIES[:200])]) == {"log.unsigned": WARNING}
    assert findings(notes=[]) == {"log.unsigned": WARNING}


def test_a_checkpoint_of_another_key_is_found() -> None:
    root = parsed(signed(ALICE, BODIES))[0].root
    forged = bytes(sign_checkpoint(Checkpoint(origin_of(ALICE), 300, root), MALLORY.log))
    assert findings(notes=[forged])["log.checkpoint"] == ERROR


def test_one_wrong_checkpoint_among_right_ones_is_found() -> None:
    other = [*BODIES[:5], note_entry(ALICE, 999).body]
    notes = [signed(ALICE, BODIES[:3]), signed(ALICE, other), signed(ALICE, BODIES)]
    assert findings(notes=notes) == {"log.root": ERROR}


@pytest.mark.parametrize("position", [(0, 0), (0, 1), (1, 0)])
def test_a_damaged_tile_is_found(position: tuple[int, int]) -> None:
    good = tiles(BODIES)

    def damaged(tile: Tile) -> Sequence[bytes]:
        hashes = list(good(tile))
        if (tile.level, tile.index) == position:
            hashes[-1] = bytes(32)
        return hashes

    def missing(tile: Tile) -> Sequence[bytes]:
        if (tile.level, tile.index) == position:
            raise ProofError(f"{tile.path} is missing")
        return good(tile)

    assert findings(read=damaged) == {"log.tiles": ERROR}
    assert findings(read=missing) == {"log.tiles": ERROR}


def test_an_entry_that_is_no_entry_is_found_and_the_rest_is_read() -> None:
    bodies = [*BODIES[:5], b"not an envelope", *BODIES[5:9]]
    assert findings(bodies) == {"entry.form": ERROR}


def test_an_entry_with_a_wrong_signature_is_found() -> None:
    envelope = Envelope.parse(BODIES[3])
    stolen = bytes(Envelope(envelope.payload, MALLORY.author.public, envelope.signature))
    by_another = bytes(Envelope.sign(envelope.payload, MALLORY.author))
    for body in (stolen, by_another):
        assert findings([*BODIES[:5], body]) == {"entry.signature": ERROR}


def test_a_log_that_does_not_begin_with_its_genesis_is_found() -> None:
    assert findings(BODIES[1:5]) == {"log.genesis": ERROR}
    assert findings([genesis(BOB).body, *BODIES[1:5]]) == {"log.genesis": ERROR}
    other_key = genesis(ALICE, log_key=str(log_key(origin_of(BOB), BOB.log.public)))
    assert findings([other_key.body, *BODIES[1:5]]) == {"log.genesis": ERROR}


def test_an_origin_that_does_not_contain_its_key_is_found() -> None:
    key = NoteKey(origin_of(ALICE), 1, MALLORY.log.public)
    found = findings(key=key)
    assert found["log.key"] == ERROR
    assert found["log.checkpoint"] == ERROR


def references(*entries: Entry) -> dict[str, str]:
    rows = [Row(index, None, None, entry.body) for index, entry in enumerate(entries)]
    with AuditIndex() as index:
        for batch in check_rows(rows):
            index.add(1, len(rows), batch)
        index.complete()
        return {f.check: f.severity for f in check_references(index, key_history([]))}


def test_references_to_what_is_held_are_sound() -> None:
    french = contribution(ALICE, "french")
    better = contribution(ALICE, "better", supersedes=french.id, derived_from=[french.id])
    assert references(french, better, withdrawal(ALICE, french.id)) == {}


def test_a_reference_to_what_is_missing_is_incomplete() -> None:
    french = contribution(ALICE, "french")
    for entry in (
        withdrawal(ALICE, french.id),
        contribution(ALICE, "better", supersedes=french.id),
        contribution(ALICE, "better", derived_from=[french.id]),
    ):
        assert references(entry) == {"reference": INCOMPLETE}


def test_a_withdrawal_by_a_stranger_is_pointed_out() -> None:
    french = contribution(ALICE, "french")
    assert references(french, withdrawal(MALLORY, french.id)) == {"withdrawal.author": WARNING}


def test_an_unknown_kind_refers_to_nothing() -> None:
    assert references(sign(ALICE, "note", {"target": "anything", "members": [1]})) == {}


def test_the_gravest_finding_decides_the_exit_code() -> None:
    def made(*severities: str) -> int:
        return exit_code([Finding("replay", severity, "x", "y") for severity in severities])

    assert made() == made(WARNING) == 0
    assert made(INCOMPLETE, WARNING) == 9
    assert made(INCOMPLETE, ERROR, WARNING) == 3
    assert made(ERROR, "equivocation", INCOMPLETE) == 8


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EquivocationError("x"), 8),
        (ProofError("x"), 3),
        (IncompleteError("x"), 9),
        (NotFoundError("x"), 9),
        (UnavailableError("x"), 9),
        (StorageError("x"), 9),
        (errors.HomeBusyError("x"), 9),
        (errors.IdentityError("x"), 9),
        (PnodeError("x"), 9),
    ],
)
def test_a_check_that_could_not_be_made_is_never_a_pass(error: PnodeError, code: int) -> None:
    assert exit_code([Finding.of("replay", "subject", error)]) == code


def test_every_check_that_is_reported_is_listed() -> None:
    assert list(CHECKS) == list(dict.fromkeys(CHECKS))
    with pytest.raises(AssertionError):
        Finding("no.such.check", ERROR, "x", "y")


def test_the_root_of_the_empty_tree_is_no_other_tree() -> None:
    with pytest.raises(errors.MalformedError):
        Checkpoint(origin_of(ALICE), 1, EMPTY_ROOT)
