"""DSSE envelopes: a payload, its type and one signature (DSSE v1.0.2).

The signature covers PAE(type, payload) = `DSSEv1 <len(type)> <type> <len(payload)> <payload>` with
byte lengths in decimal, so no parsing happens before it is checked. Any DSSE verifier accepts what
is written here. Stricter than DSSE: canonical JSON, exactly one signature, `keyid` present and
equal to the author's did:key (it stays a hint; the statement inside must name the same author).
"""

from __future__ import annotations

import binascii
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ledger.encoding import canonical_json, decode_base64, encode_base64, parse_canonical_json
from ledger.errors import MalformedError
from ledger.keys import SIGNATURE_SIZE, PrivateKey, PublicKey
from ledger.merkle import MAX_ENTRY_BYTES

if TYPE_CHECKING:
    from ledger.quickverify import QuickVerifier

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"

# Around payload, keyid and signature an accepted envelope has always the same bytes, and the two
# texts after the payload always the same length: it can be cut apart without parsing JSON.
_HEAD = b'{"payload":"'
_MIDDLE = b'","payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":"'
_SIG = b'","sig":"'
_END = b'"}]}'
_KEYID_LENGTH = len("did:key:z") + 47
_SIG_LENGTH = 88
_SIG_AT = -(_SIG_LENGTH + len(_END))
_MIDDLE_AT = _SIG_AT - len(_MIDDLE) - _KEYID_LENGTH - len(_SIG)
_SHORTEST = len(_HEAD) - _MIDDLE_AT
_PAE_HEAD = b"DSSEv1 %d %b " % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode("ascii"))


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the DSSE pre-authentication encoding."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


class Envelope(NamedTuple):
    """A parsed envelope; `payload` is unverified until `verify` returned."""

    payload: bytes
    key: PublicKey
    signature: bytes

    def __bytes__(self) -> bytes:
        document = {
            "payload": encode_base64(self.payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": self.key.did, "sig": encode_base64(self.signature)}],
        }
        return canonical_json(document)

    @classmethod
    def sign(cls, payload: bytes, key: PrivateKey) -> Envelope:
        """Sign a payload as its author."""
        return cls(payload, key.public, key.sign(pae(PAYLOAD_TYPE, payload)))

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """Parse the exact bytes of an entry.

        Raises:
            MalformedError: if they are not an envelope in the one accepted form.
        """
        return cls._cut(data) or cls._parse(data)

    @classmethod
    def _cut(cls, data: bytes) -> Envelope | None:
        """Cut a well-formed envelope into its parts; None if it needs a closer look."""
        if (
            not _SHORTEST <= len(data) <= MAX_ENTRY_BYTES
            or data[: len(_HEAD)] != _HEAD
            or data[-len(_END) :] != _END
        ):
            return None
        key = _signer(data[_MIDDLE_AT:_SIG_AT])
        payload = _plain_base64(data[len(_HEAD) : _MIDDLE_AT])
        signature = _plain_base64(data[_SIG_AT : -len(_END)])
        if key is None or payload is None or signature is None or len(signature) != SIGNATURE_SIZE:
            return None
        return cls(payload, key, signature)

    @classmethod
    def _parse(cls, data: bytes) -> Envelope:
        value = parse_canonical_json(data, what="envelope", max_bytes=MAX_ENTRY_BYTES)
        _require_keys(value, {"payload", "payloadType", "signatures"})
        signatures = value["signatures"]
        if not isinstance(signatures, list) or len(signatures) != 1:
            raise MalformedError("envelope: exactly one signature is accepted")
        _require_keys(signatures[0], {"keyid", "sig"})
        if value["payloadType"] != PAYLOAD_TYPE:
            raise MalformedError(f"envelope: the payload type is not {PAYLOAD_TYPE}")
        return cls(
            decode_base64(_text(value["payload"]), what="payload of envelope"),
            PublicKey.from_did(signatures[0]["keyid"]),
            decode_base64(
                _text(signatures[0]["sig"]), what="signature of envelope", length=SIGNATURE_SIZE
            ),
        )

    def verify(self, quick: QuickVerifier | None = None) -> None:
        """Require that the key named by the envelope signed the payload.

        Args:
            quick: as `PublicKey.verify` takes it.

        Raises:
            SignatureError: if it did not.
        """
        message = b"%b%d %b" % (_PAE_HEAD, len(self.payload), self.payload)
        self.key.verify(self.signature, message, quick=quick)


@lru_cache(maxsize=4096)
def _signer(between: bytes) -> PublicKey | None:
    """Return the key named between payload and signature, None if that needs a closer look."""
    if between[: len(_MIDDLE)] != _MIDDLE or between[-len(_SIG) :] != _SIG:
        return None
    try:
        return PublicKey.from_did(between[len(_MIDDLE) : -len(_SIG)].decode("ascii"))
    except (MalformedError, UnicodeDecodeError):
        return None


def _plain_base64(text: bytes) -> bytes | None:
    """Decode base64 whose re-encoding is `text`, and nothing else."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None
    # Strict mode leaves two freedoms: padding after a complete group, and bits that nothing reads.
    rest = len(data) % 3
    if len(text) != (len(data) + 2) // 3 * 4 or (
        rest and binascii.b2a_base64(data[-rest:], newline=False) != text[-4:]
    ):
        return None
    return data


def _require_keys(value: Any, keys: set[str]) -> None:
    if not isinstance(value, dict) or set(value) != keys:
        raise MalformedError(f"envelope: needs exactly the fields {', '.join(sorted(keys))}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise MalformedError("envelope: a field is not text")
    return value
