"""Text to token ids and back, from a base model's `tokenizer.json` and nothing else.

A thin layer over the `tokenizers` library: no transformers, no configuration beside the file, no
code. A prompt gets the special tokens that the file's post-processor adds; a continuation gets
none. Truncation and padding that the file may ask for are switched off: a prompt that is too long
is an error, never cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from compose.base import TOKENIZER, BaseModel
from compose.errors import MissingExtraError, UnfitBaseError, UnfitSuiteError
from compose.untrusted import read_regular
from ledger.errors import DigestError

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_TEXT_CHARACTERS = 1024 * 1024
MAX_TOKENS = 2**20

Ids = tuple[int, ...]


class Tokens:
    """The tokenizer of one base model."""

    __slots__ = ("_limit", "_tokenizer")

    def __init__(self, text: bytes, *, vocab_size: int, what: str = TOKENIZER) -> None:
        """Parse the bytes of a `tokenizer.json`.

        Args:
            text: the file as published.
            vocab_size: ids the base model has embeddings for; no other may come out.
            what: named in errors.

        Raises:
            UnfitBaseError: if the bytes are too many or no tokenizer.
            MissingExtraError: on an install without the `tokenizers` library.
        """
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise MissingExtraError("the tokenizers library is not installed") from None
        if len(text) > MAX_FILE_BYTES:
            raise UnfitBaseError(f"{what}: {len(text)} bytes, at most {MAX_FILE_BYTES}")
        try:
            tokenizer: Any = Tokenizer.from_buffer(text)
        # The library raises bare Exception and ValueError, and panics in Rust derive from neither.
        except BaseException as cause:
            if isinstance(cause, KeyboardInterrupt | SystemExit | MemoryError):
                raise
            raise UnfitBaseError(f"{what}: not a tokenizer ({str(cause)[:200]})") from None
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._limit = vocab_size

    @classmethod
    def open(cls, base: BaseModel) -> Tokens:
        """Read the tokenizer that a base model pins.

        Raises:
            DigestError: if the file is no longer the one that was pinned.
        """
        what = f"base {base.name}: {TOKENIZER}"
        path = base.directory / TOKENIZER
        text = read_regular(path, what=what, max_bytes=MAX_FILE_BYTES, error=UnfitBaseError)
        pinned = {each.path: each.sha256 for each in base.files}
        if hashlib.sha256(text).hexdigest() != pinned.get(TOKENIZER):
            raise DigestError(f"{what} changed since it was opened")
        return cls(text, vocab_size=base.shape.vocab_size, what=what)

    def encode_prompt(self, text: str, *, what: str = "prompt") -> Ids:
        """Return the ids of a prompt, special tokens as the file says; at least one.

        Raises:
            UnfitSuiteError: naming `what`, if the text is too long, empty, or has an id the
                base has no embedding for.
        """
        return self._encode(text, what=what, special=True)

    def encode_continuation(self, text: str, *, what: str = "continuation") -> Ids:
        """Return the ids of a text that follows a prompt, without special tokens; at least one."""
        return self._encode(text, what=what, special=False)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def _encode(self, text: str, *, what: str, special: bool) -> Ids:
        if len(text) > MAX_TEXT_CHARACTERS:
            raise UnfitSuiteError(f"{what}: {len(text)} characters, at most {MAX_TEXT_CHARACTERS}")
        ids = tuple(self._tokenizer.encode(text, add_special_tokens=special).ids)
        if not 1 <= len(ids) <= MAX_TOKENS:
            raise UnfitSuiteError(f"{what}: {len(ids)} tokens, 1 to {MAX_TOKENS} are accepted")
        if max(ids) >= self._limit:
            raise UnfitSuiteError(
                f"{what}: token id {max(ids)}, but the base has {self._limit} embeddings",
                hint="the tokenizer does not belong to this base model",
            )
        return ids
