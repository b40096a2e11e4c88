"""Whether documents are valid CycloneDX, by the schemas in cyclonedx-python-lib.

Asked as a list of [version, text]; answered with null, or what is wrong, for each.
"""

from __future__ import annotations

import json
import sys
from functools import cache

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


@cache
def validator(version: str) -> JsonStrictValidator:
    return JsonStrictValidator(SchemaVersion.from_version(version))


def verdict(version: str, text: str) -> str | None:
    error = validator(version).validate_str(text)
    return None if error is None else str(error.data)[:500]


print(json.dumps([verdict(version, text) for version, text in json.load(sys.stdin)]))
