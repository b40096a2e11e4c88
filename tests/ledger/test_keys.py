"""One acceptance rule for signatures, one key per purpose, one name per key."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import MalformedError, PnodeError, SignatureError
from ledger.keys import NodeKeys, PrivateKey, PublicKey, commitment
from ledger.quickverify import QuickVerifier, quick_verifier
from tests.ledger import edwards
from tests.ledger.published import load

SEED = bytes(range(32))
KEY = PrivateKey(SEED)
TORSION = edwards.small_order_points()
LOW_ORDER = sorted(encoding for point in TORSION for encoding in point.encodings())


def library_accepts(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def accepts(key: bytes, signature: bytes, message: bytes) -> bool:
    """The verdict, which is the same with either library."""
    verdicts = {judged(key, signature, message, quick) for quick in (None, quick_verifier())}
    assert len(verdicts) == 1
    return verdicts.pop()


def judged(key: bytes, signature: bytes, message: bytes, quick: QuickVerifier | None) -> bool:
    try:
        PublicKey(key).verify(signature, message, quick=quick)
    except (MalformedError, SignatureError):
        return False
    return True


@pytest.mark.parametrize(
    ("seed", "public", "message", "signature"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            (
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
                "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
            ),
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e"
                "458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            ),
        ),
    ],
)
def test_signatures_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    key = PrivateKey(bytes.fromhex(seed))
    assert key.public.raw.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    key.public.verify(bytes.fromhex(signature), bytes.fromhex(message))


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_an_honest_signature_verifies_and_a_changed_one_does_not(seed: bytes, text: bytes) -> None:
    key = PrivateKey(seed)
    signature = key.sign(text)
    key.public.verify(signature, text)
    with pytest.raises(SignatureError):
        key.public.verify(signature, text + b"!")
    for position in (0, 31, 32, 62, 63):
        changed = bytearray(signature)
        changed[position] ^= 1
        with pytest.raises(SignatureError):
            key.public.verify(bytes(changed), text)
    with pytest.raises(SignatureError):
        PrivateKey(bytes(reversed(SEED)) if seed == SEED else SEED).public.verify(signature, text)


def test_there_are_fourteen_low_order_encodings() -> None:
    assert len(LOW_ORDER) == len(set(LOW_ORDER)) == 14


@pytest.mark.parametrize("encoding", LOW_ORDER, ids=bytes.hex)
def test_a_key_of_low_order_is_refused(encoding: bytes) -> None:
    with pytest.raises(MalformedError):
        PublicKey(encoding)


@pytest.mark.parametrize("encoding", LOW_ORDER, ids=bytes.hex)
def test_a_signature_with_r_of_low_order_is_refused(encoding: bytes) -> None:
    """With r = 0 the equation holds for the identity, and libraries accept it."""
    scalar = 12345
    public = (scalar * edwards.BASE).encode()
    signature = edwards.signature(0, encoding, scalar, public, b"message")
    identity = edwards.IDENTITY.encode()
    assert library_accepts(public, signature, b"message") == (encoding == identity)
    with pytest.raises(SignatureError, match="form"):
        PublicKey(public).verify(signature, b"message")


def test_an_encoding_that_is_not_reduced_is_refused() -> None:
    for y in range(edwards.P, 2**255):
        for sign in (0, 1):
            encoding = (y | sign << 255).to_bytes(32, "little")
            with pytest.raises(MalformedError):
                PublicKey(encoding)
            with pytest.raises(SignatureError, match="form"):
                KEY.public.verify(encoding + bytes(32), b"")


def test_a_malleated_signature_is_refused() -> None:
    signature = KEY.sign(b"message")
    s = int.from_bytes(signature[32:], "little")
    for multiple in range(1, 8):
        other = signature[:32] + (s + multiple * edwards.L).to_bytes(32, "little")
        with pytest.raises(SignatureError, match="form"):
            KEY.public.verify(other, b"message")
    for limit in (edwards.L, 2**256 - 1):
        with pytest.raises(SignatureError, match="form"):
            KEY.public.verify(signature[:32] + limit.to_bytes(32, "little"), b"message")


def test_mixed_order_points_are_judged_without_the_cofactor() -> None:
    """R and A with a part of small order: valid only if the parts cancel out exactly."""
    a, r = 2**200 + 17, 2**190 + 5
    verdicts = set()
    for in_a in range(8):
        for in_r in range(8):
            public = (a * edwards.BASE + TORSION[in_a]).encode()
            commit = (r * edwards.BASE + TORSION[in_r]).encode()
            message = b"mixed %d %d" % (in_a, in_r)
            signature = edwards.signature(r, commit, a, public, message)
            k = edwards.challenge(commit, public, message)
            cancels = TORSION[in_r] + k * TORSION[in_a] == edwards.IDENTITY
            assert accepts(public, signature, message) == cancels
            verdicts.add((in_a > 0, in_r > 0, cancels))
    assert (True, True, True) in verdicts
    assert (True, True, False) in verdicts


def test_a_key_that_is_no_point_verifies_nothing() -> None:
    for y in range(2, 50):
        if edwards.point_with(y) is None:
            encoding = y.to_bytes(32, "little")
            with pytest.raises(PnodeError):
                PublicKey(encoding).verify(KEY.sign(b"message"), b"message")


def test_published_edge_cases_are_accepted_exactly_by_the_rule() -> None:
    cases = load("cctv", "ed25519.json")
    assert len(cases) == 914
    verdicts = []
    for case in cases:
        flags = set(case["flags"] or [])
        verdict = accepts(
            bytes.fromhex(case["key"]), bytes.fromhex(case["sig"]), case["msg"].encode()
        )
        refused_by_rule = {"low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R"}
        if verdict:
            assert not flags & (refused_by_rule | {"low_order_residue"})
        verdicts.append(verdict)
    assert sum(verdicts) == 43
    strict = [case for case in cases if not set(case["flags"] or []) & refused_by_rule]
    assert len(strict) == 43 + 63


@given(st.binary(max_size=70), st.binary(max_size=70))
def test_arbitrary_keys_and_signatures_raise_typed_errors(key: bytes, signature: bytes) -> None:
    for raw in (key, key.ljust(32, b"\7")[:32]):
        for sig in (signature, signature.ljust(64, b"\1")[:64]):
            assert not accepts(raw, sig, b"message")


def test_keys_are_derived_as_they_always_were() -> None:
    """Frozen: another derivation would give every node other keys and another origin."""
    keys = NodeKeys.from_seed(SEED)
    assert {
        "author": keys.author.public.raw.hex(),
        "log": keys.log.public.raw.hex(),
        "cosigner": keys.cosigner.public.raw.hex(),
    } == load("pnode", "derived-keys.json")["public"]


def test_each_purpose_has_its_own_key() -> None:
    keys = NodeKeys.from_seed(SEED)
    seeds = {keys.author.seed, keys.log.seed, keys.cosigner.seed, SEED}
    assert len(seeds) == 4


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(MalformedError):
        NodeKeys.from_seed(bytes(size))
    with pytest.raises(MalformedError):
        PrivateKey(bytes(size))


def test_a_private_key_does_not_print_its_seed() -> None:
    keys = NodeKeys.from_seed(SEED)
    shown = repr(keys) + str(keys) + repr(KEY) + f"{KEY}"
    assert SEED.hex() not in shown
    assert str(SEED) not in shown
    assert str(keys.log.seed) not in shown


def test_the_did_of_a_key() -> None:
    vectors = load("pnode", "vectors.json")["log"]
    key = PrivateKey(bytes.fromhex(vectors["seed"])).public
    assert key.did == vectors["did"]
    assert PublicKey.from_did(vectors["did"]) == key


@given(st.binary(min_size=32, max_size=32))
def test_a_did_round_trips(seed: bytes) -> None:
    key = PrivateKey(seed).public
    assert key.did.startswith("did:key:z6Mk")
    assert PublicKey.from_did(key.did) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "did:key:",
        "did:key:z",
        "did:web:example.com",
        "did:key:" + KEY.public.did[9:],
        KEY.public.did[:-1],
        KEY.public.did + "1",
        "did:key:z1" + KEY.public.did[9:],
        KEY.public.did.upper(),
        KEY.public.did + "#" + KEY.public.did[8:],
        KEY.public.did + "\n",
        "did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc",  # an X25519 key
        "did:key:z" + "z" * 200,
        None,
        7,
        ["did:key:z"],
    ],
)
def test_any_other_did_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        PublicKey.from_did(text)


@given(st.text(max_size=60))
def test_arbitrary_dids_raise_typed_errors(text: str) -> None:
    for candidate in (text, "did:key:z" + text, "did:key:z6Mk" + text):
        with pytest.raises(MalformedError):
            PublicKey.from_did(candidate)


def test_a_recovery_commitment_names_one_key() -> None:
    other = PrivateKey(bytes(32)).public
    assert commitment(KEY.public) == commitment(PublicKey(KEY.public.raw))
    assert commitment(KEY.public) != commitment(other)
    assert len(commitment(other)) == 64


def test_published_wycheproof_signatures_get_their_verdict() -> None:
    cases = load("wycheproof", "ed25519.json")
    tested = 0
    for group in cases["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            verdict = accepts(key, bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"]))
            assert verdict == (case["result"] == "valid"), case["comment"]
            tested += 1
    assert tested == cases["numberOfTests"] > 100
