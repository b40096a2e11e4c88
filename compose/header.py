"""The header of a safetensors file, parsed strictly and without torch.

Format (huggingface/safetensors, README "Format"): 8 bytes little-endian N, N bytes of JSON
{"name": {"dtype", "shape", "data_offsets": [begin, end]}, ..., "__metadata__": {text: text}},
then the buffer the offsets count from.

Stricter than the reference library, so that every parser sees the same tensors: no duplicate key
at any level, tensors listed in the order of their offsets, without hole, overlap or trailing byte;
no empty tensor; names of letters, digits, '.', '_' and '-'; no padding but the spaces that align
the buffer to 8 bytes. Nothing but the header is read until a tensor is asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from compose.admission import MAX_DIMENSIONS, MAX_HEADER_BYTES, MAX_TENSOR_NAME
from compose.errors import UnfitAdapterError, UnfitError
from compose.untrusted import open_regular, shown
from ledger.encoding import parse_json
from ledger.errors import DuplicateKeyError, MalformedError

MAX_FILE_BYTES = 2**40
PIECE_BYTES = 1 << 20
"""How much of a tensor is looked at at a time; a multiple of the size of every number."""

ITEM_SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1,
    "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
READABLE = ("F64", "F32", "F16", "BF16")

_METADATA = "__metadata__"
# Protocols 2 to 5 of pickle, and the zip archive that torch.save puts one into.
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
_NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What the header says of one tensor; `begin` and `end` are bytes from the buffer's start."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header: tensors by name in file order, and where the buffer starts."""

    tensors: Mapping[str, TensorInfo]
    data_offset: int
    file_size: int
    metadata: Mapping[str, str]


def read_header(
    path: Path,
    *,
    what: str,
    max_bytes: int = MAX_FILE_BYTES,
    error: type[UnfitError] = UnfitAdapterError,
) -> Header:
    """Read and check the header of a safetensors file.

    Args:
        path: the file; a symbolic link is refused.
        what: named in errors, for example "adapter rev".
        max_bytes: refuse a larger file before reading it.
        error: the class to raise.

    Raises:
        NotFoundError: if there is no such file.
        PnodeError: of class `error`, saying which rule is broken by which tensor.
    """
    what = f"{what}: {path.name}"
    with open_regular(path, what=what, max_bytes=max_bytes, error=error) as (file, size):
        text = _header_bytes(file, size, what, error)
    try:
        document = parse_json(text, what=what, max_bytes=MAX_HEADER_BYTES)
    except DuplicateKeyError as cause:
        raise error(cause.message, check="duplicate-name") from None
    except MalformedError as cause:
        raise error(cause.message, check="header-json") from None
    if not isinstance(document, dict):
        raise error(f"{what}: header is not a JSON object", check="header-json")
    metadata = _metadata(document.pop(_METADATA, {}), what, error)
    tensors = [_tensor(name, entry, what, error) for name, entry in document.items()]
    data_offset = 8 + len(text)
    _check_layout(tensors, size - data_offset, what, error)
    return Header({info.name: info for info in tensors}, data_offset, size, metadata)


def read_bytes(
    path: Path, header: Header, info: TensorInfo, *, error: type[UnfitError] = UnfitAdapterError
) -> bytes:
    """Return the raw bytes of one tensor.

    Raises:
        PnodeError: of class `error`, if the file has changed its size since the header was read.
    """
    what = f"tensor {info.name}"
    with open_regular(path, what=what, max_bytes=header.file_size, error=error) as (file, size):
        file.seek(header.data_offset + info.begin)
        data = file.read(info.end - info.begin)
    if size != header.file_size or len(data) != info.end - info.begin:
        raise error(f"{path.name} changed while it was read", check="unreadable")
    return data


def read_pieces(
    file: BinaryIO,
    header: Header,
    info: TensorInfo,
    *,
    what: str,
    error: type[UnfitError] = UnfitAdapterError,
) -> Iterator[bytes]:
    """Yield the raw bytes of one tensor in order, at most PIECE_BYTES at a time.

    Raises:
        PnodeError: of class `error`, if the file ends before the tensor does.
    """
    file.seek(header.data_offset + info.begin)
    left = info.end - info.begin
    while left:
        piece = read_exactly(file, min(left, PIECE_BYTES), what=what, error=error)
        left -= len(piece)
        yield piece


def read_exactly(
    file: BinaryIO, size: int, *, what: str, error: type[UnfitError] = UnfitAdapterError
) -> bytes:
    """Return the next bytes of a file whose header says that they are there.

    Raises:
        PnodeError: of class `error`, if they are not.
    """
    data = file.read(size)
    if len(data) != size:
        raise error(f"{what}: changed while it was read", check="unreadable")
    return data


def decode_tensor(
    data: bytes, info: TensorInfo, *, error: type[UnfitError] = UnfitAdapterError
) -> npt.NDArray[np.float64]:
    """Return raw tensor bytes as float64, an exact conversion from every readable dtype.

    Raises:
        PnodeError: of class `error`, for another dtype or a value that is not finite.
    """
    if info.dtype not in READABLE:
        raise error(
            f"tensor {info.name} has dtype {info.dtype}",
            hint=f"use one of {', '.join(READABLE)}",
            check="dtype",
        )
    result = decode_values(data, info.dtype).reshape(info.shape)
    if not np.isfinite(result).all():
        raise error(
            f"tensor {info.name} has values that are not finite (NaN or infinity)",
            check="not-finite",
        )
    return result


def decode_values(data: bytes, dtype: str) -> npt.NDArray[np.float64]:
    """Return the numbers of one of the READABLE dtypes as float64, in one dimension, unchecked."""
    if dtype == "BF16":
        # bfloat16 is the upper half of a float32.
        bits = np.frombuffer(data, dtype="<u2").astype(np.uint32) << np.uint32(16)
        return bits.view(np.float32).astype(np.float64)
    return np.frombuffer(data, dtype=f"<f{ITEM_SIZES[dtype]}").astype(np.float64)


def read_tensor(
    path: Path, header: Header, info: TensorInfo, *, error: type[UnfitError] = UnfitAdapterError
) -> npt.NDArray[np.float64]:
    """Return one tensor as float64, shape as in the header.

    Raises:
        PnodeError: of class `error`, naming the tensor, for an unreadable dtype or a value that
            is not finite.
    """
    return decode_tensor(read_bytes(path, header, info, error=error), info, error=error)


def _header_bytes(file: BinaryIO, size: int, what: str, error: type[UnfitError]) -> bytes:
    prefix = file.read(8)
    if len(prefix) != 8:
        raise error(f"{what}: too short for a safetensors file", check="header-size")
    length = int.from_bytes(prefix, "little")
    if not 2 <= length <= MAX_HEADER_BYTES:
        if prefix.startswith(_PICKLES):
            raise error(f"{what}: a pickle under the name of safetensors", check="pickle")
        raise error(
            f"{what}: header of {length} bytes, 2 to {MAX_HEADER_BYTES} are accepted",
            check="header-size",
        )
    if 8 + length > size:
        raise error(f"{what}: header of {length} bytes in a file of {size}", check="header-size")
    text = file.read(length)
    if len(text) != length:
        raise error(f"{what}: changed while it was read", check="unreadable")
    body = text.rstrip(b" ")
    padding = len(text) - len(body)
    if body[:1] != b"{" or body[-1:] != b"}":
        raise error(f"{what}: header is not a JSON object", check="header-json")
    # The padding is part of N, so other counts would give other bytes for the same tensors.
    if padding > 7 or (padding and length % 8):
        raise error(
            f"{what}: header is padded with {padding} spaces for no alignment", check="padding"
        )
    return text


def _metadata(value: Any, what: str, error: type[UnfitError]) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise error(f"{what}: {_METADATA} must map text to text", check="metadata")
    return value


def _tensor(name: str, entry: Any, what: str, error: type[UnfitError]) -> TensorInfo:
    if len(name) > MAX_TENSOR_NAME or not _NAME.fullmatch(name):
        raise error(f"{what}: tensor name {shown(name)} is not accepted", check="tensor-name")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise error(
            f"{what}: tensor {name} needs exactly dtype, shape and data_offsets",
            check="tensor-entry",
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_SIZES:
        raise error(f"{what}: tensor {name} has unknown dtype {shown(dtype)}", check="dtype")
    if not _is_integers(shape) or len(shape) > MAX_DIMENSIONS:
        raise error(f"{what}: tensor {name} has shape {shown(shape)}", check="shape")
    if 0 in shape:
        raise error(f"{what}: tensor {name} is empty (shape {shown(shape)})", check="shape")
    if not _is_integers(offsets) or len(offsets) != 2:
        raise error(f"{what}: tensor {name} has data_offsets {shown(offsets)}", check="offsets")
    begin, end = offsets
    # Python integers do not overflow; a parser in another language must check this product.
    needed = math.prod(shape) * ITEM_SIZES[dtype]
    if needed > MAX_FILE_BYTES or end - begin != needed:
        raise error(
            f"{what}: tensor {name} of shape {shown(shape)} and dtype {dtype} needs {needed} "
            f"bytes, its offsets give {end - begin}",
            check="offsets",
        )
    return TensorInfo(name, dtype, tuple(shape), begin, end)


def _is_integers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_layout(
    tensors: list[TensorInfo], buffer_size: int, what: str, error: type[UnfitError]
) -> None:
    if not tensors:
        raise error(f"{what}: holds no tensors", check="no-tensors")
    position = 0
    for info in tensors:
        if info.begin != position:
            raise error(
                f"{what}: tensor {info.name} starts at byte {info.begin} of the buffer where "
                f"{position} is next (hole, overlap or wrong order)",
                check="offsets",
            )
        if info.begin % ITEM_SIZES[info.dtype]:
            raise error(
                f"{what}: tensor {info.name} is not aligned to its dtype {info.dtype}",
                check="alignment",
            )
        position = info.end
    if position > buffer_size:
        raise error(
            f"{what}: tensors end at byte {position} of a buffer of {buffer_size} (truncated)",
            check="truncated",
        )
    if position < buffer_size:
        raise error(
            f"{what}: {buffer_size - position} trailing bytes after the tensors",
            check="trailing-bytes",
        )
