"""The body of `POST /push`: part of a static tree, as one sequence of files.

    pnode-push/v1 <line feed>
    u16 length of path, path, u32 length of content, content      repeated

Paths are those of the tree (docs/spec/http.md); each occurs once. Integers are big-endian. An
upload is a source like any other: the receiver runs on it the code that pulls from a peer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ledger.errors import MalformedError, NotFoundError
from node.peering.source import Answer

MAX_PUSH_BYTES: Final = 32 << 20
PUSH_PATH: Final = "/push"
MAGIC: Final = b"pnode-push/v1\n"
RECORD_OVERHEAD: Final = 6
MAX_PATH: Final = 200
MAX_FILES: Final = 16_384


def encode_upload(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return files as one body."""
    parts = [MAGIC]
    for path, content in files:
        name = path.encode("ascii")
        parts += [len(name).to_bytes(2, "big"), name, len(content).to_bytes(4, "big"), content]
    return b"".join(parts)


def parse_upload(data: bytes) -> dict[str, bytes]:
    """Parse a body into its files.

    Raises:
        MalformedError: if it is not in the one accepted form, or has too many files.
    """
    if not data.startswith(MAGIC):
        raise MalformedError("push: not a push of this version")
    files: dict[str, bytes] = {}
    position = len(MAGIC)
    while position < len(data):
        name, position = _part(data, position, 2)
        content, position = _part(data, position, 4)
        if not name.startswith(b"/") or len(name) > MAX_PATH or not name.isascii():
            raise MalformedError("push: a path that no tree has")
        path = name.decode("ascii")
        if path in files:
            raise MalformedError(f"push: {path} is there twice")
        if len(files) == MAX_FILES:
            raise MalformedError(f"push: more than {MAX_FILES} files")
        files[path] = content
    return files


class UploadSource:
    """An upload, readable like a peer's tree."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.address = "the push"
        self.files = files

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return a file of the upload."""
        data = self.files.get(path)
        if data is None:
            raise NotFoundError(f"the push has no {path}")
        if len(data) > max_bytes:
            raise MalformedError(f"{path}: more than the {max_bytes} bytes it may have")
        return data

    def poll(self, path: str, *, max_bytes: int, since: str = "") -> Answer:
        """Return a file of the upload; an upload never changes."""
        del since
        return Answer(self.read(path, max_bytes=max_bytes))


def _part(data: bytes, position: int, width: int) -> tuple[bytes, int]:
    start = position + width
    end = start + int.from_bytes(data[position:start], "big")
    if start > len(data) or end > len(data):
        raise MalformedError("push: cut off")
    return data[start:end], end
