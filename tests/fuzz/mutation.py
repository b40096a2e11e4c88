"""Turning valid documents into almost valid ones: by bytes, and by the values in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

_PIECES = [
    *(b"\x00", b"\n", b"\n\n", b"\r", b" ", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":"),
    *(b"=", b"+", b"-", b"/", b".", b"0", b"9", b"A", b"\x7f", b"\xff", b"\xc2\x85"),
    *("\u2028".encode(), "\u0660".encode(), "\u20ac".encode(), b"\xed\xa0\x80", b"\xf4\x90"),
    *(b"1e999", b"NaN", b"-0", b"18446744073709551616", b"null", b"true", b"[" * 100),
]
_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 0.5, 1e300),
    *(
        "",
        " ",
        "x",
        "\0",
        "\ud800",
        "\u202e",
        "0",
        "-0",
        "1/0",
        "1/2",
        "1e9",
        "..",
        "/",
        "x" * 5000,
    ),
    *([], {}, [[]], [{}], {"": 0}, [None], {"x": {"x": {}}}, [0] * 2000, "did:key:z", "b" * 59),
]


def mutate_bytes(document: bytes, random: Random) -> bytes:
    """Change one to four places."""
    data = document
    for _ in range(random.choice([1, 1, 2, 4])):
        at = random.randrange(len(data) + 1)
        end = min(len(data), at + random.choice([1, 1, 2, 8, 64]))
        match random.randrange(7):
            case 0:
                data = data[:at] + random.choice(_PIECES) + data[at:]
            case 1:
                data = data[:at] + data[end:]
            case 2:
                data = data[:at] + random.choice(_PIECES) + data[end:]
            case 3:
                data = data[:at] + data[at:end] * random.choice([2, 2, 50]) + data[end:]
            case 4:
                data = data[:at]
            case 5 if data:
                at = min(at, len(data) - 1)
                changed = data[at] ^ 1 << random.randrange(8)
                data = data[:at] + bytes([changed]) + data[at + 1 :]
            case _:
                start = random.randrange(len(data) + 1)
                data = data[:at] + data[start : start + 40] + data[at:]
    return data


def mutate_json(document: bytes, random: Random) -> bytes:
    """Change values of a JSON document, or of one of its lines, and write it canonically again."""
    head, *rest = document.splitlines(keepends=True)
    lines = [head, *rest]
    number = random.randrange(len(lines)) if _is_json(head) else 0
    text = lines[number] if _is_json(lines[number]) else document
    value = json.loads(text)
    for _ in range(random.choice([1, 1, 2])):
        value = _mutated(value, random)
    written = _write(value)
    if text is document:
        return written
    return b"".join([*lines[:number], written + b"\n", *lines[number + 1 :]])


def _write(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _mutated(value: Any, random: Random) -> Any:
    """Return a value with one change somewhere in it."""
    places = list(_places(value))
    path = random.choice(places)
    change = random.choice([_replace, _replace, _remove, _repeat, _add])
    return _at(value, path, lambda old: change(old, random))


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    yield path
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value[:20])
    for key, item in items:
        yield from _places(item, (*path, key))


def _at(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _at(value[path[0]], path[1:], change)
    return copy


def _replace(value: Any, random: Random) -> Any:
    if isinstance(value, str) and value and random.random() < 0.5:
        return mutate_bytes(value.encode("utf-8", "replace"), random).decode("utf-8", "replace")
    if isinstance(value, int) and random.random() < 0.3:
        return value + random.choice([-1, 1])
    return random.choice(_VALUES)


def _remove(value: Any, random: Random) -> Any:
    if isinstance(value, dict) and value:
        gone = random.choice(list(value))
        return {key: item for key, item in value.items() if key != gone}
    if isinstance(value, list) and value:
        at = random.randrange(len(value))
        return value[:at] + value[at + 1 :]
    return None


def _repeat(value: Any, random: Random) -> Any:
    if isinstance(value, list) and value:
        at = random.randrange(len(value))
        return [*value[:at], *value[at : at + 1] * 2, *value[at + 1 :]]
    if isinstance(value, str):
        return value * 2
    return [value, value]


def _add(value: Any, random: Random) -> Any:
    if isinstance(value, dict):
        names = [*value, "x", "__class__", "\u20ac", "", "__metadata__"]
        return {**value, random.choice(names): random.choice(_VALUES)}
    if isinstance(value, list):
        return [*value, random.choice(_VALUES)]
    return {"x": value}
