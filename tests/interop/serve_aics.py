"""Runs in the environment of the partners: the witness of aics-witness behind its own HTTP server.

`serve_aics.py DATABASE NAME SEED ORIGIN VKEY` prints the verifier key and the URL as one line of
JSON, and serves until standard input ends.
"""

from __future__ import annotations

import json
import sys
import threading

from aics_witness.config import LogConfig
from aics_witness.service import Witness, make_server
from aics_witness.store import WitnessStore
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def main(database: str, name: str, seed: str, origin: str, vkey: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    with WitnessStore(database, create=True) as store:
        witness = Witness(name, key, store, [LogConfig.from_strings(origin, [vkey])])
        server = make_server(witness)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        print(json.dumps({"vkey": witness.vkey_text, "url": server.url}), flush=True)
        sys.stdin.read()
        server.shutdown()
        thread.join()
        server.server_close()


main(*sys.argv[1:])
