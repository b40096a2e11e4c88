"""Evidence files convict the logs that forked, and no others."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, log_key, log_origin, sign_checkpoint
from ledger.cosignature import cosign
from ledger.errors import EvidenceError, MalformedError, ProofError, SignatureError
from ledger.evidence import (
    MAX_COSIGNER_NAME,
    MAX_COSIGNERS,
    MAX_EVIDENCE_BYTES,
    Evidence,
    different_entries,
    of_trees,
    prefix,
    same_size,
)
from ledger.keys import PrivateKey
from ledger.merkle import consistency_proof, inclusion_proof, root_of
from ledger.note import ED25519_COSIGNATURE, Note, NoteKey, NoteSignature
from ledger.tlogproof import TlogProof
from tests.ledger.forks import (
    KEY,
    SIGNER,
    fork,
    leaves,
    named_note,
    note,
    proof,
    reader,
)

FORGED_TREES = 3_500
A, B = fork(5, 9, "a"), fork(5, 14, "b")


def evidence_of(kind: str) -> Evidence:
    """One file of each kind."""
    if kind == "same-size":
        return same_size(KEY, note(A), note(B[:9]))
    if kind == "prefix":
        return of_trees(KEY, note(A), note(B), reader(B))
    return different_entries(KEY, proof(A, 6), A[6], proof(B, 6), B[6])


KINDS = ("same-size", "entry", "prefix")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_one_text_that_verifies_alone(kind: str) -> None:
    evidence = evidence_of(kind)
    data = bytes(evidence)
    lines = data.split(b"\n")
    assert lines[:3] == [b"equivocation@v1", f"kind {kind}".encode(), f"log {KEY}".encode()]
    parsed = Evidence.parse(data)
    assert parsed == evidence
    assert bytes(parsed) == data
    assert parsed.id == hashlib.sha256(data).hexdigest()
    assert parsed.origin == KEY.name
    parsed.verify()


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_in_which_the_sides_are_given_does_not_matter(kind: str) -> None:
    swapped = {
        "same-size": lambda: same_size(KEY, note(B[:9]), note(A)),
        "prefix": lambda: of_trees(KEY, note(B), note(A), reader(B)),
        "entry": lambda: different_entries(KEY, proof(B, 6), B[6], proof(A, 6), A[6]),
    }
    assert bytes(swapped[kind]()) == bytes(evidence_of(kind))


@settings(max_examples=FORGED_TREES, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_forged_tree_is_convicted_and_no_honest_one(seed: int) -> None:
    """Two trees of m <= n entries that share p: every file that can be made of them is made."""
    draw = random.Random(seed)
    limit = draw.choice([2, 5, 20, 70])
    m = draw.randint(1, limit)
    n = draw.randint(m, limit)
    p = draw.randint(0, m - 1)
    a, b, honest = fork(p, m, "a"), fork(p, n, "b"), fork(p, n, "a")
    note_a, note_b = note(a), note(b)
    evidence = of_trees(KEY, note_a, note_b, reader(b))
    assert evidence.kind == ("same-size" if m == n else "prefix")
    index = draw.randint(p, m - 1)
    entry = different_entries(
        KEY, proof(a, index, note_a), a[index], proof(b, index, note_b), b[index]
    )
    for each in (evidence, entry):
        assert bytes(Evidence.parse(bytes(each))) == bytes(each)
        Evidence.parse(bytes(each)).verify()
    note_honest = note(honest)
    with pytest.raises(EvidenceError):
        of_trees(KEY, note_a, note_honest, reader(honest))
    with pytest.raises(EvidenceError):
        of_trees(KEY, note_a, note_honest, reader(b))
    with pytest.raises(EvidenceError):
        different_entries(
            KEY, proof(a, index, note_a), a[index], proof(honest, index, note_honest), a[index]
        )


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_file_about_honest_trees_verifies(data: st.DataObject) -> None:
    """A liar chooses x, the path, the leaves and the index freely, from every hash there is."""
    m = data.draw(st.integers(1, 12))
    n = data.draw(st.integers(m + 1, 20))
    tree = leaves(n)
    read = reader(tree)
    nodes = [read(level, i) for level in range(5) for i in range(n >> level)]
    nodes += [root_of(tree[:size]) for size in range(1, n + 1)]
    honest = consistency_proof(m, n, read)
    edits = st.lists(st.tuples(st.integers(0, 8), st.sampled_from(nodes)), max_size=3)
    path = list(honest)
    for place, value in data.draw(edits):
        path[place : place + 1] = [value]
    x = data.draw(st.sampled_from([node for node in nodes if node != root_of(tree[:m])]))
    with pytest.raises(EvidenceError):
        prefix(KEY, note(tree[:m]), note(tree), x, data.draw(st.sampled_from([path, honest])))
    index = data.draw(st.integers(0, m - 1))
    other = data.draw(st.integers(0, n - 1))
    leaf = data.draw(st.sampled_from([node for node in nodes if node != tree[index]]))
    moved = TlogProof(index, tuple(inclusion_proof(other, n, read)), note(tree))
    with pytest.raises(EvidenceError):
        different_entries(KEY, proof(tree[:m], index), tree[index], moved, leaf)


def test_two_names_for_one_tree_prove_nothing() -> None:
    with pytest.raises(MalformedError, match="smaller"):
        same_size(KEY, note(A), note(A))
    with pytest.raises(ProofError, match="different sizes"):
        same_size(KEY, note(A), note(B))
    with pytest.raises(ProofError, match="extends"):
        prefix(KEY, note(B[:7]), note(B), root_of(B[:7]), consistency_proof(7, 14, reader(B)))


def test_a_consistency_proof_that_fails_is_no_evidence() -> None:
    path = consistency_proof(9, 14, reader(B))
    for broken in (path[:-1], [*path, path[0]], [path[0][::-1], *path[1:]], []):
        with pytest.raises(EvidenceError):
            prefix(KEY, note(A), note(B), root_of(B[:9]), broken)
        with pytest.raises(EvidenceError):
            prefix(KEY, note(B[:9]), note(B), root_of(A), broken)


def test_an_origin_is_convicted_by_its_own_key_only() -> None:
    """Whoever signs two trees under the name of somebody else convicts nobody."""
    mallory = PrivateKey(bytes(32))
    framed = NoteKey(KEY.name, KEY.kind, mallory.public)
    notes = [
        bytes(sign_checkpoint(Checkpoint(KEY.name, 9, root_of(tree[:9])), mallory))
        for tree in (A, B)
    ]
    with pytest.raises(SignatureError, match="not the one its name contains"):
        same_size(framed, *notes)
    with pytest.raises(SignatureError):
        same_size(KEY, *notes)


def test_one_forged_signature_is_enough_to_refuse() -> None:
    evidence = evidence_of("same-size")
    parsed = Note.parse(evidence.b)
    other = Note.parse(evidence.a)
    forged = Note(parsed.text, other.signatures)
    with pytest.raises(SignatureError):
        replace(evidence, b=bytes(forged)).verify()


def test_checkpoints_of_two_logs_are_no_evidence() -> None:
    stranger = PrivateKey(bytes(32))
    with pytest.raises(EvidenceError):
        same_size(KEY, note(A), note(B[:9], key=stranger))
    key = log_key(log_origin(stranger.public), stranger.public)
    with pytest.raises(EvidenceError):
        Evidence("same-size", key, note(A), note(B[:9]))


# --- cosigners ----------------------------------------------------------------------------------


def cosigner(number: int) -> tuple[NoteKey, PrivateKey]:
    """A cosigner's name and key."""
    private = PrivateKey(bytes([number]) * 32)
    return NoteKey(f"witness.example/{number}", ED25519_COSIGNATURE, private.public), private


def cosigned(tree: list[bytes], *numbers: int, lie: int = 0) -> bytes:
    """A checkpoint cosigned by some; `lie` puts a wrong signature under the name of another."""
    text = Note.parse(note(tree)).text
    lines = [cosign(text, cosigner(n)[0].name, cosigner(n)[1], time=7) for n in numbers]
    if lie:
        lines.append(cosign("x\n", cosigner(lie)[0].name, cosigner(lie)[1], time=7))
    return note(tree, *lines)


def test_who_cosigned_both_sides_is_implicated() -> None:
    evidence = same_size(KEY, cosigned(A, 3, 1, 2, lie=5), cosigned(B[:9], 4, 2, 3, lie=5))
    evidence.verify()
    keys = [cosigner(number)[0] for number in range(1, 7)]
    assert evidence.implicated(keys) == (keys[1], keys[2])
    assert evidence.implicated([]) == ()
    signers = [line.name for line in Note.parse(evidence.a).signatures]
    assert signers == [KEY.name, "witness.example/2", "witness.example/3", "witness.example/5"]


def test_cosigners_of_one_side_and_those_beyond_the_limit_are_left_out() -> None:
    everyone = range(1, MAX_COSIGNERS + 5)
    evidence = same_size(KEY, cosigned(A, *everyone), cosigned(B[:9], *everyone))
    assert len(Note.parse(evidence.a).signatures) == 1 + MAX_COSIGNERS
    alone = same_size(KEY, cosigned(A, 1), cosigned(B[:9], 2))
    assert bytes(alone) == bytes(evidence_of("same-size"))


def test_lines_of_strangers_on_both_sides_hide_no_fork() -> None:
    """Anybody can add lines to a note; they must not make the proof too large."""
    junk = [NoteSignature("junk", b"abcd", bytes(7_000)), NoteSignature("a", b"abcd", b"short")]
    long = NoteSignature("x" * (MAX_COSIGNER_NAME + 1), b"abcd", bytes(72))
    sides = []
    for tree in (A, B[:9]):
        parsed = Note.parse(cosigned(tree, 1))
        sides.append(bytes(Note(parsed.text, (*parsed.signatures, *junk, long))))
    evidence = same_size(KEY, *sides)
    assert evidence == same_size(KEY, cosigned(A, 1), cosigned(B[:9], 1))
    a, b = (
        replace(proof(tree, 6), note=side) for tree, side in zip((A, B[:9]), sides, strict=True)
    )
    different_entries(KEY, a, A[6], b, B[6]).verify()


def test_cosigners_go_before_the_proof_does() -> None:
    """Names of four-byte characters fill the file: the last ones are left out."""
    lines = [
        NoteSignature("\U0001f600" * 127 + str(n), b"abcd", bytes(72)) for n in range(MAX_COSIGNERS)
    ]
    name = "\U0001f600" * 256
    sides = []
    trees = fork(5, 999, "a"), fork(5, 999, "b")
    for tree in trees:
        key, plain = named_note(name, tree)
        parsed = Note.parse(plain)
        sides.append(bytes(Note(parsed.text, (*parsed.signatures, *lines))))
    a, b = (proof(tree, 6, side) for tree, side in zip(trees, sides, strict=True))
    evidence = different_entries(key, a, trees[0][6], b, trees[1][6])
    kept = [line.name for line in Note.parse(TlogProof.parse(evidence.a).note).signatures]
    assert 1 < len(kept) < 1 + MAX_COSIGNERS
    assert kept == [name, *(line.name for line in lines[: len(kept) - 1])]


# --- form ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_other_spelling_is_refused(kind: str) -> None:
    data = bytes(evidence_of(kind))
    wrong = {
        "nothing": b"",
        "other magic": data.replace(b"@v1", b"@v2", 1),
        "other kind": data.replace(f"kind {kind}".encode(), b"kind fork"),
        "carriage return": data.replace(b"\n", b"\r\n"),
        "space at the end": data.replace(b"\n", b" \n", 1),
        "a byte more": data + b"\n",
        "a byte less": data[:-1],
        "length with a zero": data.replace(b"\nA ", b"\nA 0", 1),
        "length too large": data.replace(b"\nA ", b"\nA 9999", 1),
        "no part B": data[: data.index(b"\nB ") + 1],
        "another hash": data.replace(b"\n\nA", b"\n" + b"A" * 43 + b"=\n\nA", 1),
        "not text": b"\xff" + data,
        "large": data + b"x" * MAX_EVIDENCE_BYTES,
    }
    for name, other in wrong.items():
        if kind == "prefix" and name == "another hash":
            continue  # a longer proof has the right form and fails as a proof
        with pytest.raises(MalformedError):
            Evidence.parse(other)


def test_signers_out_of_order_unequal_or_twice_are_refused() -> None:
    good = same_size(KEY, cosigned(A, 1, 2), cosigned(B[:9], 1, 2))
    a, b = Note.parse(good.a), Note.parse(good.b)
    log, first, second = b.signatures
    for lines in ((first, log, second), (log, second, first), (log, first), (log, log)):
        changed = bytes(Note(b.text, lines))
        with pytest.raises(MalformedError, match="signers"):
            replace(good, b=changed)
    twice = [bytes(Note(side.text, (side.signatures[0],) * 2)) for side in (a, b)]
    with pytest.raises(MalformedError, match="signers"):
        replace(good, a=twice[0], b=twice[1])


def test_an_extra_line_in_a_proof_is_refused() -> None:
    good = evidence_of("entry")
    parsed = TlogProof.parse(good.a)
    with pytest.raises(MalformedError, match="extra"):
        replace(good, a=bytes(replace(parsed, extra=b"anything")))
    carried = replace(proof(A, 6), extra=b"left out")
    assert different_entries(KEY, carried, A[6], proof(B, 6), B[6]) == good


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_no_other_bytes_ever_verify(data: st.DataObject) -> None:
    good = bytes(evidence_of(data.draw(st.sampled_from(KINDS))))
    start = data.draw(st.integers(0, len(good) - 1))
    cut = data.draw(st.integers(0, 40))
    changed = good[:start] + data.draw(st.binary(max_size=40)) + good[start + cut :]
    if changed == good:
        return
    with pytest.raises(EvidenceError):
        Evidence.parse(changed).verify()


@settings(max_examples=500, deadline=None)
@given(data=st.binary(max_size=400))
def test_arbitrary_bytes_raise_one_kind_of_error(data: bytes) -> None:
    for raw in (data, b"equivocation@v1\nkind same-size\nlog " + data):
        with pytest.raises(EvidenceError):
            Evidence.parse(raw)


# --- size ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "entry_limit"), [("node.example/alice", 2_600), (KEY.name, 2_800)]
)
def test_a_file_about_a_million_entries_is_small(name: str, entry_limit: int) -> None:
    """Proofs of the greatest lengths below 2^20: 21 hashes for consistency, 20 for inclusion."""
    key, _ = named_note(name, A)
    points = [
        Checkpoint(name, size, root) for size, root in zip((999_999, 1_000_000), A, strict=False)
    ]
    smaller, larger = (bytes(sign_checkpoint(point, SIGNER)) for point in points)
    twin = bytes(sign_checkpoint(Checkpoint(name, 1_000_000, B[6]), SIGNER))
    hashes = tuple(leaves(22))
    assert len(bytes(Evidence("prefix", key, smaller, larger, hashes))) <= 2_000
    pair = sorted([larger, twin], key=lambda data: Checkpoint.parse(Note.parse(data).text))
    assert len(bytes(Evidence("same-size", key, *pair))) <= 1_000
    parts = [bytes(TlogProof(999_999, hashes[:20], part)) for part in pair]
    size = len(bytes(Evidence("entry", key, *parts, hashes[:2])))
    assert size <= entry_limit
