"""Reading files and documents that a stranger wrote, without trusting any of it.

Only regular files are opened, never through a symbolic link, never beyond a stated size; JSON has
no duplicate keys, no NaN and bounded depth; tables have no unknown keys. Each function raises the
error class its caller names, so that the person reads whether an adapter, a base or a suite is at
fault, and names the check of `compose.admission` that failed.
"""

from __future__ import annotations

import difflib
import errno
import json
import math
import os
import stat
import tomllib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from compose.admission import MAX_ENTRIES, MAX_JSON_DEPTH
from compose.errors import UnfitError
from ledger.errors import NotFoundError, PnodeError

# O_NONBLOCK keeps a named pipe from hanging the open; fstat then refuses it. Windows has neither.
_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


@contextmanager
def open_regular(
    path: Path, *, what: str, max_bytes: int, error: type[UnfitError]
) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file that is not a symbolic link; yields the file and its size.

    Raises:
        NotFoundError: if there is no such file.
        PnodeError: of class `error`, if it is a link, no regular file, too large or unreadable.
    """
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except OSError as cause:
        if cause.errno == errno.ENOENT:
            raise NotFoundError(f"{what}: no file {path}") from None
        if cause.errno in (errno.ELOOP, errno.EMLINK):
            raise error(
                f"{what}: {path.name} is a symbolic link",
                hint="copy the file itself there",
                check="link",
            ) from None
        raise error(
            f"{what}: {path.name} cannot be read ({cause.strerror})", check="unreadable"
        ) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise error(f"{what}: {path.name} is not a regular file", check="special-file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > max_bytes:
            raise error(
                f"{what}: {path.name} has {status.st_size} bytes, at most {max_bytes} are accepted",
                check="file-size",
            )
        yield file, status.st_size


def read_regular(path: Path, *, what: str, max_bytes: int, error: type[UnfitError]) -> bytes:
    """Return the bytes of a small regular file.

    Raises:
        NotFoundError: if there is no such file.
        PnodeError: of class `error`, if it is not a regular file of at most `max_bytes`.
    """
    with open_regular(path, what=what, max_bytes=max_bytes, error=error) as (file, _):
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise error(
            f"{what}: {path.name} grew past {max_bytes} bytes while it was read", check="unreadable"
        )
    return data


def list_names(directory: Path, *, what: str, error: type[UnfitError]) -> list[str]:
    """Return the sorted names of everything in a directory, hidden entries included.

    Raises:
        NotFoundError: if there is no such directory.
        PnodeError: of class `error`, if it is not a directory or holds too many entries.
    """
    return list(list_entries(directory, what=what, error=error))


def list_entries(directory: Path, *, what: str, error: type[UnfitError]) -> dict[str, int]:
    """Return the mode of everything in a directory by sorted name; links are not followed.

    Raises:
        NotFoundError: if there is no such directory.
        PnodeError: of class `error`, if it is not a directory or holds too many entries.
    """
    modes: dict[str, int] = {}
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                modes[entry.name] = entry.stat(follow_symlinks=False).st_mode
                if len(modes) > MAX_ENTRIES:
                    raise error(
                        f"{what}: more than {MAX_ENTRIES} entries in {directory.name}",
                        check="unknown-file",
                    )
    except FileNotFoundError:
        raise NotFoundError(f"{what}: no directory {directory}") from None
    except NotADirectoryError:
        raise error(f"{what}: {directory} is not a directory", check="special-file") from None
    except OSError as cause:
        raise error(
            f"{what}: {directory} cannot be read ({cause.strerror})", check="unreadable"
        ) from None
    return dict(sorted(modes.items()))


def parse_json_object(data: bytes, *, what: str, error: type[UnfitError]) -> dict[str, Any]:
    """Parse a JSON object as configuration files need it: floats allowed, surprises not.

    Raises:
        PnodeError: of class `error`, for duplicate keys, NaN or infinity, deep nesting, bytes
            that are not UTF-8, or a value that is not an object.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_float=_finite,
            parse_constant=_refuse_constant,
        )
        _check_depth(value, 0)
    except (ValueError, RecursionError) as cause:
        raise error(f"{what}: not acceptable JSON ({cause})", check="json") from None
    if not isinstance(value, dict):
        raise error(f"{what}: not a JSON object", check="json")
    return value


def parse_toml(data: bytes, *, what: str, error: type[PnodeError]) -> dict[str, Any]:
    """Parse TOML; the standard library already refuses duplicate keys.

    Raises:
        PnodeError: of class `error`, with the line and column where parsing stopped.
    """
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as cause:
        raise error(f"{what}: not acceptable TOML ({cause})") from None


def check_keys(
    table: Mapping[str, Any],
    known: Collection[str],
    *,
    what: str,
    error: type[PnodeError],
    required: Collection[str] = (),
) -> None:
    """Require that a table has only known keys and all required ones.

    Raises:
        PnodeError: of class `error`, naming the key and the nearest known one.
    """
    for key in table:
        if key not in known:
            raise error(f"{what}: unknown key {shown(key)}", hint=nearest_key(key, known))
    missing = sorted(set(required) - set(table))
    if missing:
        raise error(f"{what}: key '{missing[0]}' is missing")


def nearest_key(key: str, known: Collection[str]) -> str:
    """Return a hint that names the known key most like `key`, or all of them."""
    near = difflib.get_close_matches(key[:80], known, n=1, cutoff=0.5)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known keys: {', '.join(sorted(known))}"


def shown(value: object) -> str:
    """Return a value from a stranger's file for an error message: escaped and short."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"duplicate key {shown(twice)}")
    return result


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number {text[:20]} is out of range")
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _check_depth(value: Any, depth: int) -> None:
    if depth > MAX_JSON_DEPTH:
        raise ValueError(f"nested deeper than {MAX_JSON_DEPTH} levels")
    if isinstance(value, dict):
        for item in value.values():
            _check_depth(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_depth(item, depth + 1)
