"""The files of an adapter: two that are needed, two that may be there, and nothing else.

Names and kinds are judged before anything is opened, and only regular files are opened. A pickle
runs code when it is read, so one is refused by its name, whatever else is there: scanners of
pickles are bypassed every year (modelscan and picklescan have long lists of advisories).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePath

from compose.admission import (
    CARD,
    CONFIG,
    MAX_CONFIG_BYTES,
    MAX_OPTIONAL_BYTES,
    MAX_WEIGHTS_BYTES,
    README,
    WEIGHTS,
)
from compose.errors import UnfitAdapterError
from compose.untrusted import (
    list_entries,
    open_regular,
    parse_json_object,
    read_regular,
    shown,
)
from ledger.errors import UnsafeNameError
from ledger.unixfs import check_name

NEEDED = (CONFIG, WEIGHTS)
OPTIONAL = (README, CARD)

_PICKLES = frozenset({
    ".bin", ".ckpt", ".dill", ".joblib", ".mar", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth",
})  # fmt: skip
_PROGRAMS = frozenset({
    ".bash", ".bat", ".cmd", ".com", ".dll", ".dylib", ".exe", ".ipynb", ".jar", ".js", ".lnk",
    ".mjs", ".msi", ".ps1", ".py", ".pyc", ".pyd", ".pyo", ".scr", ".sh", ".so", ".vbs", ".wasm",
})  # fmt: skip
_FIRST_BYTES = (b"#!", b"\x7fELF", b"\xfe\xed\xfa", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_VOCABULARY = frozenset({
    "added_tokens.json", "merges.txt", "special_tokens_map.json", "spiece.model", "tokenizer.json",
    "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt",
})  # fmt: skip


def check_files(directory: Path, *, what: str) -> None:
    """Judge every name in a directory, and the small files that hold no numbers.

    Raises:
        NotFoundError: if there is no such directory.
        UnfitAdapterError: naming the file that is missing or not accepted.
    """
    entries = list_entries(directory, what=what, error=UnfitAdapterError)
    _check_names(entries, what)
    _check_kinds(entries, what)
    for name in NEEDED:
        if name not in entries:
            raise UnfitAdapterError(f"{what}: {name} is missing", check="missing-file")
    for name in OPTIONAL:
        if name in entries:
            _check_card(directory / name, what)


def read_config(directory: Path, *, what: str) -> dict[str, object]:
    """Return the configuration as parsed JSON.

    Raises:
        UnfitAdapterError: if it is too large or not acceptable JSON.
    """
    data = read_regular(
        directory / CONFIG, what=what, max_bytes=MAX_CONFIG_BYTES, error=UnfitAdapterError
    )
    return parse_json_object(data, what=f"{what}: {CONFIG}", error=UnfitAdapterError)


def check_dense(directory: Path, *, what: str) -> None:
    """Require that every byte of the weights was written: a hole makes a gigabyte of nothing.

    Raises:
        UnfitAdapterError: if there is a hole, on a system that tells.
    """
    seek_hole = getattr(os, "SEEK_HOLE", None)
    if seek_hole is None:
        return
    with open_regular(
        directory / WEIGHTS, what=what, max_bytes=MAX_WEIGHTS_BYTES, error=UnfitAdapterError
    ) as (file, size):
        # There always is a hole where the file ends; a file system without holes says just that.
        hole = os.lseek(file.fileno(), 0, seek_hole) if size else size
    if hole < size:
        raise UnfitAdapterError(
            f"{what}: {WEIGHTS} has a hole at byte {hole} of {size}",
            hint="save the adapter again, or copy it with 'cp --sparse=never'",
            check="sparse-file",
        )


def _check_names(entries: Mapping[str, int], what: str) -> None:
    seen: dict[str, str] = {}
    for name in entries:
        try:
            check_name(name)
        except UnsafeNameError:
            raise UnfitAdapterError(
                f"{what}: file name {shown(name)} does not work, or is a path, on other systems",
                hint="rename or remove the file",
                check="file-name",
            ) from None
        if name.startswith("."):
            raise UnfitAdapterError(
                f"{what}: file {shown(name)} is hidden", hint="remove it", check="hidden-file"
            )
        twin = seen.setdefault(name.casefold(), name)
        if twin != name:
            raise UnfitAdapterError(
                f"{what}: files {shown(twin)} and {shown(name)} are one file on other systems",
                hint="remove one of them",
                check="case-collision",
            )


def _check_kinds(entries: Mapping[str, int], what: str) -> None:
    for name, mode in entries.items():
        if stat.S_ISLNK(mode):
            raise UnfitAdapterError(
                f"{what}: {shown(name)} is a symbolic link",
                hint="copy the file itself there",
                check="link",
            )
        if name in (*NEEDED, *OPTIONAL):
            if not stat.S_ISREG(mode):
                raise UnfitAdapterError(
                    f"{what}: {name} is not a regular file", check="special-file"
                )
        elif stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            _refuse(name, entries, what)
        else:
            raise UnfitAdapterError(
                f"{what}: {shown(name)} is not a regular file", check="special-file"
            )


def _refuse(name: str, entries: Mapping[str, int], what: str) -> None:
    suffix = PurePath(name).suffix.lower()
    if suffix in _PICKLES:
        alone = "" if WEIGHTS in entries else "weights only as "
        raise UnfitAdapterError(
            f"{what}: {alone}a pickle ({shown(name)}), which can run code when it is opened",
            hint=f"remove it; save_pretrained writes {WEIGHTS} by default",
            check="pickle",
        )
    if suffix in _PROGRAMS:
        raise UnfitAdapterError(
            f"{what}: file {shown(name)} is a program", hint="remove it", check="executable"
        )
    if name.casefold() in _VOCABULARY:
        raise UnfitAdapterError(
            f"{what}: file {shown(name)} could change the vocabulary of the base",
            hint="remove it; the tokenizer is that of the base",
            check="vocabulary",
        )
    raise UnfitAdapterError(
        f"{what}: file {shown(name)} is not allowed",
        hint=f"an adapter is {CONFIG} and {WEIGHTS}, optionally {' and '.join(OPTIONAL)}",
        check="unknown-file",
    )


def _check_card(path: Path, what: str) -> None:
    data = read_regular(path, what=what, max_bytes=MAX_OPTIONAL_BYTES, error=UnfitAdapterError)
    if data.startswith(_FIRST_BYTES):
        raise UnfitAdapterError(
            f"{what}: {path.name} is a program under another name", check="executable"
        )
    if path.name == CARD:
        parse_json_object(data, what=f"{what}: {CARD}", error=UnfitAdapterError)
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        data = b"\0"
    if b"\0" in data:
        raise UnfitAdapterError(
            f"{what}: {path.name} is not UTF-8 text",
            hint="save it as UTF-8, or remove it",
            check="card",
        )
