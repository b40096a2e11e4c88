"""A base model pinned by the digest of the files that determine what it computes.

The digest is the SHA-256 of the canonical JSON of
`{"files": [{"bytes": n, "path": name, "sha256": hex}, ...]}`, files sorted by path. Pinned are the
configuration, the generation defaults, the tokenizer and the safetensors weights, with the index
of a sharded checkpoint. A README or a pickle next to them is neither read nor pinned.

Nothing here imports torch, resolves a name to a hub or runs code that comes with a model.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from compose.errors import UnfitBaseError
from compose.header import (
    READABLE,
    Header,
    TensorInfo,
    decode_values,
    read_header,
    read_pieces,
    read_tensor,
)
from compose.llama import LinearLayer, LlamaShape
from compose.untrusted import (
    list_names,
    open_regular,
    parse_json_object,
    read_regular,
    shown,
)
from ledger.encoding import canonical_json
from ledger.errors import DigestError, NotFoundError

CONFIG = "config.json"
GENERATION = "generation_config.json"
INDEX = "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
PINNED_NAMES = (CONFIG, GENERATION, INDEX, TOKENIZER, TOKENIZER_CONFIG, "special_tokens_map.json")
WEIGHTS_SUFFIX = ".safetensors"

MAX_CONFIG_BYTES = 1024 * 1024
MAX_INDEX_BYTES = 16 * 1024 * 1024
MAX_PINNED_BYTES = 2**40
_CHUNK = 1024 * 1024

HashFile = Callable[[Path, BinaryIO], str]
"""Returns the lower-case hex SHA-256 of an open file; the path is only its name."""


@dataclass(frozen=True, slots=True, order=True)
class PinnedFile:
    """One file of the manifest: name, lower-case hex SHA-256 and size."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model whose files were checked and hashed when it was opened."""

    directory: Path
    name: str
    digest: str
    files: tuple[PinnedFile, ...]
    shape: LlamaShape
    linears: Mapping[str, LinearLayer]
    eos_token_ids: tuple[int, ...]
    headers: Mapping[str, Header] = field(repr=False)
    """The checked header of each weights file, by file name."""
    hash_file: HashFile = field(repr=False, compare=False)
    _norms: dict[str, float] = field(default_factory=dict, repr=False, compare=False)

    def tensor(self, name: str) -> npt.NDArray[np.float64]:
        """Return one weight as float64.

        Raises:
            NotFoundError: if the base has no such tensor.
            UnfitBaseError: if its values are not finite or the file changed since it was opened.
        """
        file_name, header, info = self._find(name)
        return read_tensor(self.directory / file_name, header, info, error=UnfitBaseError)

    def weight_norm(self, linear: str) -> float:
        """Return the Frobenius norm of a linear layer's weight; read once per base, in pieces.

        Raises:
            UnfitBaseError: if its values are not finite or the file changed since it was opened.
        """
        if linear not in self._norms:
            file_name, header, info = self._find(f"{linear}.weight")
            what = f"base {self.name}: {file_name}"
            with open_regular(
                self.directory / file_name,
                what=what,
                max_bytes=header.file_size,
                error=UnfitBaseError,
            ) as (file, _):
                square = 0.0
                for piece in read_pieces(file, header, info, what=what, error=UnfitBaseError):
                    values = decode_values(piece, info.dtype)
                    square += float(np.vdot(values, values))
            if not math.isfinite(square):
                raise UnfitBaseError(
                    f"{what}: tensor {info.name} has values that are not finite", check="not-finite"
                )
            self._norms[linear] = math.sqrt(square)
        return self._norms[linear]

    def _find(self, name: str) -> tuple[str, Header, TensorInfo]:
        for file_name, header in self.headers.items():
            info = header.tensors.get(name)
            if info is not None:
                return file_name, header, info
        raise NotFoundError(f"base {self.name}: no tensor {shown(name)}")

    def check_unchanged(self) -> None:
        """Hash the pinned files again.

        Raises:
            DigestError: naming a file whose bytes are no longer those that were pinned.
        """
        for pinned in self.files:
            if _pin(self.directory, pinned.path, f"base {self.name}", self.hash_file) != pinned:
                raise DigestError(f"base {self.name}: {pinned.path} changed since it was opened")


def manifest_digest(files: Iterable[PinnedFile]) -> str:
    """Return the digest of a base: lower-case hex SHA-256 of its canonical manifest."""
    return hashlib.sha256(manifest(files)).hexdigest()


def manifest(files: Iterable[PinnedFile]) -> bytes:
    """Return the canonical manifest of a base's files, whatever order they come in."""
    rows = [
        {"path": each.path, "sha256": each.sha256, "bytes": each.bytes} for each in sorted(files)
    ]
    return canonical_json({"files": rows})


def read_and_hash(path: Path, file: BinaryIO) -> str:
    """Return the lower-case hex SHA-256 of an open file, from its bytes."""
    del path
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def open_base(directory: Path, *, name: str, hash_file: HashFile = read_and_hash) -> BaseModel:
    """Check and pin the base model in a directory.

    Args:
        directory: the files; others than those that are pinned are ignored.
        name: for messages.
        hash_file: may remember the digest of a file that has not changed.

    Raises:
        NotFoundError: if there is no such directory.
        UnfitBaseError: if it is no Llama-shaped decoder in safetensors form, naming the file,
            field or tensor.
    """
    what = f"base {name}"
    present = list_names(directory, what=what, error=UnfitBaseError)
    weights = [each for each in present if each.endswith(WEIGHTS_SUFFIX)]
    _check_present(present, weights, what)
    shape = LlamaShape.parse(_json(directory, CONFIG, what), what=f"{what}: {CONFIG}")
    if TOKENIZER_CONFIG in present:
        _check_tokenizer_config(_json(directory, TOKENIZER_CONFIG, what), what)
    headers = {
        each: read_header(directory / each, what=what, error=UnfitBaseError) for each in weights
    }
    _check_tensors(headers, shape, what)
    _check_index(directory, present, headers, what)
    files = tuple(
        _pin(directory, each, what, hash_file)
        for each in present
        if each in PINNED_NAMES or each in weights
    )
    return BaseModel(
        directory=directory,
        name=name,
        digest=manifest_digest(files),
        files=files,
        shape=shape,
        linears=shape.linears(),
        eos_token_ids=_eos_token_ids(directory, present, shape, what),
        headers=headers,
        hash_file=hash_file,
    )


def _check_present(present: list[str], weights: list[str], what: str) -> None:
    if CONFIG not in present:
        raise UnfitBaseError(f"{what}: {CONFIG} is missing")
    if not weights:
        raise UnfitBaseError(
            f"{what}: no safetensors weights",
            hint="pickle weights (.bin, .pt) are never opened; "
            "convert them with save_pretrained on a machine you can afford to lose",
        )
    if TOKENIZER not in present:
        raise UnfitBaseError(
            f"{what}: {TOKENIZER} is missing", hint="save a fast tokenizer next to the weights"
        )


def _json(
    directory: Path, name: str, what: str, max_bytes: int = MAX_CONFIG_BYTES
) -> dict[str, Any]:
    data = read_regular(directory / name, what=what, max_bytes=max_bytes, error=UnfitBaseError)
    return parse_json_object(data, what=f"{what}: {name}", error=UnfitBaseError)


def _check_tokenizer_config(config: Mapping[str, Any], what: str) -> None:
    if config.get("auto_map"):
        raise UnfitBaseError(
            f"{what}: {TOKENIZER_CONFIG}: auto_map asks to run code that comes with the model"
        )


def _check_tensors(headers: Mapping[str, Header], shape: LlamaShape, what: str) -> None:
    expected = shape.tensors()
    seen: dict[str, str] = {}
    for file_name, header in headers.items():
        for info in header.tensors.values():
            if info.name in seen:
                raise UnfitBaseError(
                    f"{what}: tensor {info.name} is in {seen[info.name]} and in {file_name}",
                    hint="keep one set of weights in the directory",
                )
            seen[info.name] = file_name
            _check_tensor(info, expected, shape, what)
    missing = sorted(set(expected) - set(seen))
    if missing:
        raise UnfitBaseError(f"{what}: tensor {missing[0]} is missing ({len(missing)} in all)")


def _check_tensor(
    info: TensorInfo, expected: Mapping[str, tuple[int, ...]], shape: LlamaShape, what: str
) -> None:
    if info.name == "lm_head.weight" and shape.tied_embeddings:
        raise UnfitBaseError(
            f"{what}: lm_head.weight is stored although tie_word_embeddings is true",
            hint="remove one of the two, so that nobody can read the model in two ways",
        )
    if info.name not in expected:
        raise UnfitBaseError(f"{what}: tensor {info.name} is not part of a Llama decoder")
    if info.shape != expected[info.name]:
        raise UnfitBaseError(
            f"{what}: tensor {info.name} has shape {list(info.shape)}, "
            f"{CONFIG} calls for {list(expected[info.name])}"
        )
    if info.dtype not in READABLE:
        raise UnfitBaseError(f"{what}: tensor {info.name} has dtype {info.dtype}")


def _check_index(
    directory: Path, present: list[str], headers: Mapping[str, Header], what: str
) -> None:
    """Require that an index, which other loaders follow, says what the headers say."""
    if INDEX not in present:
        if len(headers) > 1:
            raise UnfitBaseError(f"{what}: {len(headers)} weights files but no {INDEX}")
        return
    listed = _json(directory, INDEX, what, MAX_INDEX_BYTES).get("weight_map")
    actual = {name: file_name for file_name, header in headers.items() for name in header.tensors}
    if listed != actual:
        raise UnfitBaseError(f"{what}: weight_map of {INDEX} does not match the weights files")


def _eos_token_ids(
    directory: Path, present: list[str], shape: LlamaShape, what: str
) -> tuple[int, ...]:
    """Return the ids that end an answer; like transformers, generation defaults come first."""
    value = None
    if GENERATION in present:
        value = _json(directory, GENERATION, what).get("eos_token_id")
    if value is None:
        value = _json(directory, CONFIG, what).get("eos_token_id")
    if value is None:
        return ()
    ids = value if isinstance(value, list) else [value]
    if not all(type(each) is int and 0 <= each < shape.vocab_size for each in ids):
        raise UnfitBaseError(
            f"{what}: eos_token_id is {shown(value)}, not ids below {shape.vocab_size}"
        )
    return tuple(sorted(set(ids)))


def _pin(directory: Path, name: str, what: str, hash_file: HashFile) -> PinnedFile:
    path = directory / name
    with open_regular(path, what=what, max_bytes=MAX_PINNED_BYTES, error=UnfitBaseError) as (
        file,
        size,
    ):
        return PinnedFile(name, hash_file(path, file), size)
