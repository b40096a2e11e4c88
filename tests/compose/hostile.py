"""Ways to change an adapter directory, for `tests.compose.attacks`.

The safetensors files are written by hand here: the library would refuse to write most of them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
Q0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
Q0_B = Q0.replace("lora_A", "lora_B")

Tensors = dict[str, tuple[str, list[int], bytes]]


def read_tensors(path: Path) -> Tensors:
    """Return dtype, shape and bytes of every tensor, in file order."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    buffer = data[8 + length :]
    return {
        name: (entry["dtype"], entry["shape"], buffer[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }


def header_of(tensors: Tensors) -> dict[str, Any]:
    """Return a sound header for the tensors in their order."""
    header: dict[str, Any] = {}
    position = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [position, position + len(data)],
        }
        position += len(data)
    return header


def frame(header: bytes, buffer: bytes, *, align: bool = True) -> bytes:
    """Return a safetensors file with exactly this header."""
    if align:
        header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + buffer


def encode(tensors: Tensors, **metadata: str) -> bytes:
    """Return a sound safetensors file."""
    header = header_of(tensors)
    if metadata:
        header = {"__metadata__": metadata, **header}
    return frame(json.dumps(header).encode(), b"".join(data for _, _, data in tensors.values()))


def floats(*values: float) -> bytes:
    """Return little-endian float32 bytes."""
    return struct.pack(f"<{len(values)}f", *values)


def configured(**fields: Any) -> Callable[[Path], None]:
    """Return a change that sets fields of the configuration."""

    def change(directory: Path) -> None:
        path = directory / CONFIG
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def config_text(edit: Callable[[str], str]) -> Callable[[Path], None]:
    """Return a change that edits the configuration as text."""

    def change(directory: Path) -> None:
        path = directory / CONFIG
        path.write_text(edit(path.read_text()))

    return change


def retensored(edit: Callable[[Tensors], None]) -> Callable[[Path], None]:
    """Return a change that edits the tensors and writes them as a sound file."""

    def change(directory: Path) -> None:
        tensors = read_tensors(directory / WEIGHTS)
        edit(tensors)
        (directory / WEIGHTS).write_bytes(encode(tensors))

    return change


def reheadered(edit: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Return a change that edits the header and leaves the buffer alone."""

    def change(directory: Path) -> None:
        tensors = read_tensors(directory / WEIGHTS)
        header = header_of(tensors)
        edit(header)
        buffer = b"".join(data for _, _, data in tensors.values())
        (directory / WEIGHTS).write_bytes(frame(json.dumps(header).encode(), buffer))

    return change


def header_text(edit: Callable[[str], str], *, align: bool = True) -> Callable[[Path], None]:
    """Return a change that edits the header as text."""

    def change(directory: Path) -> None:
        tensors = read_tensors(directory / WEIGHTS)
        text = edit(json.dumps(header_of(tensors)))
        buffer = b"".join(data for _, _, data in tensors.values())
        (directory / WEIGHTS).write_bytes(frame(text.encode(), buffer, align=align))

    return change


def patched(edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return a change that edits the weights file as bytes."""

    def change(directory: Path) -> None:
        path = directory / WEIGHTS
        path.write_bytes(edit(path.read_bytes()))

    return change


def with_file(name: str, data: bytes = b"x") -> Callable[[Path], None]:
    """Return a change that adds a file."""

    def change(directory: Path) -> None:
        (directory / name).write_bytes(data)

    return change


def added(name: str, dtype: str, shape: list[int], data: bytes) -> Callable[[Path], None]:
    """Return a change that adds one tensor at the end."""
    return retensored(lambda tensors: tensors.update({name: (dtype, shape, data)}))


def filled(name: str, values: Callable[[int], bytes]) -> Callable[[Path], None]:
    """Return a change that overwrites a float32 tensor; `values` gets the element count."""

    def edit(tensors: Tensors) -> None:
        dtype, shape, data = tensors[name]
        tensors[name] = (dtype, shape, values(len(data) // 4))

    return retensored(edit)


def renamed(old: str, new: str) -> Callable[[Path], None]:
    """Return a change of the header that replaces a text everywhere."""
    return header_text(lambda text: text.replace(old, new))
