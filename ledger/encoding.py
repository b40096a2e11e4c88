"""Strict, canonical text encodings: every value has exactly one accepted form.

Canonical JSON is the profile of RFC 8785 (JCS) for documents with ASCII keys and without
floating-point numbers: keys sorted, no white space, UTF-8, integers within +-(2^53 - 1).
Numbers that are not integers travel as decimal strings or fractions ("17/24"). Base64 is RFC 4648
section 4 with padding. Whatever could be written in two ways is refused in all but one.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NoReturn

from ledger.errors import DuplicateKeyError, MalformedError

MAX_SAFE_INTEGER = 2**53 - 1
MAX_JSON_BYTES = 64 * 1024 * 1024
MAX_JSON_DEPTH = 32
_SEARCHED_AT_ONCE = 64

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-f]{2})*", re.ASCII)
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def canonical_json(value: Any) -> bytes:
    """Return the one accepted encoding of a JSON value.

    Raises:
        MalformedError: for floats, integers past 2^53 - 1, non-ASCII keys, lone surrogates,
            or a value that JSON does not have.
    """
    _check(value, 0)
    return _encode(value)


def parse_json(data: bytes, *, what: str, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Parse JSON strictly: no duplicate keys, no floats, bounded size and depth.

    Args:
        data: the bytes as received.
        what: named in the error, for example "statement of entry bafk...".
        max_bytes: refuse anything longer before looking at it.

    Raises:
        MalformedError: if the bytes are not such a document.
    """
    if len(data) > max_bytes:
        raise MalformedError(f"{what}: {len(data)} bytes, at most {max_bytes} are accepted")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
        _check(value, 0)
    except DuplicateKeyError as error:
        raise error.about(f"{what}: not acceptable JSON") from None
    except (ValueError, RecursionError, MalformedError) as error:
        raise MalformedError(f"{what}: not acceptable JSON ({error})") from None
    return value


def parse_canonical_json(data: bytes, *, what: str, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Parse JSON and require that the bytes are its canonical encoding."""
    if len(data) <= max_bytes:
        try:
            return _parse_plain(data)
        except ValueError:
            pass  # rare or wrong: the long way decides, and says why
    value = parse_json(data, what=what, max_bytes=max_bytes)
    if _encode(value) != data:
        raise MalformedError(f"{what}: JSON is not in canonical form")
    return value


def _parse_plain(data: bytes) -> Any:
    """Parse a document whose bytes show that every rule holds, without looking at each value.

    Encoding the parsed value gives the bytes back, so no key is there twice, none is out of order
    and nothing is escaped that need not be. The bytes are ASCII, so keys are ASCII and no text
    holds a surrogate. There are no more brackets than levels allowed. The hooks look at numbers.

    Raises:
        ValueError: if the bytes do not show that; they may still be acceptable.
    """
    if data.count(b"{") + data.count(b"[") > MAX_JSON_DEPTH:
        raise ValueError
    text = data.decode("ascii")
    value, end = _DECODER.raw_decode(text)
    if end != len(text) or _ENCODER.encode(value) != text:
        raise ValueError
    return value


def _safe_integer(text: str) -> int:
    if len(text) > 17:
        raise ValueError
    value = int(text)
    if not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        raise ValueError
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise DuplicateKeyError("duplicate key")
    return result


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"number {text[:20]} is not an integer")


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_DECODER = json.JSONDecoder(
    parse_int=_safe_integer, parse_float=_refuse_number, parse_constant=_refuse_number
)


def _encode(value: Any) -> bytes:
    return _utf8(_ENCODER.encode(value))


def _check(value: Any, depth: int) -> None:
    if depth > MAX_JSON_DEPTH:
        raise MalformedError(f"nested deeper than {MAX_JSON_DEPTH} levels")
    if isinstance(value, str):
        _utf8(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise MalformedError("object keys must be ASCII text")
            _check(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, depth + 1)
    else:
        _check_scalar(value)


def _check_scalar(value: Any) -> None:
    if value is None or isinstance(value, bool):
        return
    if not isinstance(value, int):
        raise MalformedError(f"{type(value).__name__} has no canonical JSON form")
    if abs(value) > MAX_SAFE_INTEGER:
        raise MalformedError("integer outside +-(2^53 - 1)")


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedError("text contains a lone surrogate") from None


def encode_base64(data: bytes) -> str:
    """Return standard padded base64."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str, *, what: str, length: int | None = None) -> bytes:
    """Decode canonical padded base64, optionally of a fixed number of bytes.

    Raises:
        MalformedError: unless encoding the result gives `text` back.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError(f"{what}: not base64") from None
    if encode_base64(data) != text:
        raise MalformedError(f"{what}: base64 is not canonical")
    if length is not None and len(data) != length:
        raise MalformedError(f"{what}: {len(data)} bytes where {length} are needed")
    return data


def search_base64(texts: Iterable[bytes], word: bytes) -> Iterator[bytes]:
    """Yield the texts that may hold base64 of something that contains a word.

    None of them is left out; if the word is short, some others are yielded too. Nothing is
    decoded, and texts are searched many at once, which takes a fraction of the time.
    """
    # How the word looks inside base64, for each of the three places it can begin at.
    marks = []
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + word)
        marks.append(encoded[-(-shift * 8 // 6) : (shift + len(word)) * 8 // 6])
    iterator = iter(texts)
    while part := list(islice(iterator, _SEARCHED_AT_ONCE)):
        together = b"\n".join(part)
        if any(mark in together for mark in marks):
            yield from (text for text in part if any(mark in text for mark in marks))


def decode_hex(text: str, *, what: str, length: int) -> bytes:
    """Decode lower-case hexadecimal of exactly `length` bytes."""
    if not isinstance(text, str) or len(text) != 2 * length or not _HEX.fullmatch(text):
        raise MalformedError(f"{what}: not {length} bytes of lower-case hexadecimal")
    return bytes.fromhex(text)


def parse_decimal(text: str, *, what: str) -> int:
    """Parse an unsigned decimal without sign or leading zeros, below 2^63."""
    if not _DECIMAL.fullmatch(text) or int(text) >= 2**63:
        raise MalformedError(f"{what}: not a plain decimal number")
    return int(text)


def encode_base58(data: bytes) -> str:
    """Return base58btc, as multibase `z` uses it."""
    number = int.from_bytes(data, "big")
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + digits


def decode_base58(text: str, *, what: str, max_length: int = 128) -> bytes:
    """Decode base58btc.

    Raises:
        MalformedError: for a foreign character or a text longer than `max_length`.
    """
    if not text or len(text) > max_length or any(char not in _BASE58 for char in text):
        raise MalformedError(f"{what}: not base58")
    number = 0
    for char in text:
        number = number * 58 + _BASE58.index(char)
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
