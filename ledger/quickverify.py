"""A second library for many signatures: libsodium through PyNaCl, where that is installed.

It verifies about 1.6 times as fast as OpenSSL. The rule of `ledger.keys` stays one: the form of a
signature is checked first, what libsodium accepts counts, and what it refuses is asked of OpenSSL.
The two can then differ only in signatures that satisfy the equation multiplied by the cofactor and
not the equation itself (RFC 8032 section 5.1.7 leaves that open). OpenSSL refuses them, and a
libsodium that does not is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

QuickVerifier = Callable[[bytes, bytes, bytes], bool]
"""Says whether (key, signature, message) is surely right; False leaves it open."""

# A key with a part of order 8, and a signature of which only eight times the equation holds.
COFACTORED = (
    bytes.fromhex("69ca88c55c1f7f203e7833733dd16b8d158f115a50a06940edf18257ec11cd52"),
    bytes.fromhex(
        "ef4f62f8479733ad879cfaced3c89a9c39dd4fc795ef2efa1c3eafe4d729a081"
        "0bdc1f96ea5612a23eb094faa621122bcddc40f5c77630966549ed8e5bd3a408"
    ),
    b"cofactor 12",
)


@cache
def quick_verifier() -> QuickVerifier | None:
    """Return what verifies by libsodium, None where that is not installed or is too lenient."""
    try:
        from nacl.bindings import crypto_sign_open
        from nacl.exceptions import BadSignatureError
    except ImportError:
        return None

    def verify(key: bytes, signature: bytes, message: bytes) -> bool:
        try:
            crypto_sign_open(signature + message, key)
        except BadSignatureError:
            return False
        return True

    return None if verify(*COFACTORED) else verify
