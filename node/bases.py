"""Base models by name: pinned by digest, stored as blocks when small enough to travel.

`bases/<name>.json` holds the digest and CID of the pinned files and, for a base too large to
copy, the folder it stays in. The digest decides; the name is for people.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.cid import Cid
from ledger.database import storage_errors
from ledger.encoding import canonical_json, parse_canonical_json
from ledger.errors import (
    DigestError,
    MalformedError,
    NotFoundError,
    PnodeError,
    UsageError,
)
from node.artifacts import StoredArtifact, extract_again, store_files
from node.digestcache import DigestCache
from node.durable import make_folder, write_atomic
from node.home import Home
from node.hub import HubModel, Progress, fetch_snapshot

if TYPE_CHECKING:
    from compose.base import BaseModel, HashFile

MAX_STORED_BYTES = 256 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_MAX_RECORD_BYTES = 1 << 16
_HUB_WEIGHTS = ("model.safetensors", "model-?????-of-?????.safetensors")
"""What transformers loads; other weights in a repository are of another kind."""


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A registered base model.

    `folder` is empty if its files are in the block store, and `source` if they did not come from
    the hub; else it names the commit, as `hf:OWNER/NAME@COMMIT`.
    """

    name: str
    digest: str
    cid: str
    folder: str = ""
    source: str = ""


def add_base(
    home: Home, source: str, name: str | None, *, offline: bool, progress: Progress
) -> KnownBase:
    """Register a base model given by a directory or by `OWNER/NAME[@REVISION]` on the hub.

    Raises:
        PolicyError: if it is not a base model this pnode can run.
        UsageError: if the name is taken by another base.
    """
    from compose.base import open_base

    hash_file = DigestCache(home.cache)
    folder, origin = _locate(home, source, hash_file, offline=offline, progress=progress)
    name = name or _default_name(source)
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot name a base", hint="give --name in lower case")
    base = open_base(folder, name=name, hash_file=hash_file)
    taken = {known.name: known for known in bases(home)}.get(name)
    if taken is not None and taken.digest != base.digest:
        raise UsageError(
            f"the name '{name}' is taken by {taken.digest}", hint="give another --name"
        )
    small = sum(file.bytes for file in base.files) <= MAX_STORED_BYTES
    paths = [file.path for file in base.files]
    stored = store_files(folder, paths, home.store if small else None)
    _require_same(base, stored)
    kept = "" if small else str(folder.resolve())
    known = KnownBase(name, base.digest, str(stored.cid), kept, origin)
    _remember(home, known)
    return known


def bases(home: Home) -> list[KnownBase]:
    """Return the registered bases, by name."""
    return [_read(path) for path in sorted((home.path / "bases").glob("*.json"))]


def find_base(home: Home, text: str) -> KnownBase:
    """Return the base of a name, a digest or a digest prefix of 12 characters.

    Raises:
        NotFoundError: if none or several fit.
    """
    found = [
        known
        for known in bases(home)
        if text == known.name or (len(text) >= 12 and known.digest.startswith(text))
    ]
    if len(found) != 1:
        raise NotFoundError(f"no base '{text}' here", hint="add it: pnode base add DIR --name NAME")
    return found[0]


def open_known(home: Home, known: KnownBase, hash_file: HashFile | None = None) -> BaseModel:
    """Open a registered base; `hash_file` may remember digests, by default every byte is hashed.

    Raises:
        NotFoundError: if the folder it stays in is gone.
        DigestError: if its files changed since they were pinned.
        IncompleteError: if blocks of it are missing.
    """
    if known.folder and not Path(known.folder).is_dir():
        raise NotFoundError(
            f"base '{known.name}': {known.folder} is gone",
            hint=f"add it again: pnode base add {known.source or 'DIR'} --name {known.name}",
        )
    if known.folder:
        return _open_pinned(Path(known.folder), known, hash_file)
    return open_stored(home, known, home.cache / "artifacts", hash_file)


def open_stored(
    home: Home, known: KnownBase, folder: Path, hash_file: HashFile | None = None
) -> BaseModel:
    """Open a base from its blocks, extracted into a folder unless they lie there already.

    Raises:
        DigestError: if the blocks do not have the digest that pins the base.
        IncompleteError: if blocks of it are missing.
    """
    target = folder / known.cid
    try:
        return _open_pinned(target, known, hash_file)
    except PnodeError:  # not extracted yet, or spoilt
        extract_again(Cid.parse(known.cid), home.store, target)
    return _open_pinned(target, known, hash_file)


def _open_pinned(folder: Path, known: KnownBase, hash_file: HashFile | None) -> BaseModel:
    from compose.base import open_base, read_and_hash

    base = open_base(folder, name=known.name, hash_file=hash_file or read_and_hash)
    if base.digest != known.digest:
        raise DigestError(f"base '{known.name}': {folder} does not have the digest that pins it")
    return base


def _require_same(base: BaseModel, stored: StoredArtifact) -> None:
    inspected = {(file.path, file.sha256) for file in base.files}
    if inspected != {(file.path, file.sha256) for file in stored.files}:
        raise DigestError(f"{base.directory}: files changed while they were read")


def _remember(home: Home, known: KnownBase) -> None:
    make_folder(home.path / "bases")
    write_atomic(home.path / "bases" / f"{known.name}.json", canonical_json(asdict(known)))


def _read(path: Path) -> KnownBase:
    with storage_errors(path), path.open("rb") as stream:
        data = stream.read(_MAX_RECORD_BYTES + 1)
    value = parse_canonical_json(data, what=str(path), max_bytes=_MAX_RECORD_BYTES)
    try:
        return KnownBase(**value)
    except TypeError:
        raise MalformedError(f"{path}: not a base record", hint="add the base again") from None


def _locate(
    home: Home, source: str, hash_file: HashFile, *, offline: bool, progress: Progress
) -> tuple[Path, str]:
    """Return the folder of a base, and where on the hub it comes from, if anywhere."""
    from compose.base import MAX_INDEX_BYTES, MAX_PINNED_BYTES, PINNED_NAMES, TOKENIZER
    from compose.tokens import MAX_FILE_BYTES

    folder = Path(source)
    if folder.is_dir():
        return folder, ""
    model = HubModel.find(source)
    if model is None:
        raise NotFoundError(f"{source}: no such directory and not a hub id OWNER/NAME[@REVISION]")
    accepted = dict.fromkeys(PINNED_NAMES, MAX_INDEX_BYTES) | {TOKENIZER: MAX_FILE_BYTES}
    accepted |= dict.fromkeys(_HUB_WEIGHTS, MAX_PINNED_BYTES)
    snapshot = fetch_snapshot(
        model,
        accepted,
        home.cache / "hub" / "bases",
        offline=offline,
        progress=progress,
        hash_file=hash_file,
    )
    return snapshot.folder, str(snapshot)


def _default_name(source: str) -> str:
    return Path(source.partition("@")[0].rstrip("/")).name.lower()
