"""Key files: a 32-byte seed as text, plain or protected by a passphrase.

A plain file is 64 hexadecimal digits and a line feed. A protected one is four lines:

    pnode-seed v1
    scrypt n=131072 r=8 p=1 salt=<base64 of 16 bytes>
    chacha20poly1305 nonce=<base64 of 12 bytes>
    <base64 of 48 bytes: the encrypted seed and its tag>

The key of the cipher is scrypt(passphrase, salt, n, r, p), 32 bytes (RFC 7914); the cipher is
ChaCha20-Poly1305 (RFC 8439) with the first three lines, line feeds included, as associated data,
so that nothing of the file can be exchanged. A passphrase is the UTF-8 of its NFC form.

A file may come from anywhere, so what it asks for is bounded before anything is computed: r and p
are fixed and n is a power of two up to 2^18, which is 256 MiB.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ledger.encoding import decode_base64, decode_hex, encode_base64
from ledger.errors import IdentityError, MalformedError, UsageError
from ledger.keys import SEED_SIZE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

COST: Final = 1 << 17
MAX_BYTES: Final = 1_024

_HEADER: Final = "pnode-seed v1"
_MIN_COST: Final = 1 << 4
_MAX_COST: Final = 1 << 18
_SALT_SIZE: Final = 16
_NONCE_SIZE: Final = 12
_SEALED_SIZE: Final = SEED_SIZE + 16
_BLOCK: Final = 8
_MAX_PASSPHRASE: Final = 1_024

_FILE = re.compile(
    r"pnode-seed v1\n"
    r"scrypt n=([1-9][0-9]{0,6}) r=8 p=1 salt=([A-Za-z0-9+/]{22}==)\n"
    r"chacha20poly1305 nonce=([A-Za-z0-9+/]{16})\n"
    r"([A-Za-z0-9+/]{64})\n",
    re.ASCII,
)

Unlock = Callable[[], bytes]
"""Returns the passphrase, or raises IdentityError if nobody gives one."""


@dataclass(frozen=True, slots=True)
class SealedSeed:
    """A seed that only its passphrase opens, as parsed from a file."""

    cost: int
    salt: bytes
    nonce: bytes
    sealed: bytes

    def __post_init__(self) -> None:
        if not _MIN_COST <= self.cost <= _MAX_COST or self.cost & (self.cost - 1):
            raise MalformedError(
                f"key file: scrypt n={self.cost} is not a power of two up to {_MAX_COST}"
            )

    @classmethod
    def parse(cls, data: bytes) -> SealedSeed:
        """Parse the bytes of a protected file.

        Raises:
            MalformedError: if they are not in the one accepted form or ask for too much.
        """
        match = _FILE.fullmatch(data[: MAX_BYTES + 1].decode("ascii", "replace"))
        if match is None:
            raise MalformedError(f"key file: not in the form of '{_HEADER}'")
        cost, salt, nonce, sealed = match.groups()
        return cls(
            int(cost),
            decode_base64(salt, what="salt of key file", length=_SALT_SIZE),
            decode_base64(nonce, what="nonce of key file", length=_NONCE_SIZE),
            decode_base64(sealed, what="seed of key file", length=_SEALED_SIZE),
        )

    @classmethod
    def seal(cls, seed: bytes, passphrase: bytes, *, cost: int = COST) -> SealedSeed:
        """Protect a seed by a passphrase."""
        empty = cls(cost, secrets.token_bytes(_SALT_SIZE), secrets.token_bytes(_NONCE_SIZE), b"")
        return cls(cost, empty.salt, empty.nonce, empty._seal(seed, passphrase))

    def open(self, passphrase: bytes) -> bytes:
        """Return the seed.

        Raises:
            IdentityError: if the passphrase is another one, or the file was changed.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher(passphrase).decrypt(self.nonce, self.sealed, self._header())
        except InvalidTag:
            raise IdentityError(
                "the passphrase does not open the key file",
                hint="try again; a forgotten one is met by 'pnode key recover'",
            ) from None

    def __bytes__(self) -> bytes:
        return self._header() + f"{encode_base64(self.sealed)}\n".encode("ascii")

    def _header(self) -> bytes:
        return (
            f"{_HEADER}\n"
            f"scrypt n={self.cost} r={_BLOCK} p=1 salt={encode_base64(self.salt)}\n"
            f"chacha20poly1305 nonce={encode_base64(self.nonce)}\n"
        ).encode("ascii")

    def _seal(self, seed: bytes, passphrase: bytes) -> bytes:
        return self._cipher(passphrase).encrypt(self.nonce, seed, self._header())

    def _cipher(self, passphrase: bytes) -> ChaCha20Poly1305:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

        scrypt = Scrypt(salt=self.salt, length=32, n=self.cost, r=_BLOCK, p=1)
        return ChaCha20Poly1305(scrypt.derive(passphrase))


def is_sealed(data: bytes) -> bool:
    """Say whether the bytes of a key file claim to be protected."""
    return data.startswith(_HEADER.encode("ascii"))


def encode_seed(seed: bytes, passphrase: bytes | None, *, cost: int = COST) -> bytes:
    """Return the bytes of a key file, plain without a passphrase."""
    if passphrase is None:
        return seed.hex().encode("ascii") + b"\n"
    return bytes(SealedSeed.seal(seed, passphrase, cost=cost))


def decode_seed(data: bytes, unlock: Unlock, *, what: str) -> bytes:
    """Return the seed that a key file holds, asking for its passphrase only if it has one.

    Raises:
        MalformedError: naming the file, if it is in neither form.
        IdentityError: if there is no passphrase, or it is another one.
    """
    if not is_sealed(data):
        return decode_hex(data.decode("ascii", "replace").strip(), what=what, length=SEED_SIZE)
    try:
        sealed = SealedSeed.parse(data)
    except MalformedError as error:
        raise MalformedError(f"{what}: {error.message}") from None
    return sealed.open(unlock())


def normalised(text: str) -> bytes:
    """Return a passphrase in the one form that is hashed.

    Raises:
        UsageError: if it is empty or absurdly long.
    """
    passphrase = unicodedata.normalize("NFC", text).encode("utf-8", "surrogateescape")
    if not 0 < len(passphrase) <= _MAX_PASSPHRASE:
        raise UsageError(
            f"a passphrase has 1 to {_MAX_PASSPHRASE} bytes", hint="choose several random words"
        )
    return passphrase
