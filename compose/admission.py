"""What an adapter must be before anything opens it: every check, with its limit, in one place.

`CHECKS` is the list. A check that fails is an `UnfitAdapterError` whose code is `unfit-adapter.`
and the name of the check, exit code 7. Nothing here reads anything: files are looked at in
`compose.adapter_files`, the configuration in `compose.adapter_config`, the header in
`compose.header`, numbers in `compose.values`, and how all of it fits together in
`compose.adapter`. Base models share the checks of files and headers, with the code `unfit-base.`.

One more thing is looked at and never refused: whether an adapter is a near copy of another one,
see `compose.similarity`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
README: Final = "README.md"
CARD: Final = "card.json"

MAX_CONFIG_BYTES: Final = 64 * KIB
MAX_OPTIONAL_BYTES: Final = MIB
MAX_WEIGHTS_BYTES: Final = GIB
MAX_ENTRIES: Final = 10_000
MAX_JSON_DEPTH: Final = 16

MAX_HEADER_BYTES: Final = MIB
MAX_TENSOR_NAME: Final = 256
MAX_DIMENSIONS: Final = 8
DTYPES: Final = ("F32", "F16", "BF16")

MAX_TEXT: Final = 4096
MAX_RANK: Final = 256
MAX_ALPHA: Final = 2**20
MIN_SCALE, MAX_SCALE = 2.0**-10, 2.0**10

MAX_VALUE: Final = 1024.0
DENORMAL: Final = 2.0**-126
"""Below it a float32 loses precision, and many processors become a hundred times slower."""
MAX_DENORMAL_SHARE: Final = 0.01
MAX_RELATIVE_NORM: Final = 8.0
"""Cap on ||s*B*A||_F / ||W||_F: beyond it an adapter replaces the base instead of adapting it."""
MAX_RELATIVE_SPECTRAL_NORM: Final = 64.0
"""Cap on the largest singular value of s*B*A over the root mean square of those of W."""
MIN_RELATIVE_NORM: Final = 2.0**-24
"""An update below this share of the weight is lost when the sum is rounded to float32."""
MIN_PRODUCT: Final = 2.0**-20
"""||B*A||_F below this share of ||B||_F ||A||_F is rounding: the factors cancel each other."""


@dataclass(frozen=True, slots=True)
class Check:
    """What a check requires, and its limit in words ("-" where there is nothing to measure)."""

    rule: str
    limit: str = "-"


FILES: Final = {
    "missing-file": Check(f"{CONFIG} and {WEIGHTS} are there"),
    "unknown-file": Check(
        f"nothing else is there but {README} and {CARD}; no folders and no archives",
        f"{MAX_ENTRIES} entries are looked at",
    ),
    "pickle": Check("no file is a pickle, by its name or by its first bytes"),
    "executable": Check("no file is a program or a script, by its name or by its first bytes"),
    "hidden-file": Check("no name begins with a dot"),
    "file-name": Check(
        "names work on every system: no separator, drive or control character, valid UTF-8",
        "255 bytes",
    ),
    "case-collision": Check("no two names differ only in capitals"),
    "link": Check("no file is a symbolic link"),
    "special-file": Check("every file is a regular one: no pipe, device, socket or folder"),
    "file-size": Check(
        "no file is larger than its limit, before anything of it is read",
        f"{CONFIG} {MAX_CONFIG_BYTES // KIB} KiB, {WEIGHTS} {MAX_WEIGHTS_BYTES // GIB} GiB, "
        f"others {MAX_OPTIONAL_BYTES // MIB} MiB",
    ),
    "sparse-file": Check("the weights have no hole that was never written"),
    "unreadable": Check("every file can be read, and does not change meanwhile"),
    "card": Check(f"{README} is UTF-8 text, {CARD} a JSON object"),
    "json": Check(
        "JSON is an object in UTF-8, no key twice, no NaN or infinity",
        f"{MAX_JSON_DEPTH} levels deep",
    ),
}
HEADER: Final = {
    "header-size": Check(
        "the header of the weights fits its limit and the file",
        f"2 bytes to {MAX_HEADER_BYTES // MIB} MiB",
    ),
    "header-json": Check("the header is a JSON object of whole numbers and texts"),
    "padding": Check("it is padded only to align the tensors", "7 spaces"),
    "metadata": Check("its metadata map text to text"),
    "duplicate-name": Check("no tensor, and no key within one, is there twice"),
    "tensor-name": Check(
        "tensor names are letters, digits, '_' and '-', joined by dots",
        f"{MAX_TENSOR_NAME} characters",
    ),
    "tensor-entry": Check("a tensor has dtype, shape and data_offsets and nothing else"),
    "dtype": Check("tensors are floats that PEFT writes", ", ".join(DTYPES)),
    "shape": Check(
        "A is [r, in] and B is [out, r], as rank and base have it; no tensor is empty",
        "2 dimensions",
    ),
    "offsets": Check(
        "tensors follow one another in the order listed: no overlap, no hole, none out of range"
    ),
    "alignment": Check("tensors begin at a multiple of the size of their numbers"),
    "truncated": Check("the file holds all the bytes that its header lists"),
    "trailing-bytes": Check("and not one more"),
    "no-tensors": Check("there is at least one tensor"),
}
CONFIGURATION: Final = {
    "method": Check("`peft_type` is that of plain LoRA", "LORA"),
    "task": Check("`task_type` is text generation or null", "CAUSAL_LM"),
    "code-import": Check(
        "nothing names code to import: `auto_mapping`, `megatron_core`, `trust_remote_code`, ..."
    ),
    "base-override": Check(
        "`base_model_name_or_path` and `revision` are short texts, and do not name another base "
        "that is known here",
        f"{MAX_TEXT} characters",
    ),
    "initialisation": Check(
        "`init_lora_weights` is true or false; PiSSA, OLoRA and others change the base"
    ),
    "dropout": Check("`lora_dropout` is a share; it plays no part", "0 up to 1"),
    "rank": Check("`r` is a whole number", f"1 to {MAX_RANK}"),
    "alpha": Check("`lora_alpha` is a number", "above 0, at most 2^20"),
    "scale": Check(
        "alpha/r, or alpha/sqrt(r) with `use_rslora`, neither drowns the base nor vanishes",
        "2^-10 to 2^10",
    ),
    "targets": Check("`target_modules` is a list of linear layers of the decoder, none twice"),
    "pattern": Check(
        "no pattern or exception chooses layers, ranks or alphas: `target_modules` as text, "
        "`rank_pattern`, `alpha_pattern`, `layers_pattern`, `layers_to_transform`, "
        "`exclude_modules`"
    ),
    "dora": Check("`use_dora` is off"),
    "bias": Check("`bias` is none and `lora_bias` off"),
    "modules-to-save": Check("`modules_to_save` is empty"),
    "feature": Check("every other field of PEFT has the value that plain LoRA gives it"),
    "unknown-field": Check("a field that PEFT 0.21.2 does not have is null, false or empty"),
}
FIT: Final = {
    "unplaced-tensor": Check("every tensor is lora_A or lora_B of a targeted layer of the base"),
    "missing-tensor": Check("every targeted layer has both in every decoder layer"),
    "vocabulary": Check(
        "the vocabulary stays: no tokenizer file, no embedding or output layer, "
        "`trainable_token_indices` empty"
    ),
}
VALUES: Final = {
    "not-finite": Check("every number, and every product that is used, is finite"),
    "value-size": Check("no number is too large", f"{MAX_VALUE:g}"),
    "denormals": Check(
        "few numbers are so small that arithmetic with them is slow or lost",
        f"{MAX_DENORMAL_SHARE:.0%} of a tensor below 2^-126",
    ),
    "all-zero": Check(
        "the update changes at least one weight",
        "2^-24 of the norm of the weight; 2^-20 of that of A times that of B",
    ),
    "norm": Check(
        "the norm of the update, scale times B A, is bounded for every layer",
        f"{MAX_RELATIVE_NORM:g} times that of the weight",
    ),
    "spectral-norm": Check(
        "so is its largest singular value",
        f"{MAX_RELATIVE_SPECTRAL_NORM:g} times the root mean square of those of the weight",
    ),
}

CHECKS: Final[Mapping[str, Check]] = {**FILES, **HEADER, **CONFIGURATION, **FIT, **VALUES}
"""Every check by name, in the order in which they are made."""
