"""Runs in the environment of the partners: roots and proofs of pymerkle, over entries in JSON."""

from __future__ import annotations

import json
import sys
import warnings

from pymerkle import InmemoryTree

warnings.simplefilter("ignore", DeprecationWarning)
entries, sizes = json.load(sys.stdin)
tree = InmemoryTree(algorithm="sha256")
for entry in entries:
    tree.append_entry(bytes.fromhex(entry))
json.dump([tree.get_state(size).hex() for size in sizes], sys.stdout)
