"""Notes, keys, checkpoints and tile paths against the Go reference.

Whatever is accepted here must be accepted there and mean the same. The other way round, every
difference must be one of those listed, and each listed one must occur; a parser that grows laxer,
or stricter without saying so, fails.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Sequence

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.encoding import encode_base64
from ledger.errors import MalformedError, PnodeError, SignatureError
from ledger.keys import PrivateKey
from ledger.merkle import leaf_hash, root_of
from ledger.note import ED25519_NOTE, Note, NoteKey, NoteVerifier, sign_note
from ledger.tile import Tile
from tests.interop.partners import GoReference

KEY = PrivateKey(bytes(range(32)))
NAME = "node.example/alice"
VKEY = NoteKey(NAME, ED25519_NOTE, KEY.public)
OTHER = NoteKey("node.example/bob", ED25519_NOTE, PrivateKey(bytes(32)).public)
TEXT = "go.sum database tree\n5\nGqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=\n"
LINE = str(sign_note(TEXT, NAME, KEY)) + "\n"
OTHER_LINE = str(sign_note(TEXT, OTHER.name, PrivateKey(bytes(32)))) + "\n"


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Change a document in one to three places, mostly into what it could have been."""
    pool = [b"\n", b" ", b"+", b"=", b"/", b"\r", b"\x00", b"\xc2\xa0", b"\xff", b"x", b"0", b"A"]
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.choice([1, 1, 2, 5]))
        match draw.randrange(5):
            case 0:
                data = data[:at] + draw.choice(pool) + data[at:]
            case 1:
                data = data[:at] + data[end:]
            case 2:
                data = data[:at] + draw.choice(pool) + data[end:]
            case 3:
                data = data[:at] + data[at:end] + data[at:]
            case _ if data:
                at = min(at, len(data) - 1)
                changed = data[at] ^ 1 << draw.randrange(8)
                data = data[:at] + bytes([changed]) + data[at + 1 :]
    return data


def compare(
    theirs: Sequence[tuple[bool, str]],
    ours: Sequence[tuple[bytes, Callable[[bytes], str]]],
    stricter: Sequence[str],
    *,
    least: int,
) -> None:
    """Compare answers with what is accepted here, and account for every difference."""
    accepted, listed = 0, Counter(dict.fromkeys(stricter, 0))
    for (verdict, detail), (data, parse) in zip(theirs, ours, strict=True):
        try:
            answer = parse(data)
        except PnodeError as error:
            if verdict:
                reasons = [reason for reason in stricter if reason in str(error)]
                assert reasons, (data, detail, error)
                listed[reasons[0]] += 1
            continue
        assert verdict, (data, answer, detail)
        assert answer == detail, data
        accepted += 1
    assert accepted >= least
    assert all(listed.values()), listed


def opened(data: bytes) -> str:
    """What the reference says of a note, from ours."""
    note = Note.parse(data)
    try:
        signed = note.open([NoteVerifier(VKEY)])
    except SignatureError as error:
        known = [line for line in note.signatures if line.is_by(VKEY)]
        if known:
            NoteVerifier(VKEY).verify_line(note.text, known[0])
            raise SignatureError("only a repeated line is wrong") from error
        raise
    # The reference drops repeated lines, and counts a known key's only once.
    others = {str(line) for line in note.signatures if not line.is_by(VKEY)}
    return f"{note.text.encode().hex()} {len(signed)} {len(others)}"


def test_notes_are_the_same_to_both(go: GoReference) -> None:
    draw = random.Random(4)
    good = [
        (TEXT + "\n" + LINE).encode(),
        (TEXT + "\n" + OTHER_LINE + LINE).encode(),
        (TEXT + "\n" + LINE + LINE + OTHER_LINE).encode(),
        ("\n" + TEXT + "\n" + TEXT + "\n" + LINE).encode(),
    ]
    wrong = str(sign_note(TEXT + "x\n", NAME, KEY)) + "\n"
    loose = OTHER_LINE[:-3] + "1=\n"
    assert base64.b64decode(loose.split(" ")[2]) != b""
    long_name = OTHER_LINE.replace("bob", "b" * 250)
    edges = [
        *good,
        (TEXT + "\n" + LINE * 100).encode(),
        (TEXT + "\n" + LINE * 101).encode(),
        (TEXT + "\n" + LINE + wrong).encode(),
        (TEXT + "\n" + wrong + LINE).encode(),
        (TEXT + "\n" + loose + LINE).encode(),
        (TEXT + "\n" + long_name + LINE).encode(),
        _signed("\n"),
        _signed("x" * 70_000 + "\n"),
        _signed("x\n\ny\n"),
        _signed("\u2028\u00a0\u0085\n"),
        _signed("a\x7fb\n"),
    ]
    cases = edges + [mutated(draw.choice(good), draw) for _ in range(20_000)]
    vkey = str(VKEY).encode().hex()
    compare(
        go.ask(("open", case.hex(), vkey) for case in cases),
        [(case, opened) for case in cases],
        [
            "at most 65536",
            "no signature block",  # A text of one empty line.
            "base64 is not canonical",
            "cannot be a key name",  # Longer than 256 characters.
            "only a repeated line is wrong",
        ],
        least=100,
    )


def _signed(text: str) -> bytes:
    return (text + "\n" + str(sign_note(text, NAME, KEY)) + "\n").encode()


def test_signatures_are_the_same_bytes(go: GoReference) -> None:
    draw = random.Random(5)
    texts = ["x\n", "\n\nx\n", TEXT, *(f"{draw.random()}\n\u20ac\n" for _ in range(200))]
    seed = encode_base64(b"\x01" + bytes(range(32)))
    skey = f"PRIVATE+KEY+{NAME}+{VKEY.key_id.hex()}+{seed}".encode().hex()
    answers = go.ask(("sign", text.encode().hex(), skey) for text in texts)
    assert [bytes.fromhex(detail) for _, detail in answers] == [_signed(text) for text in texts]


def test_verifier_keys_are_the_same_to_both(go: GoReference) -> None:
    draw = random.Random(6)
    good = [str(VKEY).encode(), str(OTHER).encode(), str(NoteKey("\u20ac", 1, KEY.public)).encode()]
    shouted = f"{NAME}+{VKEY.key_id.hex().upper()}+{str(VKEY).split('+', 2)[2]}".encode()
    low = bytes([1]) + bytes([1]) + bytes(31)
    weak = f"x+{_key_id('x', low)}+{encode_base64(low)}".encode()
    name = "n" * 300
    key = b"\x01" + KEY.public.raw
    long = f"{name}+{_key_id(name, key)}+{encode_base64(key)}".encode()
    cases = [*good, shouted, weak, long, good[0][:-9] + b"\n" + good[0][-9:]]
    cases += (mutated(draw.choice(good), draw) for _ in range(10_000))

    def parsed(data: bytes) -> str:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise MalformedError("not UTF-8") from None
        vkey = NoteKey.parse(text)
        return f"{vkey.name.encode().hex()} {vkey.key_id.hex()}"

    compare(
        go.ask(("vkey", case.hex()) for case in cases),
        [(case, parsed) for case in cases],
        [
            "lower-case hexadecimal",
            "not an acceptable Ed25519",
            "cannot be a key name",  # Longer than 256 characters.
            "not base64",  # The reference skips line breaks inside it.
        ],
        least=3,
    )


def _key_id(name: str, data: bytes) -> str:
    return hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8]


def test_checkpoints_are_the_same_to_both(go: GoReference) -> None:
    """The reference reads the checkpoints of one origin only, so these have that one."""
    draw = random.Random(7)
    good = [
        Checkpoint("go.sum database tree", size, root_of([leaf_hash(b"")] * size)).text.encode()
        for size in (0, 1, 5, 300)
    ]
    loose = good[1][:-3] + bytes([good[1][-3] + 1]) + b"=\n"
    huge = f"go.sum database tree\n{2**63 - 1}\n".encode() + good[1].split(b"\n")[2] + b"\n"
    edges = [
        *good,
        loose,
        huge,
        good[1] + b"extension\n",
        good[1] + b"\xff\n",
        good[1][:-9] + b"\r" + good[1][-9:],
    ]
    edges += [good[0].replace(b"\n0\n", b"\n1\n")]
    edges += [good[1].replace(b"\n1\n", b"\n0\n"), good[1].replace(b"\n1\n", b"\n01\n")]
    cases = edges + [mutated(draw.choice(good), draw) for _ in range(10_000)]

    def parsed(data: bytes) -> str:
        try:
            point = Checkpoint.parse(data.decode())
        except UnicodeDecodeError:
            raise MalformedError("not UTF-8") from None
        if point.origin != "go.sum database tree":
            raise MalformedError("another origin")
        return f"{point.size} {point.root.hex()}"

    compare(
        go.ask(("tree", case.hex()) for case in cases),
        [(case, parsed) for case in cases],
        [
            "exactly three lines",
            "base64 is not canonical",
            "not base64",  # The reference skips line breaks inside it.
            "root and size disagree",
            "not UTF-8",  # In an extension line.
        ],
        least=10,
    )


def test_tile_paths_are_the_same_to_both(go: GoReference) -> None:
    draw = random.Random(8)
    tiles = [
        Tile(draw.randrange(-1, 64), draw.randrange(1 << draw.randrange(1, 60)), width)
        for width in (1, 5, 255, 256, 256)
        for _ in range(20)
    ]
    edges = [tile.path.encode() for tile in tiles]
    edges += [b"tile/64/000", b"tile/0/x000/001", b"tile/0/000.p/256", b"tile/0/" + b"x999/" * 8]
    edges += [b"tile/0/" + b"x009/" * 6 + b"223", b"tile/0/x010/" + b"x000/" * 5 + b"000"]
    edges += [b"tile/data/000", b"tile/8/0/000", b"tile/+1/000", b"tile/0/x-01/000"]
    cases = edges + [mutated(draw.choice(edges), draw) for _ in range(20_000)]

    def parsed(data: bytes) -> str:
        try:
            tile = Tile.parse(data.decode())
        except UnicodeDecodeError:
            raise MalformedError("not UTF-8") from None
        return f"{tile.level} {tile.index} {tile.width}"

    def theirs(path: bytes) -> bytes:
        """The reference calls bundles `data`, and writes the height in front."""
        if path.startswith(b"tile/data/"):
            path = b"tile/entries/"
        elif path.startswith(b"tile/entries/"):
            path = path.replace(b"entries", b"data", 1)
        return path.replace(b"tile/", b"tile/8/", 1)

    compare(
        go.ask(("path", theirs(case).hex()) for case in cases),
        [(case, parsed) for case in cases],
        ["is not a tile path"],  # Levels above 63.
        least=100,
    )


def test_a_signed_checkpoint_opens_there(go: GoReference) -> None:
    point = Checkpoint(NAME, 5, bytes(32))
    note = bytes(sign_checkpoint(point, KEY))
    ((verdict, detail),) = go.ask([("open", note.hex(), str(VKEY).encode().hex())])
    assert verdict, detail
    assert detail.split(" ")[0] == point.text.encode().hex()
    damaged = note.replace(b"\n5\n", b"\n6\n")
    assert not go.ask([("open", damaged.hex(), str(VKEY).encode().hex())])[0][0]
    try:
        Note.parse(damaged).open([NoteVerifier(VKEY)])
    except SignatureError:
        return
    raise AssertionError("a changed checkpoint was opened")
