"""OpenSSF Model Signing v1.0 (OMS): the manifest of a directory, and a signature over it.

A manifest is what OMS calls a predicate: `resources`, one `{name, digest, algorithm}` for each
file, sorted by the code points of their names, and `serialization`, which says how they were
hashed. Its root digest, the SHA-256 of all digests one after the other, names the directory.

Every contribution carries a manifest in its statement, under the author's Ed25519 key. OMS tools
take only keys on the curves P-256, P-384 and P-521, so a `bundle` is signed with such a key, which
belongs to whoever signs and has nothing to do with the keys of a node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.dsse import PAYLOAD_TYPE, pae
from ledger.encoding import canonical_json, encode_base64
from ledger.errors import MalformedError
from ledger.statement import STATEMENT_TYPE

PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"

_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


def manifest_of(files: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the manifest of files, given as relative path and hex SHA-256."""
    resources = [
        {"name": name, "digest": digest, "algorithm": "sha256"} for name, digest in sorted(files)
    ]
    how = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [],
    }
    return {"resources": resources, "serialization": how}


def root_digest(manifest: Mapping[str, Any]) -> str:
    """Return the hex SHA-256 of all digests of a manifest, in its order (OMS 6.5.1)."""
    digests = (bytes.fromhex(item["digest"]) for item in manifest["resources"])
    return hashlib.sha256(b"".join(digests)).hexdigest()


def read_signing_key(pem: bytes, passphrase: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """Return the private key in a PEM file.

    Raises:
        TypeError: if a passphrase is needed and missing, or given and not needed.
        MalformedError: if it is no such file, the passphrase is wrong, or OMS has no such key.
    """
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedError("not a private key in PEM, or not its passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise MalformedError("not a key on P-256, P-384 or P-521")
    return key


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public half as PEM, from whose hash a bundle names it."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def sign_manifest(
    name: str, manifest: Mapping[str, Any], key: ec.EllipticCurvePrivateKey
) -> dict[str, Any]:
    """Sign a manifest; returns a Sigstore bundle as JSON, the same for the same arguments.

    Args:
        name: of the directory, for information only.
        manifest: from `manifest_of`.
        key: from `read_signing_key`; its signature is deterministic (RFC 6979).
    """
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root_digest(manifest)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": dict(manifest),
    }
    payload = canonical_json(statement)
    algorithm = ec.ECDSA(_HASHES[key.curve.name], deterministic_signing=True)
    signature = key.sign(pae(PAYLOAD_TYPE, payload), algorithm)
    return {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": hashlib.sha256(public_pem(key)).hexdigest()},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": encode_base64(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": encode_base64(signature), "keyid": ""}],
        },
    }
