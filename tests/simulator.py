"""Peers and logs in memory, honest or not: what a hostile network can do, without a network.

A `SimulatedLog` signs whatever it is told to with keys of its own. A `SimulatedPeer` is a source
over a dictionary of paths; attacks are edits of that dictionary, or hooks that run before a read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from io import BytesIO

from ledger.checkpoint import Checkpoint, log_key, log_origin, sign_checkpoint
from ledger.cid import Cid
from ledger.entry import Entry
from ledger.errors import MalformedError, NotFoundError
from ledger.keys import NodeKeys, PublicKey, commitment
from ledger.merkle import leaf_hash, perfect_root, root_of
from ledger.note import ED25519_COSIGNATURE, NoteKey
from ledger.statement import Statement, Subject
from ledger.tile import TILE_WIDTH, Tile, encode_bundle, tiles_of
from ledger.unixfs import build_directory
from node.home import Home
from node.peering.loglist import encode_frontier, encode_logs
from node.peering.source import Answer
from node.peering.tree import log_folder, paths, resolve

SUBJECT = (Subject("x", "00" * 32),)


def note_entry(keys: NodeKeys, text: str, **fields: object) -> Entry:
    """Return a signed entry of a kind no version knows, with any fields."""
    predicate = {"author": keys.author.public.did, "text": text, **fields}
    return Entry.sign(Statement("note", SUBJECT, predicate), keys.author)


def genesis_entry(keys: NodeKeys, origin: str, key: PublicKey) -> Entry:
    """Return a genesis that binds an origin and a log key to the author."""
    cosigner = NoteKey("pnode.example/cosigner", ED25519_COSIGNATURE, keys.cosigner.public)
    predicate = {
        "author": keys.author.public.did,
        "origin": origin,
        "log_key": str(log_key(log_origin(key), key)),
        "cosigner_key": str(cosigner),
        "recovery": commitment(keys.cosigner.public),
        "name": "sim",
    }
    return Entry.sign(Statement("genesis", SUBJECT, predicate), keys.author)


class SimulatedLog:
    """A log whose signer does anything, also what no honest node would."""

    def __init__(self, number: int, bodies: Sequence[bytes] | None = None) -> None:
        self.keys = NodeKeys.from_seed(bytes([number]) * 32)
        public = self.keys.log.public
        self.origin = log_origin(public)
        self.key = log_key(self.origin, public)
        self.folder = f"/{log_folder(self.origin)}"
        genesis = genesis_entry(self.keys, self.origin, public).body
        self.bodies = [genesis] if bodies is None else list(bodies)

    def add(self, text: str, **fields: object) -> None:
        """Append a valid entry."""
        self.bodies.append(note_entry(self.keys, text, **fields).body)

    def grow(self, size: int, prefix: str = "n") -> SimulatedLog:
        """Append valid entries up to a size and return the log."""
        while len(self.bodies) < size:
            self.add(f"{prefix}{len(self.bodies)}")
        return self

    def note(self) -> bytes:
        """Return the signed checkpoint of everything."""
        root = root_of(map(leaf_hash, self.bodies))
        point = Checkpoint(self.origin, len(self.bodies), root)
        return bytes(sign_checkpoint(point, self.keys.log))

    def files(self) -> dict[str, bytes]:
        """Return the log's part of a tree, made without the code under test."""
        files = {f"{self.folder}/checkpoint": self.note()}
        levels: list[list[bytes]] = [[leaf_hash(body) for body in self.bodies]]
        for tile in tiles_of(len(self.bodies)):
            if tile.level == len(levels):
                below = levels[-1]
                ends = range(TILE_WIDTH, len(below) + 1, TILE_WIDTH)
                levels.append([perfect_root(below[end - TILE_WIDTH : end]) for end in ends])
            start = tile.index * TILE_WIDTH
            hashes = levels[tile.level][start : start + tile.width]
            files[f"{self.folder}/{tile.path}"] = b"".join(hashes)
            if tile.level == 0:
                bundle = Tile(-1, tile.index, tile.width)
                content = encode_bundle(self.bodies[start : start + tile.width])
                files[f"{self.folder}/{bundle.path}"] = content
        return files


class SimulatedPeer:
    """A source in memory."""

    def __init__(self, *logs: SimulatedLog) -> None:
        self.address = "simulated"
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.before_read: Callable[[str], None] = lambda path: None
        self.now = 0.0
        self.list(*logs)

    @classmethod
    def of(cls, home: Home) -> SimulatedPeer:
        """Return an honest copy of what a home publishes."""
        peer = cls()
        with home.reading() as database:
            for path in paths(database, home.store):
                peer.files[path] = resolve(database, home.store, path).body
        return peer

    def list(self, *logs: SimulatedLog) -> None:
        """Offer exactly these logs."""
        ordered = sorted(logs, key=lambda log: log.origin)
        for log in ordered:
            self.files.update(log.files())
        self.files["/logs"] = encode_logs(log.key for log in ordered)
        self.files["/frontier"] = encode_frontier(log.note() for log in ordered)

    def put_artifact(self, files: dict[str, bytes]) -> Cid:
        """Offer the blocks of a directory and return its root."""

        def sink(cid: Cid, block: bytes) -> None:
            self.files[f"/ipfs/{cid}"] = block

        streams = {name: BytesIO(content) for name, content in files.items()}
        return build_directory(streams, sink).cid

    def clock(self) -> float:
        """Return the simulated time; a hook may move it."""
        return self.now

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Answer as a source does."""
        self.requests.append(path)
        self.before_read(path)
        if path not in self.files:
            raise NotFoundError(f"simulated peer has no {path}")
        if len(self.files[path]) > max_bytes:
            raise MalformedError(f"simulated peer: {path} is too large")
        return self.files[path]

    def poll(self, path: str, *, max_bytes: int, since: str = "") -> Answer:
        """Answer as a static server does: all of it, unless nothing changed."""
        body = self.read(path, max_bytes=max_bytes)
        tag = hashlib.sha256(body).hexdigest()
        return Answer(None if tag == since else body, tag)
