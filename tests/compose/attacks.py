"""The corpus: hostile and unfit adapters, each the shipped adapter `ada` changed in one way.

One table says what each refusal is called and what it must say. It is used three times: for the
directory itself (`tests/compose/test_admission.py`), for `publish`, and for an artifact that came
from a peer (`tests/node/test_admitting.py`).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.compose.hostile import (
    CONFIG,
    Q0,
    Q0_B,
    WEIGHTS,
    Tensors,
    added,
    config_text,
    configured,
    encode,
    filled,
    floats,
    frame,
    header_text,
    patched,
    reheadered,
    renamed,
    retensored,
    with_file,
)


@dataclass(frozen=True, slots=True)
class Attack:
    """A change to an adapter directory, the check that must fail and a text it must say.

    `local` is what exists on a disk only: no artifact can carry it.
    """

    name: str
    change: Callable[[Path], None]
    check: str
    reason: str
    local: bool = False


def _pickle_only(directory: Path) -> None:
    (directory / WEIGHTS).rename(directory / "adapter_model.bin")


def _linked(name: str) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        target = directory.parent / f"elsewhere-{name}"
        shutil.move(directory / name, target)
        (directory / name).symlink_to(target)

    return change


def _dangling(directory: Path) -> None:
    (directory / "README.md").symlink_to("/etc/passwd")


def _pipe(name: str) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        (directory / name).unlink(missing_ok=True)
        os.mkfifo(directory / name)

    return change


def _folder(name: str) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        (directory / name).unlink(missing_ok=True)
        (directory / name).mkdir()
        (directory / name / "inner.txt").write_text("x")

    return change


def _without(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).unlink()


def _enormous(directory: Path) -> None:
    os.truncate(directory / WEIGHTS, 2**30 + 1)


def _hole(directory: Path) -> None:
    """Weights of 8 MiB of which only the header was ever written."""
    size = 8 << 20
    header = {Q0: {"dtype": "F32", "shape": [8, size // 32], "data_offsets": [0, size]}}
    head = frame(json.dumps(header).encode(), b"")
    (directory / WEIGHTS).write_bytes(head)
    os.truncate(directory / WEIGHTS, len(head) + size)


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
    _, shape, data = tensors.pop(Q0)
    rest = dict(tensors)
    tensors.clear()
    tensors.update({Q0: ("F64", shape, data * 2), **rest})


def _misaligned(tensors: Tensors) -> None:
    rest = dict(tensors)
    tensors.clear()
    tensors.update({"a": ("U8", [1], b"x"), **rest})


def _swap_offsets(header: dict[str, Any]) -> None:
    first, second = list(header)[:2]
    header[first], header[second] = header.pop(second), header[first]


def _shifted(by: int) -> Callable[[Path], None]:
    def edit(header: dict[str, Any]) -> None:
        second = list(header)[1]
        header[second]["data_offsets"] = [each + by for each in header[second]["data_offsets"]]

    return reheadered(edit)


def _beyond_the_end(header: dict[str, Any]) -> None:
    last = header[list(header)[-1]]
    last["shape"][0] += 1
    last["data_offsets"][1] += 4 * last["shape"][1]


def _reversed_range(header: dict[str, Any]) -> None:
    header[Q0]["data_offsets"] = header[Q0]["data_offsets"][::-1]


def _negative_range(header: dict[str, Any]) -> None:
    begin, end = header[Q0]["data_offsets"]
    header[Q0]["data_offsets"] = [begin - end, 0]


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


def _large_header(directory: Path) -> None:
    tensors = {Q0: ("F32", [1, 1], bytes(4))}
    (directory / WEIGHTS).write_bytes(encode(tensors, note="x" * 2**20))


def _each(factor: str, values: Callable[[int, int], Iterable[float]]) -> Callable[[Path], None]:
    """Return a change of all tensors of one factor; `values` gets rows and columns."""

    def edit(tensors: Tensors) -> None:
        for name, (dtype, shape, _) in tensors.items():
            if factor in name:
                tensors[name] = (dtype, shape, floats(*values(*shape)))

    return retensored(edit)


def _cancelling(directory: Path) -> None:
    """Factors that are far from zero, and whose product is zero: all pairs of ranks cancel."""
    _each("lora_A", lambda rows, columns: [0.5] * (rows * columns))(directory)
    _each("lora_B", lambda rows, columns: [0.5, -0.5] * (rows * columns // 2))(directory)


def _first(value: float) -> Callable[[int], bytes]:
    return lambda count: floats(value, *[0.0] * (count - 1))


FILES = (
    Attack("weights only as a pickle", _pickle_only, "pickle", "only as a pickle"),
    Attack(
        "a pickle beside the weights", with_file("adapter_model.bin"), "pickle", "adapter_model.bin"
    ),
    Attack("a checkpoint", with_file("optimizer.PT"), "pickle", "optimizer.PT"),
    Attack(
        "a pickle under the name of the weights",
        patched(lambda _: b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94."),
        "pickle",
        "a pickle under the name",
    ),
    Attack(
        "an archive of torch under the name of the weights",
        patched(lambda _: b"PK\x03\x04\x00\x00\x08\x08" + bytes(200)),
        "pickle",
        "a pickle under the name",
    ),
    Attack("code beside the weights", with_file("modeling.py"), "executable", "modeling.py"),
    Attack("a library beside the weights", with_file("kernel.so"), "executable", "kernel.so"),
    Attack(
        "a program as a read-me",
        with_file("README.md", b"\x7fELF\x02\x01\x01" + bytes(50)),
        "executable",
        "README.md is a program",
    ),
    Attack(
        "a script as a card", with_file("card.json", b"#!/bin/sh\n"), "executable", "is a program"
    ),
    Attack("a read-me that is no text", with_file("README.md", b"MZ\0\xff"), "card", "not UTF-8"),
    Attack("a read-me with NUL", with_file("README.md", b"a\0b"), "card", "not UTF-8"),
    Attack("a card that is a list", with_file("card.json", b"[]"), "json", "not a JSON object"),
    Attack("a huge card", with_file("card.json", bytes(2**20 + 1)), "file-size", "card.json has"),
    Attack("a shard index", with_file(WEIGHTS + ".index.json"), "unknown-file", "index.json"),
    Attack("an archive", with_file("more.zip"), "unknown-file", "more.zip"),
    Attack("a template", with_file("chat_template.jinja"), "unknown-file", "chat_template"),
    Attack("a folder", _folder("checkpoint-1"), "unknown-file", "checkpoint-1"),
    Attack("a hidden file", with_file(".hidden"), "hidden-file", ".hidden"),
    Attack("a hidden folder", _folder(".git"), "hidden-file", ".git"),
    Attack("a path on Windows", with_file("..\\..\\x.md"), "file-name", "x.md", local=True),
    Attack("a drive", with_file("C:x.md"), "file-name", "C:x.md", local=True),
    Attack("a line in a name", with_file("a\nb.md"), "file-name", "b.md", local=True),
    Attack(
        "weights twice on other systems",
        with_file("Adapter_Model.safetensors"),
        "case-collision",
        "Adapter_Model",
    ),
    Attack(
        "a configuration twice on other systems",
        with_file("ADAPTER_CONFIG.JSON"),
        "case-collision",
        "ADAPTER_CONFIG",
    ),
    Attack("weights behind a link", _linked(WEIGHTS), "link", "symbolic link", local=True),
    Attack("a configuration behind a link", _linked(CONFIG), "link", CONFIG, local=True),
    Attack("a read-me that is /etc/passwd", _dangling, "link", "README.md", local=True),
    Attack("weights that are a pipe", _pipe(WEIGHTS), "special-file", "regular", local=True),
    Attack("a pipe beside them", _pipe("x"), "special-file", "regular", local=True),
    Attack("weights that are a folder", _folder(WEIGHTS), "special-file", "not a regular file"),
    Attack("weights beyond a gigabyte", _enormous, "file-size", "1073741825 bytes", local=True),
    Attack("weights of which nothing was written", _hole, "sparse-file", "hole", local=True),
    Attack("no weights", _without(WEIGHTS), "missing-file", WEIGHTS),
    Attack("no configuration", _without(CONFIG), "missing-file", CONFIG),
    Attack("a tokenizer", with_file("tokenizer.json"), "vocabulary", "tokenizer.json"),
    Attack("more tokens", with_file("added_tokens.json"), "vocabulary", "added_tokens.json"),
)

CONFIGURATION = (
    Attack("another method", configured(peft_type="IA3"), "method", "peft_type"),
    Attack("another task", configured(task_type="SEQ_CLS"), "task", "task_type"),
    Attack("DoRA", configured(use_dora=True), "dora", "use_dora"),
    Attack("QALoRA", configured(use_qalora=True), "feature", "use_qalora"),
    Attack("bias of LoRA", configured(lora_bias=True), "bias", "lora_bias"),
    Attack("bias of the base", configured(bias="all"), "bias", "bias"),
    Attack(
        "whole modules",
        configured(modules_to_save=["lm_head"]),
        "modules-to-save",
        "modules_to_save",
    ),
    Attack(
        "trained embeddings",
        configured(trainable_token_indices=[1]),
        "vocabulary",
        "trainable_token_indices",
    ),
    Attack(
        "activated LoRA",
        configured(alora_invocation_tokens=[1]),
        "feature",
        "alora_invocation_tokens",
    ),
    Attack(
        "layers repeated",
        configured(layer_replication=[[0, 2], [1, 2]]),
        "feature",
        "layer_replication",
    ),
    Attack("raw parameters", configured(target_parameters=["x"]), "feature", "target_parameters"),
    Attack("transposed weights", configured(fan_in_fan_out=True), "feature", "fan_in_fan_out"),
    Attack("arrow", configured(arrow_config={"top_k": 1}), "feature", "arrow_config"),
    Attack("training for use", configured(inference_mode="no"), "feature", "inference_mode"),
    Attack("a module to import", configured(megatron_core="os"), "code-import", "megatron_core"),
    Attack("megatron", configured(megatron_config={"a": 1}), "code-import", "megatron_config"),
    Attack(
        "a class to import",
        configured(auto_mapping={"parent_library": "os"}),
        "code-import",
        "auto_mapping",
    ),
    Attack("remote code", configured(trust_remote_code=True), "code-import", "trust_remote_code"),
    Attack(
        "a class of the repository",
        configured(auto_map={"AutoModel": "evil/repo--m.M"}),
        "code-import",
        "auto_map",
    ),
    Attack(
        "a kernel from the hub",
        configured(_attn_implementation="evil/kernel"),
        "code-import",
        "_attn_implementation",
    ),
    Attack(
        "a base that is no text",
        configured(base_model_name_or_path={"path": "evil"}),
        "base-override",
        "base_model_name_or_path",
    ),
    Attack(
        "a base of a megabyte",
        configured(base_model_name_or_path="x" * 5000),
        "base-override",
        "base_model_name_or_path",
    ),
    Attack("a revision that is no text", configured(revision=[1]), "base-override", "revision"),
    Attack(
        "PiSSA changes the base",
        configured(init_lora_weights="pissa"),
        "initialisation",
        "init_lora_weights",
    ),
    Attack("OLoRA as well", configured(init_lora_weights="olora"), "initialisation", "olora"),
    Attack("rank by pattern", configured(rank_pattern={"q_proj": 8}), "pattern", "rank_pattern"),
    Attack(
        "alpha by pattern", configured(alpha_pattern={"q_proj": 999}), "pattern", "alpha_pattern"
    ),
    Attack("a pattern for nothing", configured(rank_pattern={"^$": 8}), "pattern", "rank_pattern"),
    Attack("excluded modules", configured(exclude_modules="q_proj"), "pattern", "exclude_modules"),
    Attack(
        "some layers only", configured(layers_to_transform=[0]), "pattern", "layers_to_transform"
    ),
    Attack("layers by pattern", configured(layers_pattern="h"), "pattern", "layers_pattern"),
    Attack(
        "a pattern that hangs a loader",
        configured(target_modules="(.*)*(q_proj)"),
        "pattern",
        "patterns are not accepted",
    ),
    Attack("every layer there is", configured(target_modules="all-linear"), "pattern", "patterns"),
    Attack(
        "a pattern inside the list",
        configured(target_modules=["q_.*"]),
        "targets",
        "target_modules",
    ),
    Attack("the output layer", configured(target_modules=["lm_head"]), "targets", "lm_head"),
    Attack("no targets", configured(target_modules=[]), "targets", "target_modules"),
    Attack("a target twice", configured(target_modules=["q_proj", "q_proj"]), "targets", "twice"),
    Attack("targets with a value", configured(target_modules={"a": 1}), "targets", "not a list"),
    Attack("an unknown field", configured(run_me="os.system"), "unknown-field", "'run_me'"),
    Attack("rank zero", configured(r=0), "rank", "r is 0"),
    Attack("rank true", configured(r=True), "rank", "r is True"),
    Attack("rank beyond the limit", configured(r=257), "rank", "r is 257"),
    Attack("a rank of a million digits", configured(r=10**4000), "rank", "r is 1000"),
    Attack("a rank with a fraction", configured(r=8.0), "rank", "r is 8.0"),
    Attack("alpha zero", configured(lora_alpha=0), "alpha", "lora_alpha"),
    Attack("alpha below zero", configured(lora_alpha=-16), "alpha", "lora_alpha"),
    Attack("alpha as text", configured(lora_alpha="16"), "alpha", "lora_alpha"),
    Attack("an absurd alpha", configured(lora_alpha=1e300), "alpha", "lora_alpha"),
    Attack("a scale that drowns the base", configured(lora_alpha=10_000), "scale", "scale"),
    Attack("a scale of nothing", configured(lora_alpha=0.0001), "scale", "scale"),
    Attack("another scale in words", configured(use_rslora="yes"), "scale", "use_rslora"),
    Attack("dropout of one", configured(lora_dropout=1.0), "dropout", "lora_dropout"),
    Attack("NaN in JSON", config_text(lambda t: t.replace('"r": 8', '"r": NaN')), "json", "NaN"),
    Attack(
        "infinity in JSON", config_text(lambda t: t.replace('"r": 8', '"r": 1e999')), "json", "out"
    ),
    Attack("a duplicate key", config_text(lambda t: '{"r": 1,' + t[1:]), "json", "duplicate key"),
    Attack("a deep bomb", config_text(lambda _: "[" * 50_000), "json", "JSON"),
    Attack("no object", config_text(lambda _: "[]"), "json", "not a JSON object"),
    Attack("no JSON", config_text(lambda _: "{"), "json", "not acceptable JSON"),
    Attack(
        "a huge configuration",
        config_text(lambda t: t + " " * 2**16),
        "file-size",
        "at most 65536",
    ),
)

HEADER = (
    Attack("an empty file", patched(lambda _: b""), "header-size", "too short"),
    Attack(
        "a header of 4 GB",
        patched(lambda d: b"\0\0\0\0\1\0\0\0" + d[8:]),
        "header-size",
        "4294967296 bytes",
    ),
    Attack("a header past the end", patched(lambda d: d[:16]), "header-size", "in a file of 16"),
    Attack("a header beyond the limit", _large_header, "header-size", "1048576 are accepted"),
    Attack("a leading space", header_text(lambda t: " " + t), "header-json", "not a JSON object"),
    Attack(
        "a deep header", header_text(lambda _: '{"a":' * 99 + "1" + "}" * 99), "header-json", ""
    ),
    Attack("a fractional shape", renamed("[8, 64]", "[8.0, 64]"), "header-json", "not an integer"),
    Attack(
        "idle padding",
        header_text(lambda t: t + " " * (-len(t) % 8 + 8), align=False),
        "padding",
        "padded",
    ),
    Attack("a duplicate tensor", header_text(_duplicate), "duplicate-name", "duplicate key"),
    Attack(
        "a duplicate key within a tensor",
        header_text(_nested_duplicate),
        "duplicate-name",
        "duplicate key",
    ),
    Attack("a path as name", renamed(Q0, "../../etc/passwd"), "tensor-name", "etc/passwd"),
    Attack("a NUL in a name", renamed(Q0, "a\\u0000b"), "tensor-name", "x00"),
    Attack("a name of 300 letters", renamed(Q0, "a" * 300), "tensor-name", "aaa"),
    Attack("an unknown dtype", renamed('"F32"', '"F4"'), "dtype", "unknown dtype"),
    Attack("whole numbers", retensored(_bytes_only), "dtype", "dtype I8"),
    Attack("float64", retensored(_as_float64), "dtype", "dtype F64"),
    Attack("a negative shape", renamed("[8, 64]", "[-8, -64]"), "shape", "shape [-8, -64]"),
    Attack("a shape of truth values", renamed("[8, 64]", "[true, 64]"), "shape", "shape [True"),
    Attack("an empty tensor with an absurd shape", reheadered(_empty_tensor), "shape", "empty"),
    Attack("a transposed A", retensored(_transpose), "shape", "shape [64, 8]"),
    Attack("an A too wide", retensored(_wider), "shape", "shape [8, 65]"),
    Attack("a flat A", retensored(_flat), "shape", "not two dimensions"),
    Attack("another rank than the tensors'", configured(r=4), "shape", "rank 4"),
    Attack("a key too many", reheadered(lambda h: h[Q0].update(x=1)), "tensor-entry", "exactly"),
    Attack("a tensor that is a list", reheadered(lambda h: h.update(x=[])), "tensor-entry", "x "),
    Attack(
        "metadata that are no text",
        reheadered(lambda h: h.update(__metadata__={"a": 1})),
        "metadata",
        "__metadata__",
    ),
    Attack("overlapping tensors", _shifted(-4), "offsets", "overlap"),
    Attack("a hole between tensors", _shifted(4), "offsets", "hole"),
    Attack("tensors out of order", reheadered(_swap_offsets), "offsets", "order"),
    Attack("a range beyond the end", reheadered(_beyond_the_end), "truncated", "truncated"),
    Attack("a range from end to begin", reheadered(_reversed_range), "offsets", "offsets give -"),
    Attack("a range before the begin", reheadered(_negative_range), "offsets", "data_offsets [-"),
    Attack("a shape that overflows 64 bits", reheadered(_overflowing), "offsets", "needs"),
    Attack("a tensor that is not aligned", retensored(_misaligned), "alignment", "aligned"),
    Attack("a truncated buffer", patched(lambda d: d[:-4]), "truncated", "truncated"),
    Attack("trailing bytes", patched(lambda d: d + b"PK\3\4"), "trailing-bytes", "4 trailing"),
    Attack("no tensors", patched(lambda _: frame(b"{}", b"")), "no-tensors", "no tensors"),
)

FIT = (
    Attack(
        "the output layer is overwritten",
        added("base_model.model.lm_head.weight", "F32", [34, 64], bytes(34 * 64 * 4)),
        "vocabulary",
        "lm_head.weight is not lora_A or lora_B",
    ),
    Attack(
        "the embedding grows",
        added("base_model.model.model.embed_tokens.weight", "F32", [40, 64], bytes(40 * 64 * 4)),
        "vocabulary",
        "embed_tokens.weight is not",
    ),
    Attack(
        "a base layer is overwritten",
        added(Q0.replace("lora_A", "base_layer"), "F32", [64, 64], bytes(64 * 64 * 4)),
        "unplaced-tensor",
        "base_layer.weight is not",
    ),
    Attack(
        "a norm is overwritten",
        added("base_model.model.model.norm.weight", "F32", [64], bytes(256)),
        "unplaced-tensor",
        "norm.weight is not",
    ),
    Attack(
        "a DoRA magnitude",
        added(Q0.replace("lora_A.weight", "lora_magnitude_vector"), "F32", [64], bytes(256)),
        "unplaced-tensor",
        "lora_magnitude_vector is not",
    ),
    Attack(
        "a layer the base does not have",
        added(Q0.replace("layers.0", "layers.7"), "F32", [8, 64], bytes(2048)),
        "unplaced-tensor",
        "does not have",
    ),
    Attack(
        "a layer number in two ways", renamed("layers.0", "layers.00"), "unplaced-tensor", ".00."
    ),
    Attack(
        "an undeclared target",
        configured(target_modules=["q_proj", "k_proj", "v_proj"]),
        "unplaced-tensor",
        "is not lora_A or lora_B of a layer in target_modules",
    ),
    Attack("a missing A", retensored(lambda t: t.pop(Q0) and None), "missing-tensor", "lora_A"),
    Attack("a missing B", retensored(lambda t: t.pop(Q0_B) and None), "missing-tensor", "lora_B"),
    Attack(
        "a target that no tensor fills",
        retensored(lambda t: [t.pop(each) for each in list(t) if "v_proj" in each] and None),
        "missing-tensor",
        "v_proj.lora_A.weight is missing",
    ),
)

VALUES = (
    Attack("NaN", filled(Q0, _first(float("nan"))), "not-finite", Q0),
    Attack("infinity", filled(Q0_B, _first(float("-inf"))), "not-finite", Q0_B),
    Attack("a huge value", filled(Q0, _first(2000.0)), "value-size", "size 2000"),
    Attack("the largest float", filled(Q0, _first(3.4e38)), "value-size", "size 3.4e+38"),
    Attack(
        "a flood of denormals",
        filled(Q0, lambda n: floats(*[1e-40] * n)),
        "denormals",
        "512 of 512 values below 2^-126",
    ),
    Attack("an untrained adapter", _each("lora_B", lambda r, c: [0.0] * (r * c)), "all-zero", ""),
    Attack("factors that cancel", _cancelling, "all-zero", "zero in every layer"),
    Attack(
        "an update that rounding loses",
        _each("lora_B", lambda r, c: [1e-12] * (r * c)),
        "all-zero",
        "zero in every layer",
    ),
    Attack(
        "an update that replaces the base",
        filled(Q0, lambda n: floats(*[999.0] * n)),
        "norm",
        "times the",
    ),
)

ATTACKS = (*FILES, *CONFIGURATION, *HEADER, *FIT, *VALUES)
