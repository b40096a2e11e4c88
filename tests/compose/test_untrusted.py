"""Files and documents of strangers: links, pipes, bombs and surprises are refused in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compose.admission import MAX_ENTRIES, MAX_JSON_DEPTH
from compose.errors import UnfitSuiteError
from compose.untrusted import (
    check_keys,
    list_names,
    nearest_key,
    parse_json_object,
    read_regular,
    shown,
)
from ledger.errors import NotFoundError


def _read(path: Path, max_bytes: int = 10) -> bytes:
    return read_regular(path, what="x", max_bytes=max_bytes, error=UnfitSuiteError)


def test_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    assert _read(path) == b"0123456789"
    with pytest.raises(UnfitSuiteError, match="10 bytes, at most 9"):
        _read(path, 9)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name, reason in {
        "link": "symbolic link",
        "loop": "symbolic link",
        "pipe": "not a regular file",
        "directory": "not a regular file",
    }.items():
        with pytest.raises(UnfitSuiteError, match=reason):
            _read(tmp_path / name)
    with pytest.raises(NotFoundError):
        _read(tmp_path / "nothing")


def test_refused_files_leave_no_descriptor_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(11))
    lowest = os.open(tmp_path, os.O_RDONLY)
    os.close(lowest)
    for name in ("pipe", "large"):
        with pytest.raises(UnfitSuiteError):
            _read(tmp_path / name)
    again = os.open(tmp_path, os.O_RDONLY)
    os.close(again)
    assert again == lowest


def test_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(UnfitSuiteError, match="cannot be read"):
        _read(tmp_path / "f" / "g")
    with pytest.raises(UnfitSuiteError, match="not a directory"):
        list_names(tmp_path / "f", what="x", error=UnfitSuiteError)


def test_directory_with_too_many_entries_is_refused(tmp_path: Path) -> None:
    for number in range(MAX_ENTRIES + 1):
        (tmp_path / str(number)).touch()
    with pytest.raises(UnfitSuiteError, match="more than"):
        list_names(tmp_path, what="x", error=UnfitSuiteError)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":1,"a":1}', "duplicate key 'a'"),
        (b'{"b":{"a":1,"a":1}}', "duplicate key 'a'"),
        (b'{"a":Infinity}', "Infinity"),
        (b'{"a":-1e999}', "out of range"),
        (b"[1]", "not a JSON object"),
        (b"\xff", "not acceptable JSON"),
        (b'{"a":' * 100_000, "not acceptable JSON"),
        (b'{"a":' * 20 + b"1" + b"}" * 20, "nested deeper"),
        (b'{"a":' + b"9" * 10_000 + b"}", "not acceptable JSON"),
    ],
)
def test_json_that_could_surprise_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UnfitSuiteError, match=reason):
        parse_json_object(data, what="x", error=UnfitSuiteError)


def test_json_may_be_as_deep_as_the_limit() -> None:
    data = b'{"a":' * MAX_JSON_DEPTH + b"1.5" + b"}" * MAX_JSON_DEPTH
    assert parse_json_object(data, what="x", error=UnfitSuiteError)


def test_keys() -> None:
    check_keys({"a": 1}, ("a", "b"), what="x", error=UnfitSuiteError, required=("a",))
    with pytest.raises(UnfitSuiteError, match="unknown key 'c'"):
        check_keys({"c": 1}, ("a",), what="x", error=UnfitSuiteError)
    with pytest.raises(UnfitSuiteError, match="'a' is missing"):
        check_keys({}, ("a",), what="x", error=UnfitSuiteError, required=("a",))
    assert nearest_key("licence", ("license", "name")) == "did you mean 'license'?"


def test_stranger_cannot_write_to_the_terminal() -> None:
    assert shown("\x1b[2J") == r"'\x1b[2J'"
    assert len(shown("x" * 1000)) == 80
