"""Every parser that meets foreign bytes, with valid documents to start from: one line each.

A parser takes bytes and may do anything with them but raise something that is not a `PnodeError`.
Where an encoding is canonical, what was accepted must also be what is written.
"""

# One line per parser reads better than one argument per line.
# ruff: noqa: E501
from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attribution.quantile import parse_confidence
from attribution.record import encode, parse_record
from attribution.table import CoalitionTable
from attribution.treetable import TreeTable
from compose.adapter import inspect_adapter
from compose.admission import CONFIG, WEIGHTS
from compose.delta import parse_weight
from compose.errors import UnfitAdapterError
from compose.faultproof import FaultProof
from compose.header import read_header
from compose.llama import LlamaShape
from compose.lock import Lock
from compose.outcomes import Outcome, encode_outcomes, parse_outcomes
from compose.recipe import parse_recipe
from compose.suite import open_suite
from compose.untrusted import parse_json_object
from ledger.car import read_car, write_car
from ledger.checkpoint import Checkpoint
from ledger.cid import DAG_PB, Cid
from ledger.cosignature import CosignatureVerifier
from ledger.dagpb import encode_node, parse_node
from ledger.dsse import Envelope
from ledger.encoding import (
    canonical_json,
    decode_base58,
    decode_base64,
    decode_hex,
    encode_base58,
    encode_base64,
    parse_canonical_json,
    parse_decimal,
    parse_json,
)
from ledger.entry import Entry
from ledger.errors import MalformedError, NotFoundError, PnodeError
from ledger.evidence import Evidence
from ledger.keys import PublicKey
from ledger.layout import Layouts
from ledger.note import ED25519_COSIGNATURE, Note, NoteKey, NoteVerifier
from ledger.outline import outline_of
from ledger.policy import Policy
from ledger.statement import Statement
from ledger.tile import Tile, encode_bundle, split_bundle, split_hashes
from ledger.tlogproof import TlogProof
from ledger.unixfs import Limits, read_directory, read_file, walk
from ledger.witness import AddCheckpoint, encode_answer, parse_answer, parse_conflict
from node.home import Home
from node.peering.loglist import encode_frontier, encode_logs, parse_logs, split_frontier
from node.peering.peers import list_peers
from node.peering.pushing import Standing
from node.peering.receiving import Received
from node.peering.source import parse_address
from node.peering.upload import encode_upload, parse_upload
from node.storage.ipfsaddress import parse_ipfs_address
from node.storage.settings import read_store_settings
from node.web.blockrequest import BlockRequest
from tests.attribution.test_record import RECORD
from tests.attribution.test_record import TABLE as COALITIONS
from tests.attribution.test_treetable import GOOD as TREES
from tests.compose.accusations import accusation
from tests.compose.test_lock import LOCK
from tests.fuzz import documents
from tests.fuzz.documents import ADAPTER_CONFIG, ADAPTER_HEADER, LOG, weights

Parse = Callable[[bytes], object]
WITNESS = NoteKey("w.example", ED25519_COSIGNATURE, documents.WITNESS.public)


@dataclass(frozen=True)
class Parser:
    """A parser under its name, and documents it accepts."""

    name: str
    parse: Parse
    documents: tuple[bytes, ...]

    @property
    def is_json(self) -> bool:
        """Whether its documents, or their lines, can be changed value by value."""
        return all(document[:1] == b"{" for document in self.documents)


def text(data: bytes) -> str:
    """Decode, as every caller has to before a parser of text sees anything."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("not UTF-8") from None


def exactly(parse: Callable[[bytes], Any], write: Callable[[Any], bytes] = bytes) -> Parse:
    """Require that what is accepted has one form: writing it again gives the same bytes."""

    def checked(data: bytes) -> object:
        value = parse(data)
        assert write(value) == data, "accepted in a form that is not written"
        return value

    return checked


def of_text(parse: Callable[[str], Any], write: Callable[[Any], str] | None = None) -> Parse:
    """The same for parsers of text."""
    if write is None:
        return lambda data: parse(text(data))
    return exactly(lambda data: parse(text(data)), lambda value: write(value).encode())


def on_disk(
    parse: Callable[[Path], Any],
    name: str,
    others: Mapping[str, bytes] | None = None,
    frame: Callable[[bytes], bytes] = bytes,
) -> Parse:
    """Put the bytes into a file of a folder, with other files beside it; the folder is parsed.

    `frame` puts what every such file has around them.
    """

    @cache
    def folder() -> Path:
        made = Path(tempfile.mkdtemp(prefix="pnode-fuzz-"))
        for other, content in (others or {}).items():
            (made / other).write_bytes(content)
        return made

    def parsed(data: bytes) -> object:
        (folder() / name).write_bytes(frame(data))
        return parse(folder())

    return parsed


def note(data: bytes) -> object:
    """Parse, and try to open with both kinds of key."""
    parsed = Note.parse(data)
    assert bytes(parsed) == data
    return parsed.open([NoteVerifier(LOG.key), CosignatureVerifier(WITNESS)])


def proof(data: bytes) -> object:
    """Parse a proof file and look for an entry under the key it may name."""
    parsed = TlogProof.parse(data)
    assert bytes(parsed) == data
    return parsed.verify(documents.LEAF, LOG.key)


def evidence(data: bytes) -> object:
    """Parse and verify an evidence file, as `pnode verify FILE` does."""
    parsed = Evidence.parse(data)
    assert bytes(parsed) == data
    parsed.verify()
    return parsed.implicated([WITNESS])


def fault(data: bytes) -> object:
    """Parse and verify a fault proof, as `pnode verify FILE` does."""
    parsed = FaultProof.parse(data)
    assert bytes(parsed) == data
    parsed.verify()
    return parsed


def layout(data: bytes) -> object:
    """The fast reader of statements must say what the slow one says."""
    try:
        slow: object = outline_of(Statement.parse(data))
    except PnodeError as error:
        slow = type(error)
    try:
        fast: object = learned().read(data)
    except PnodeError as error:
        fast = type(error)
    assert fast == slow, "the layout reader disagrees with the parser"
    if isinstance(fast, type):
        raise MalformedError("not a statement")
    return fast


@cache
def learned() -> Layouts:
    """A reader that has seen every kind of statement often enough to have a layout for it."""
    reader = Layouts()
    for document in documents.statements():
        for _ in range(5):
            reader.read(document)
    return reader


def dag(data: bytes) -> object:
    """Take a block as the root of a file, of a directory and of any DAG."""
    root = Cid.of(data, DAG_PB)

    def read(cid: Cid) -> bytes:
        block = data if cid == root else documents.BLOCKS.get(cid)
        if block is None:
            raise NotFoundError("this block is not here")
        return block

    attempts: list[Callable[[], object]] = [
        lambda: read_file(root, read, Limits(total_bytes=1 << 22)),
        lambda: read_directory(root, read, lambda _, parts: list(parts), Limits()),
        lambda: list(walk(root, read, Limits())),
    ]
    failures = []
    for attempt in attempts:
        try:
            attempt()
        except PnodeError as error:
            failures.append(error)
    if len(failures) == len(attempts):
        raise failures[0]
    return root


def car(data: bytes) -> object:
    """A CAR; its blocks are written and read again."""
    blocks = list(read_car(BytesIO(data)))
    assert list(read_car(BytesIO(b"".join(write_car(Cid.of(b""), blocks))))) == blocks
    return blocks


def logs(data: bytes) -> object:
    """A list of logs and the key of each."""
    return [listed.key() for listed in parse_logs(data)]


def frontier(data: bytes) -> object:
    """A frontier, and each checkpoint in it."""
    offered = split_frontier(data)
    return [Checkpoint.parse(Note.parse(each.note).text) for each in offered]


def adapter(folder: Path) -> object:
    """Everything that is looked at before an adapter is accepted; what is, can be used."""
    return inspect_adapter(folder, None).factors()


def config(parse: Callable[..., object]) -> Parse:
    """A configuration file of an adapter or a model."""
    return lambda data: parse(
        parse_json_object(data, what="config", error=UnfitAdapterError), what="config"
    )


def peers(folder: Path) -> object:
    """The peers of a home of which only the folder is there."""
    home: Any = SimpleNamespace(path=folder)
    return list_peers(home)


def store_settings(folder: Path) -> object:
    """Where a home of which only the folder is there keeps blocks."""
    return read_store_settings(Home(folder, folder, "", "", ""))


def gateway(data: bytes) -> object:
    """A request for blocks: a query, in the next line what is accepted, and then a path."""
    query, accept, path = [*text(data).split("\n", 2), "", ""][:3]
    pairs = (pair.partition("=") for pair in query.split("&"))
    asked = BlockRequest.parse({name: value for name, _, value in pairs}, accept, path)
    for header in (asked.etag("baf"), asked.location("baf"), asked.content_type):
        assert header.isascii()
        assert header.isprintable()
    return asked


def lines(*entries: bytes) -> bytes:
    """A bundle of entries."""
    return encode_bundle(entries)


_WHAT: dict[str, Any] = {"what": "it"}
_TOML, _ITEMS = ((documents.SUITE / name).read_bytes() for name in ("suite.toml", "items.jsonl"))
_CHOICES = documents.CHOICES.encode()
_PEERS = b'peers = [\n    "https://ledger.example",\n    "/media/usb/pnode",\n]\n'
_STORE = b'ipfs = "/ip4/127.0.0.1/tcp/5001"\ngateways = ["https://gateway.example"]\n'
_OUTCOMES = encode_outcomes(str(Cid.of(b"s")), [Outcome("i0", "a", correct=True, margin=5)])

PARSERS = (
    Parser("json", partial(parse_json, **_WHAT), (b'{"a":[1,"x",null]}',)),
    Parser("canonical-json", exactly(partial(parse_canonical_json, **_WHAT), canonical_json), (b'{"a":[1,"x",null]}',)),
    Parser("base64", of_text(partial(decode_base64, **_WHAT), encode_base64), (b"AAEC/+8=",)),
    Parser("base58", of_text(partial(decode_base58, **_WHAT), encode_base58), (b"z6MkehRgf7yJ",)),
    Parser("hex", of_text(partial(decode_hex, length=4, **_WHAT), bytes.hex), (b"00ff17ab",)),
    Parser("decimal", of_text(partial(parse_decimal, **_WHAT), str), (b"0", b"12345678901")),
    Parser("did", of_text(PublicKey.from_did, lambda key: key.did), (LOG.keys.author.public.did.encode(),)),
    Parser("cid", of_text(Cid.parse, str), (str(Cid.of(b"x")).encode(), str(Cid.of(b"x", DAG_PB)).encode())),
    Parser("cid-bytes", exactly(Cid.from_bytes), (bytes(Cid.of(b"x")),)),
    Parser("vkey", of_text(NoteKey.parse, str), (str(LOG.key).encode(), str(WITNESS).encode())),
    Parser("note", note, (documents.NOTE, documents.COSIGNED)),
    Parser("checkpoint", of_text(Checkpoint.parse, lambda point: point.text), (Note.parse(documents.NOTE).text.encode(),)),
    Parser("tile-path", of_text(Tile.parse, lambda tile: tile.path), (b"tile/0/x001/234.p/5", b"tile/entries/000")),
    Parser("bundle", exactly(lambda data: split_bundle(data, Tile(-1, 0, 3)), encode_bundle), (lines(b"", b"a", b"b" * 300),)),
    Parser("hash-tile", exactly(lambda data: split_hashes(data, Tile(0, 0, 2)), b"".join), (bytes(64),)),
    Parser("tlog-proof", proof, (bytes(documents.proof_of(LOG, 2)),)),
    Parser("evidence", evidence, tuple(documents.evidence_files())),
    Parser("fault-proof", fault, (bytes(accusation()),)),
    Parser("envelope", exactly(Envelope.parse), tuple(LOG.bodies[:2])),
    Parser("entry", exactly(Entry.parse, lambda entry: entry.body), tuple(LOG.bodies[:2])),
    Parser("statement", Statement.parse, tuple(documents.statements())),
    Parser("layout", layout, tuple(documents.statements())),
    Parser("dag-pb", exactly(parse_node, lambda node: encode_node(*node)), documents.TREES),
    Parser("unixfs", dag, documents.TREES),
    Parser("car", car, (b"".join(write_car(Cid.of(b"a"), [(Cid.of(data), data) for data in (b"a", b"b" * 200)])),)),
    Parser("log-list", logs, (encode_logs([LOG.key]),)),
    Parser("frontier", frontier, (encode_frontier([documents.COSIGNED]),)),
    Parser("gateway", gateway, (b"format=car&dag-scope=all&car-dups=y\napplication/vnd.ipld.raw;q=0.5, */*", b"\napplication/vnd.ipld.car;version=1;order=unk;dups=n\na/b")),
    Parser("address", of_text(parse_address), (b"https://ledger.example", b"/media/usb/pnode")),
    Parser("peers", on_disk(peers, "peers.toml"), (_PEERS,)),
    Parser("store-settings", on_disk(store_settings, "store.toml"), (_STORE,)),
    Parser("ipfs-address", of_text(parse_ipfs_address), (b"/ip6/::1/tcp/5001/https", b"http://127.0.0.1:5001")),
    Parser("adapter-config", on_disk(adapter, CONFIG, {WEIGHTS: weights(ADAPTER_HEADER)}), (ADAPTER_CONFIG,)),
    Parser("adapter-header", on_disk(adapter, WEIGHTS, {CONFIG: ADAPTER_CONFIG}, weights), (ADAPTER_HEADER,)),
    Parser("adapter-weights", on_disk(adapter, WEIGHTS, {CONFIG: ADAPTER_CONFIG}), (weights(ADAPTER_HEADER),)),
    Parser("base-config", config(LlamaShape.parse), ((documents.DATA / "base" / "config.json").read_bytes(),)),
    Parser("safetensors", on_disk(lambda folder: read_header(folder / "a.safetensors", what="a"), "a.safetensors"), documents.tensors()),
    Parser("recipe", lambda data: parse_recipe(data, what="recipe"), (documents.RECIPE,)),
    Parser("suite", on_disk(open_suite, "suite.toml", {"items.jsonl": _ITEMS}), (_TOML,)),
    Parser("suite-items", on_disk(open_suite, "items.jsonl", {"suite.toml": _TOML}), (_ITEMS,)),
    Parser("suite-choices", on_disk(open_suite, "items.jsonl", {"suite.toml": _CHOICES}), (documents.CHOICE_ITEM,)),
    Parser("lock", exactly(Lock.parse, lambda lock: lock.encode()), (LOCK.encode(),)),
    Parser("outcomes", parse_outcomes, (_OUTCOMES,)),
    Parser("tree-table", exactly(TreeTable.parse, lambda table: table.encode()), (TREES,)),
    Parser("coalition-table", exactly(CoalitionTable.parse, lambda table: table.encode()), (COALITIONS.encode(),)),
    Parser("attribution-record", exactly(parse_record, encode), (encode(RECORD),)),
    Parser("policy", Policy.parse, (documents.POLICY,)),
    Parser("add-checkpoint", exactly(AddCheckpoint.parse), (documents.ADD_CHECKPOINT,)),
    Parser("witness-answer", exactly(parse_answer, encode_answer), (documents.COSIGNED.splitlines(keepends=True)[-1],)),
    Parser("witness-conflict", parse_conflict, (b"17\n",)),
    Parser("push", exactly(parse_upload, lambda files: encode_upload(files.items())), (encode_upload([("/logs", b"x"), ("/frontier", b"")]),)),
    Parser("push-standing", Standing.parse, (bytes(Received(3, (Cid.of(b"x"),))).strip(),)),
    Parser("weight", of_text(partial(parse_weight, **_WHAT)), (b"0.25", b"-3")),
    Parser("confidence", of_text(parse_confidence), (b"0.95",)),
)  # fmt: skip
