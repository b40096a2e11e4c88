"""Hostile adapters, each a sound adapter changed in one way, and what the refusal must say.

The safetensors files are written by hand here: the library would refuse to write most of them.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
Q0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
Q0_B = Q0.replace("lora_A", "lora_B")

Tensors = dict[str, tuple[str, list[int], bytes]]


@dataclass(frozen=True, slots=True)
class Attack:
    """A change to an adapter directory and a text that the error must contain."""

    name: str
    change: Callable[[Path], None]
    reason: str


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


def _pickle_only(directory: Path) -> None:
    (directory / WEIGHTS).rename(directory / "adapter_model.bin")


def _symlink(directory: Path) -> None:
    target = directory.parent / "elsewhere.safetensors"
    shutil.move(directory / WEIGHTS, target)
    (directory / WEIGHTS).symlink_to(target)


def _pipe(directory: Path) -> None:
    (directory / WEIGHTS).unlink()
    os.mkfifo(directory / WEIGHTS)


def _directory(directory: Path) -> None:
    (directory / WEIGHTS).unlink()
    (directory / WEIGHTS).mkdir()


def _transpose(tensors: Tensors) -> None:
    dtype, shape, data = tensors[Q0]
    tensors[Q0] = (dtype, shape[::-1], data)


def _wider(tensors: Tensors) -> None:
    dtype, (rank, width), data = tensors[Q0]
    tensors[Q0] = (dtype, [rank, width + 1], data + bytes(4 * rank))


def _flat(tensors: Tensors) -> None:
    dtype, shape, data = tensors[Q0]
    tensors[Q0] = (dtype, [shape[0] * shape[1]], data)


def _bytes_only(tensors: Tensors) -> None:
    _, shape, data = tensors[Q0]
    tensors[Q0] = ("I8", shape, data[: len(data) // 4])


def _as_float64(tensors: Tensors) -> None:
    _, shape, data = tensors[Q0]
    tensors.pop(Q0)
    rest = dict(tensors)
    tensors.clear()
    tensors[Q0] = ("F64", shape, data * 2)
    tensors.update(rest)


def _renamed(old: str, new: str) -> Callable[[Path], None]:
    return header_text(lambda text: text.replace(old, new))


def _swap_offsets(header: dict[str, Any]) -> None:
    first, second = list(header)[:2]
    if header[first]["shape"] == header[second]["shape"]:
        raise AssertionError("the swap must change which bytes come first")
    header[first], header[second] = header.pop(second), header[first]


def _overlap(header: dict[str, Any]) -> None:
    second = list(header)[1]
    header[second]["data_offsets"] = [offset - 4 for offset in header[second]["data_offsets"]]


def _hole(header: dict[str, Any]) -> None:
    second = list(header)[1]
    header[second]["data_offsets"] = [offset + 4 for offset in header[second]["data_offsets"]]


def _empty_tensor(header: dict[str, Any]) -> None:
    end = max(entry["data_offsets"][1] for entry in header.values())
    header["void"] = {"dtype": "F32", "shape": [0, 2**40], "data_offsets": [end, end]}


def _overflowing(header: dict[str, Any]) -> None:
    # 2^32 * 2^32 * 4 is 0 in 64 bits.
    header[Q0]["shape"] = [2**32, 2**32]


def _duplicate(text: str) -> str:
    entry = json.dumps({Q0: json.loads(text)[Q0]})[1:-1]
    return text[:-1] + ", " + entry + "}"


def _nested_duplicate(text: str) -> str:
    return text.replace('{"dtype": "F32"', '{"dtype": "F32", "dtype": "F32"', 1)


CONTAINER = (
    Attack("weights only as a pickle", _pickle_only, "only as a pickle"),
    Attack("a pickle beside the weights", with_file("adapter_model.bin"), "adapter_model.bin"),
    Attack("code beside the weights", with_file("modeling.py"), "modeling.py"),
    Attack("a tokenizer", with_file("tokenizer.json"), "tokenizer.json"),
    Attack("a shard index", with_file(WEIGHTS + ".index.json"), "index.json"),
    Attack("a hidden file", with_file(".hidden"), ".hidden"),
    Attack(
        "a subdirectory", lambda directory: (directory / "checkpoint-1").mkdir(), "checkpoint-1"
    ),
    Attack("a huge card", with_file("card.json", bytes(2**20 + 1)), "card.json has"),
    Attack("weights behind a symbolic link", _symlink, "symbolic link"),
    Attack("weights that are a pipe", _pipe, "not a regular file"),
    Attack("weights that are a directory", _directory, "not a regular file"),
    Attack("no weights", lambda directory: (directory / WEIGHTS).unlink(), "is missing"),
    Attack("no configuration", lambda directory: (directory / CONFIG).unlink(), "is missing"),
)

CONFIGURATION = (
    Attack("another method", configured(peft_type="IA3"), "peft_type"),
    Attack("another task", configured(task_type="SEQ_CLS"), "task_type"),
    Attack("DoRA", configured(use_dora=True), "use_dora"),
    Attack("QALoRA", configured(use_qalora=True), "use_qalora"),
    Attack("bias of LoRA", configured(lora_bias=True), "lora_bias"),
    Attack("bias of the base", configured(bias="all"), "bias"),
    Attack("whole modules", configured(modules_to_save=["lm_head"]), "modules_to_save"),
    Attack(
        "trained embeddings", configured(trainable_token_indices=[1]), "trainable_token_indices"
    ),
    Attack("activated LoRA", configured(alora_invocation_tokens=[1]), "alora_invocation_tokens"),
    Attack("layers repeated", configured(layer_replication=[[0, 2], [1, 2]]), "layer_replication"),
    Attack("raw parameters", configured(target_parameters=["x"]), "target_parameters"),
    Attack("a module to import", configured(megatron_core="os"), "megatron_core"),
    Attack("megatron", configured(megatron_config={"a": 1}), "megatron_config"),
    Attack("a class to import", configured(auto_mapping={"parent_library": "os"}), "auto_mapping"),
    Attack("PiSSA changes the base", configured(init_lora_weights="pissa"), "init_lora_weights"),
    Attack("transposed weights", configured(fan_in_fan_out=True), "fan_in_fan_out"),
    Attack("rank by pattern", configured(rank_pattern={"q_proj": 8}), "rank_pattern"),
    Attack("alpha by pattern", configured(alpha_pattern={"q_proj": 999}), "alpha_pattern"),
    Attack("excluded modules", configured(exclude_modules="q_proj"), "exclude_modules"),
    Attack("some layers only", configured(layers_to_transform=[0]), "layers_to_transform"),
    Attack("arrow", configured(arrow_config={"top_k": 1}), "arrow_config"),
    Attack("an unknown field", configured(run_me="os.system"), "unknown field 'run_me'"),
    Attack("a pattern that hangs a loader", configured(target_modules="(.*)*(q_proj)"), "patterns"),
    Attack("a pattern inside the list", configured(target_modules=["q_.*"]), "target_modules"),
    Attack("the output layer", configured(target_modules=["lm_head"]), "target_modules"),
    Attack("no targets", configured(target_modules=[]), "target_modules"),
    Attack("a target twice", configured(target_modules=["q_proj", "q_proj"]), "twice"),
    Attack("rank zero", configured(r=0), "r is 0"),
    Attack("rank true", configured(r=True), "r is True"),
    Attack("rank beyond the limit", configured(r=257), "r is 257"),
    Attack("another rank than the tensors'", configured(r=4), "rank 4"),
    Attack("alpha zero", configured(lora_alpha=0), "lora_alpha"),
    Attack("alpha as text", configured(lora_alpha="16"), "lora_alpha"),
    Attack("a scale that drowns the base", configured(lora_alpha=10_000), "scale"),
    Attack("a scale of nothing", configured(lora_alpha=0.0001), "scale"),
    Attack("a revision that is no text", configured(revision={"a": 1}), "revision"),
    Attack("dropout of one", configured(lora_dropout=1.0), "lora_dropout"),
    Attack("NaN in JSON", config_text(lambda t: t.replace('"r": 2', '"r": NaN')), "NaN"),
    Attack("infinity in JSON", config_text(lambda t: t.replace('"r": 2', '"r": 1e999')), "range"),
    Attack("a duplicate key", config_text(lambda t: '{"r": 1,' + t[1:]), "duplicate key 'r'"),
    Attack("a deep bomb", config_text(lambda _: "[" * 50_000), "JSON"),
    Attack("no object", config_text(lambda _: "[]"), "not a JSON object"),
    Attack("a huge configuration", config_text(lambda t: t + " " * 2**16), "at most 65536"),
)

CONTAINER_FORMAT = (
    Attack("an empty file", patched(lambda _: b""), "too short"),
    Attack("a header of 4 GB", patched(lambda d: b"\0\0\0\0\1\0\0\0" + d[8:]), "4294967296 bytes"),
    Attack("a header past the end", patched(lambda d: d[:16]), "in a file of 16"),
    Attack("a truncated buffer", patched(lambda d: d[:-4]), "truncated"),
    Attack("trailing bytes", patched(lambda d: d + b"PK\3\4"), "trailing"),
    Attack("a leading space", header_text(lambda t: " " + t), "not a JSON object"),
    Attack(
        "idle padding", header_text(lambda t: t + " " * (-len(t) % 8 + 8), align=False), "padded"
    ),
    Attack("a duplicate tensor", header_text(_duplicate), "duplicate key"),
    Attack("a duplicate key within a tensor", header_text(_nested_duplicate), "duplicate key"),
    Attack("a path as name", _renamed(Q0, "../../etc/passwd"), "name"),
    Attack("a NUL in a name", _renamed(Q0, "a\\u0000b"), "name"),
    Attack("an unknown dtype", _renamed('"F32"', '"F4"'), "unknown dtype"),
    Attack("a fractional shape", _renamed("[2, 16]", "[2.0, 16]"), "not an integer"),
    Attack("a negative shape", _renamed("[2, 16]", "[-2, -16]"), "shape"),
    Attack("a shape of truth values", _renamed("[2, 16]", "[true, 16]"), "shape"),
    Attack("a key too many", reheadered(lambda h: h[Q0].update(x=1)), "exactly dtype"),
    Attack(
        "metadata that is no text", reheadered(lambda h: h.update(__metadata__={"a": 1})), "meta"
    ),
    Attack("overlapping tensors", reheadered(_overlap), "overlap"),
    Attack("a hole", reheadered(_hole), "hole"),
    Attack("tensors out of order", reheadered(_swap_offsets), "order"),
    Attack("an empty tensor with an absurd shape", reheadered(_empty_tensor), "empty"),
    Attack("a shape that overflows 64 bits", reheadered(_overflowing), "needs"),
    Attack("no tensors", patched(lambda _: frame(b"{}", b"")), "no tensors"),
)

TENSORS = (
    Attack(
        "the output layer is overwritten",
        added("base_model.model.lm_head.weight", "F32", [36, 16], bytes(36 * 16 * 4)),
        "lm_head.weight is not lora_A or lora_B",
    ),
    Attack(
        "a base layer is overwritten",
        added(Q0.replace("lora_A", "base_layer"), "F32", [16, 16], bytes(1024)),
        "base_layer.weight is not",
    ),
    Attack(
        "a DoRA magnitude",
        added(Q0.replace("lora_A.weight", "lora_magnitude_vector"), "F32", [16], bytes(64)),
        "lora_magnitude_vector is not",
    ),
    Attack(
        "a layer the base does not have",
        added(Q0.replace("layers.0", "layers.7"), "F32", [2, 16], bytes(128)),
        "does not have",
    ),
    Attack("a layer number in two ways", _renamed("layers.0", "layers.00"), "layers.00"),
    Attack("a missing A", retensored(lambda t: t.pop(Q0) and None), "lora_A.weight is missing"),
    Attack("a missing B", retensored(lambda t: t.pop(Q0_B) and None), "lora_B.weight is missing"),
    Attack(
        "an undeclared target",
        configured(target_modules=["q_proj", "k_proj", "v_proj"]),
        "is not lora_A or lora_B of a layer in target_modules",
    ),
    Attack("a transposed A", retensored(_transpose), "shape [16, 2]"),
    Attack("an A too wide", retensored(_wider), "shape [2, 17]"),
    Attack("a flat A", retensored(_flat), "not two dimensions"),
    Attack("whole numbers", retensored(_bytes_only), "dtype I8"),
    Attack("float64", retensored(_as_float64), "dtype F64"),
    Attack("NaN", filled(Q0, lambda n: floats(float("nan"), *[0.0] * (n - 1))), "not finite"),
    Attack("infinity", filled(Q0_B, lambda n: floats(*[0.0] * (n - 1), float("-inf"))), "finite"),
    Attack("a huge value", filled(Q0, lambda n: floats(*[2000.0] * n)), "size 2000"),
    Attack("an update that replaces the base", filled(Q0, lambda n: floats(*[999.0] * n)), "norm"),
)

ATTACKS = (*CONTAINER, *CONFIGURATION, *CONTAINER_FORMAT, *TENSORS)
