"""Ed25519 keys: one seed per node, one key per purpose, one acceptance rule for everybody.

A node's 32-byte seed gives an author key, a log key and a cosigner key through HKDF-SHA-256 with
distinct info strings, so that no signature made for one purpose can serve another. Authors are
shown as `did:key` (W3C did:key method: multibase base58btc of ED 01 and the 32-byte key).

Libraries disagree on malleable Ed25519 signatures (C2SP/CCTV counts 208 against 43 accepted edge
cases), so the ledger fixes its own rule, stricter than RFC 8032 section 5.1.7: a signature counts
only if key and R are canonical encodings of points that are not of low order, S < L, and the
library accepts. Two honest auditors can then never disagree.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from ledger.encoding import decode_base58, encode_base58
from ledger.errors import MalformedError, SignatureError

if TYPE_CHECKING:
    from ledger.quickverify import QuickVerifier

SEED_SIZE: Final = 32
KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64

_FIELD_PRIME = 2**255 - 19
_GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
_DID_PREFIX = "did:key:z"
_MULTICODEC_ED25519 = b"\xed\x01"

# The eight points whose order divides 8 (C2SP/CCTV ed25519/README.md). Their six other encodings
# are already refused as not canonical, except the two "negative zero" forms listed last.
_LOW_ORDER = frozenset(
    bytes.fromhex(text)
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An acceptable Ed25519 public key.

    Raises:
        MalformedError: if the 32 bytes are not the canonical encoding of a point of full order.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if not _acceptable_point(self.raw):
            raise MalformedError("not an acceptable Ed25519 public key")

    @classmethod
    def from_did(cls, text: str) -> PublicKey:
        """Parse a `did:key` of an Ed25519 key."""
        if not isinstance(text, str):
            raise MalformedError(f"'{str(text)[:80]}' is not a did:key of an Ed25519 key")
        return _key_from_did(text)

    @property
    def did(self) -> str:
        """The key as `did:key:z6Mk...`."""
        return _DID_PREFIX + encode_base58(_MULTICODEC_ED25519 + self.raw)

    def verify(
        self, signature: bytes, message: bytes, *, quick: QuickVerifier | None = None
    ) -> None:
        """Require a valid signature under the rule of this module.

        Args:
            signature: 64 bytes.
            message: what was signed.
            quick: asked first, where many signatures are verified; it changes no verdict.

        Raises:
            SignatureError: if it is not.
        """
        if (
            len(signature) != SIGNATURE_SIZE
            # A last byte below 0x10 means S < 2^252 < L.
            or (signature[63] >= 0x10 and not _below_order(signature[32:]))
            or (signature[31] & 0x7F in _SUSPECT and not _acceptable_point(signature[:32]))
        ):
            raise SignatureError("signature is not in the one accepted form")
        if quick is not None and quick(self.raw, signature, message):
            return
        try:
            _load(self.raw).verify(signature, message)
        except InvalidSignature:
            raise SignatureError(f"signature does not verify under {self.did}") from None


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An Ed25519 signing key, given by its 32-byte seed (RFC 8032 section 5.1.5)."""

    seed: bytes

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_SIZE:
            raise MalformedError(f"a key seed has {SEED_SIZE} bytes, not {len(self.seed)}")

    def __repr__(self) -> str:
        return "PrivateKey(...)"

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(_private(self.seed).public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """Return the deterministic 64-byte signature."""
        return _private(self.seed).sign(message)


class NodeKeys(NamedTuple):
    """The three keys a node derives from its seed."""

    author: PrivateKey
    log: PrivateKey
    cosigner: PrivateKey

    @classmethod
    def from_seed(cls, seed: bytes) -> NodeKeys:
        """Derive the keys (HKDF-SHA-256, RFC 5869, no salt, one info string per purpose)."""
        if len(seed) != SEED_SIZE:
            raise MalformedError(f"a node seed has {SEED_SIZE} bytes, not {len(seed)}")
        return cls(*(PrivateKey(_derive(seed, use)) for use in ("author", "log", "cosigner")))


def commitment(key: PublicKey) -> str:
    """Return the hex SHA-256 by which a genesis entry commits to a recovery key."""
    return hashlib.sha256(key.raw).hexdigest()


def _derive(seed: bytes, purpose: str) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = f"pnode/{purpose}/v1".encode("ascii")
    return HKDF(algorithm=SHA256(), length=SEED_SIZE, salt=None, info=info).derive(seed)


# The last bytes, without the sign, of encodings that are of low order or reach p.
_SUSPECT = frozenset({point[31] & 0x7F for point in _LOW_ORDER} | {0x7F})


def _acceptable_point(encoding: bytes) -> bool:
    if len(encoding) != KEY_SIZE or encoding in _LOW_ORDER:
        return False
    # The seven high bits of a number that reaches p are all ones: the last byte mostly decides.
    if encoding[31] & 0x7F != 0x7F:
        return True
    return int.from_bytes(encoding, "little") & (2**255 - 1) < _FIELD_PRIME


def _below_order(scalar: bytes) -> bool:
    return int.from_bytes(scalar, "little") < _GROUP_ORDER


@lru_cache(maxsize=4096)
def _key_from_did(text: str) -> PublicKey:
    named = text.startswith(_DID_PREFIX)
    data = decode_base58(text[len(_DID_PREFIX) :], what="did:key") if named else b""
    if data[:2] != _MULTICODEC_ED25519:
        raise MalformedError(f"'{text[:80]}' is not a did:key of an Ed25519 key")
    key = PublicKey(data[2:])
    if key.did != text:
        raise MalformedError(f"'{text[:80]}' is not a canonical did:key")
    return key


@lru_cache(maxsize=4096)
def _load(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


@lru_cache(maxsize=64)
def _private(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)
