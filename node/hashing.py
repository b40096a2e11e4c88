"""Hashing on several cores: the chunks of a file for its CID, and the whole file beside them.

A statement names the SHA-256 of each file, and a CID those of its chunks, so every byte is hashed
twice. SHA-256 releases the interpreter, so threads do it at the same time; a few chunks are in
memory meanwhile, however large a file is.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import BinaryIO, Final, Self

from ledger.cid import Cid

MAX_WORKERS: Final = 4
MIN_BYTES: Final = 1 << 16
"""Less is hashed sooner than handed over."""
_AHEAD = 8


class Hashing:
    """Threads that hash. Use it as a context manager."""

    def __init__(self) -> None:
        workers = min(MAX_WORKERS, os.cpu_count() or 1)
        self._chunks = ThreadPoolExecutor(workers, "chunk-hash")
        # One thread alone takes the pieces of a file in their order.
        self._files = ThreadPoolExecutor(1, "file-hash")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._chunks.shutdown(cancel_futures=True)
        self._files.shutdown(cancel_futures=True)

    def leaves(self, chunks: Iterator[bytes]) -> Iterator[tuple[Cid, bytes]]:
        """Yield each chunk with its CID, in order."""
        ahead: deque[tuple[Future[Cid], bytes]] = deque()
        for chunk in chunks:
            if len(chunk) < MIN_BYTES and not ahead:
                yield Cid.of(chunk), chunk
                continue
            ahead.append((self._chunks.submit(Cid.of, chunk), chunk))
            if len(ahead) > _AHEAD:
                cid, first = ahead.popleft()
                yield cid.result(), first
        for cid, first in ahead:
            yield cid.result(), first

    def file(self, stream: BinaryIO) -> HashingStream:
        """Return a stream that hashes what is read through it."""
        return HashingStream(stream, self._files.submit)


class HashingStream:
    """Hashes what is read through it, in another thread, so that a file is read once."""

    def __init__(
        self, stream: BinaryIO, submit: Callable[[Callable[[bytes], None], bytes], Future[None]]
    ) -> None:
        self.size = 0
        self._stream = stream
        self._hash = hashlib.sha256()
        self._submit = submit
        self._ahead: deque[Future[None]] = deque()

    def read(self, size: int, /) -> bytes:
        """Read and have it hashed."""
        data = self._stream.read(size)
        self.size += len(data)
        if len(data) < MIN_BYTES and not self._ahead:
            self._hash.update(data)
            return data
        self._ahead.append(self._submit(self._hash.update, data))
        if len(self._ahead) > _AHEAD:
            self._ahead.popleft().result()
        return data

    @property
    def sha256(self) -> str:
        """The hex digest of everything read so far."""
        while self._ahead:
            self._ahead.popleft().result()
        return self._hash.hexdigest()
