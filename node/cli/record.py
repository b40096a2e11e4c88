"""The JSON form of results: from frozen dataclasses to one canonical, stable value."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HIDDEN = frozenset({"raw", "exit_code"})
"""Fields of results that steer the command line and are no part of its data."""


def to_record(value: Any) -> Any:
    """Return a result as JSON types: objects, lists, text, integers, booleans and null."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.name not in HIDDEN]
        return {name: to_record(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): to_record(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [to_record(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(to_record(item) for item in value)
    return str(value)


def to_json(value: Any, schema: str | None) -> str:
    """Return one line of JSON with sorted keys; objects say which schema they follow."""
    record = to_record(value)
    if schema is not None and isinstance(record, dict):
        record = record | {"schema": schema}
    return json.dumps(record, sort_keys=True, ensure_ascii=True, allow_nan=False)
