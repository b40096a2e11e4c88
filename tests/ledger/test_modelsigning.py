"""OMS manifests and bundles; `tests/interop/test_oms_tool.py` asks the reference tool."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ledger.errors import MalformedError
from ledger.modelsigning import (
    manifest_of,
    public_pem,
    read_signing_key,
    root_digest,
    sign_manifest,
)

FILES = [("b/z", "22" * 32), ("a", "11" * 32), ("b-c", "33" * 32)]
MANIFEST = manifest_of(FILES)
CURVES = {
    ec.SECP256R1: hashes.SHA256(),
    ec.SECP384R1: hashes.SHA384(),
    ec.SECP521R1: hashes.SHA512(),
}


def pem(key: object, passphrase: bytes | None = None) -> bytes:
    sealed = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    return key.private_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed
    )


KEY = ec.derive_private_key(20260101, ec.SECP256R1())


def test_resources_are_sorted_by_code_point_and_their_digests_make_the_root() -> None:
    assert [item["name"] for item in MANIFEST["resources"]] == ["a", "b-c", "b/z"]
    digests = bytes.fromhex("11" * 32 + "33" * 32 + "22" * 32)
    assert root_digest(MANIFEST) == hashlib.sha256(digests).hexdigest()


@pytest.mark.parametrize("curve", CURVES)
def test_a_bundle_holds_the_manifest_under_the_key(curve: type[ec.EllipticCurve]) -> None:
    key = ec.derive_private_key(7, curve())
    bundle = sign_manifest("directory", MANIFEST, key)
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    statement = json.loads(payload)
    assert statement["predicate"] == MANIFEST
    assert statement["subject"] == [
        {"name": "directory", "digest": {"sha256": root_digest(MANIFEST)}}
    ]
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    key.public_key().verify(signature, signed, ec.ECDSA(CURVES[curve]))
    with pytest.raises(InvalidSignature):
        key.public_key().verify(signature, signed + b" ", ec.ECDSA(CURVES[curve]))
    hint = bundle["verificationMaterial"]["publicKey"]["hint"]
    assert hint == hashlib.sha256(public_pem(key)).hexdigest()


def test_the_same_arguments_give_the_same_bundle() -> None:
    assert sign_manifest("d", MANIFEST, KEY) == sign_manifest("d", MANIFEST, KEY)


def test_a_key_is_read_with_and_without_a_passphrase() -> None:
    numbers = KEY.private_numbers()
    assert read_signing_key(pem(KEY)).private_numbers() == numbers
    assert read_signing_key(pem(KEY, b"secret"), b"secret").private_numbers() == numbers
    with pytest.raises(TypeError):
        read_signing_key(pem(KEY, b"secret"))
    with pytest.raises(MalformedError):
        read_signing_key(pem(KEY, b"secret"), b"wrong")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        public_pem(KEY),
        pem(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))),
        pem(ec.derive_private_key(7, ec.SECP256K1())),
        pem(rsa.generate_private_key(65537, 2048)),
    ],
    ids=["empty", "cut", "public", "ed25519", "secp256k1", "rsa"],
)
def test_a_key_that_the_format_does_not_have_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        read_signing_key(data)
