"""What model_signing says: roots of directories, and whether signatures of directories hold.

Asked as {"roots": [directory], "verify": [[directory, signature, public key]]}; a root is that of
the tool's own payload, a verdict is null or what is wrong.
"""

from __future__ import annotations

import json
import sys

from model_signing import hashing, verifying
from model_signing._signing.signing import Payload


def root(directory: str) -> str:
    statement = Payload(hashing.hash(directory)).statement
    return statement.pb.subject[0].digest["sha256"]


def verdict(directory: str, signature: str, public: str) -> str | None:
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=public)
        config.verify(directory, signature)
    except Exception as error:  # noqa: BLE001 - whatever it raises is the answer
        return f"{type(error).__name__}: {error}"
    return None


asked = json.load(sys.stdin)
answer = {
    "roots": [root(directory) for directory in asked["roots"]],
    "verify": [verdict(*case) for case in asked["verify"]],
}
print(json.dumps(answer))
