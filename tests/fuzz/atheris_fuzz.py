"""Coverage-guided fuzzing of one parser: `python tests/fuzz/atheris_fuzz.py PARSER SECONDS`.

Needs the package atheris, which only this driver uses; without arguments it lists the parsers.
Every input is tried as it is; if it can be read as a seed, also as a change of a valid document.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2]))

import atheris  # type: ignore[import-not-found,unused-ignore]

with atheris.instrument_imports(include=["ledger", "compose", "attribution", "node"]):
    from ledger.errors import PnodeError
    from tests.fuzz.mutation import mutate_bytes, mutate_json
    from tests.fuzz.parsers import PARSERS, Parser


def fuzz(parser: Parser, data: bytes) -> None:
    """Parse three readings of an input; what is not a PnodeError is a finding."""
    random = Random(data)
    document = random.choice(parser.documents)
    inputs = [data, mutate_bytes(document, random)]
    if parser.is_json:
        inputs.append(mutate_json(document, random))
    for each in inputs:
        try:
            parser.parse(each)
        except PnodeError:
            continue


def main() -> None:
    """Run one parser for some seconds."""
    named = {parser.name: parser for parser in PARSERS}
    if len(sys.argv) != 3 or sys.argv[1] not in named:
        sys.exit(f"usage: atheris_fuzz.py PARSER SECONDS, PARSER one of {', '.join(named)}")
    parser = named[sys.argv[1]]
    options = [f"-max_total_time={int(sys.argv[2])}", "-rss_limit_mb=2048", "-timeout=10"]
    atheris.Setup([sys.argv[0], *options], lambda data: fuzz(parser, data))
    atheris.Fuzz()


main()
