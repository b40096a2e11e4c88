"""The attribution record (`pnode.attribution-record/1`): values that follow from a table.

Canonical JSON without floating-point numbers. Exact quantities are fraction strings in lowest
terms; interval ends and half-widths are decimals of six places, rounded outwards (`quantile`).
Everything but names, ids and the stated reason is a function of the coalition table, so
`recompute` rebuilds the record from the table and compares it field by field, without torch.

`value` is in the unit of v, mean accuracy; `value_items` is in items solved, all suites together;
`share` is value / (v(N) - v({})), null if that is zero. `rank` holds the best (`lowest`) and worst
(`highest`) rank number that pairwise comparisons at `confidence` leave open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, cast

from attribution.analysis import (
    FROM_PAIRS,
    Analysis,
    Estimator,
    EstimatorName,
    PlayerValue,
    analyse,
)
from attribution.errors import RecomputeError, RecordError
from attribution.evidence import Evidence
from attribution.game import EMPTY_COALITION, GAME_NAME
from attribution.interval import Interval
from attribution.permutation import MAX_WORK
from attribution.schema import RECORD_SHAPE, SCHEMA
from attribution.shape import check_shape
from ledger.cid import RAW, Cid
from ledger.encoding import canonical_json, parse_canonical_json
from ledger.errors import MalformedError, PnodeError

CONTROL_PASSES: Final = 16
MAX_RECORD_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Subject:
    """What a record is about, beside the table: ids and words that cannot be computed.

    Attributes:
        composition: entry id of the composition.
        authors: the author of every player, by contribution id.
        semantics: how a coalition's system is made, in one sentence.
        table_cid: where the encoded table can be fetched; by default its raw CID.
    """

    composition: str
    authors: Mapping[str, str]
    semantics: str
    table_cid: Cid | None = None


def build_record(table: Evidence, analysis: Analysis, subject: Subject) -> dict[str, Any]:
    """Return the record of an analysis, ready to encode.

    Raises:
        RecordError: if an author is missing, or a field cannot be published, or it would take
            others too much work to recompute.
    """
    encoded = table.encode()
    estimator = analysis.estimator
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "composition": subject.composition,
        "lock": str(table.lock),
        "game": {
            "value": GAME_NAME,
            "semantics": subject.semantics,
            "base": EMPTY_COALITION,
            "suites": [
                {"id": suite.id, "name": suite.name, "items": suite.items} for suite in table.suites
            ],
        },
        "players": [
            {"contribution": player, "author": _author(subject, player)} for player in table.players
        ],
        "identical": [list(group) for group in analysis.identical],
        "estimator": {
            "name": estimator.name,
            "version": estimator.version,
            "reason": estimator.reason,
            "seed": estimator.seed,
            "permutations": 2 * (estimator.pairs or 0) if estimator.name == "permutation" else None,
            "pairs": estimator.pairs if estimator.name in FROM_PAIRS else None,
        },
        "table": {
            "cid": str(subject.table_cid or Cid.of(encoded)),
            "sha256": hashlib.sha256(encoded).hexdigest(),
            "root": table.root().hex(),
            "schema": table.schema,
            "coalitions": table.evaluated,
        },
        "confidence": analysis.confidence,
        "values": [_value(worth, _author(subject, worth.player)) for worth in analysis.values],
        "groups": [list(group) for group in analysis.groups],
        "efficiency_gap": str(analysis.efficiency_gap),
        "checks": [
            {"name": check.name, "verdict": check.verdict, "detail": check.detail}
            for check in analysis.checks
        ],
    }
    _check_form(record)
    return record


def encode(record: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes of a record."""
    return canonical_json(dict(record))


def parse_record(data: bytes) -> dict[str, Any]:
    """Parse a published record.

    Raises:
        RecordError: unless it is canonical JSON of exactly this schema, and can be recomputed
            with bounded work.
    """
    try:
        record = parse_canonical_json(data, what="attribution record", max_bytes=MAX_RECORD_BYTES)
    except MalformedError as error:
        raise RecordError(error.message) from None
    _check_form(record)
    return cast("dict[str, Any]", record)


def recompute(record: Mapping[str, Any], table: Evidence) -> None:
    """Compute everything in a record again from the table and compare exactly.

    Raises:
        RecordError: if it has another schema or would take too much work.
        RecomputeError: naming the first contribution, or else the first field, that differs.
        MissingCoalitionsError: if the table lacks a coalition that the estimator needs.
    """
    _check_form(record)
    _check_same_game(record, table)
    try:
        analysis = analyse(
            table,
            _estimator(record["estimator"]),
            confidence=record["confidence"],
            identical=record["identical"],
        )
    except MalformedError as error:
        raise RecomputeError(f"attribution record: {error.message}") from None
    _check_values(record["values"], analysis)
    rebuilt = build_record(table, analysis, _subject(record))
    for path, published, computed in _differences(dict(record), rebuilt, ""):
        raise RecomputeError(
            f"attribution record: {path} is {published}, the table gives {computed}"
        )


def _check_form(record: Any) -> None:
    """Require the schema, and that nobody is made to recompute for hours."""
    check_shape(record, RECORD_SHAPE, "attribution record")
    orders, pairs = (record["estimator"][name] or 0 for name in ("permutations", "pairs"))
    players = len(record["players"])
    items = sum(suite["items"] for suite in record["game"]["suites"])
    # Fitting the control of stratified values costs some passes over pairs times players squared.
    work = orders * players * items + 2 * pairs * players * max(items, CONTROL_PASSES * players)
    if work > MAX_WORK:
        raise RecordError(
            f"attribution record: {orders or pairs} {'permutations' if orders else 'pairs'} of "
            f"{players} players on {items} items are too much to recompute; their product may be "
            f"at most {MAX_WORK}",
            hint="compute the values again with a smaller --budget",
        )


def _check_same_game(record: Mapping[str, Any], table: Evidence) -> None:
    """Compare what names the game before what follows from it, for an error that explains."""
    players = tuple(player["contribution"] for player in record["players"])
    if players != table.players:
        raise RecomputeError("attribution record: its players are not those of the table, in order")
    if record["lock"] != str(table.lock):
        raise RecomputeError(
            f"attribution record: lock {record['lock']}, the table has {table.lock}"
        )
    suites = [(suite["id"], suite["name"], suite["items"]) for suite in record["game"]["suites"]]
    if suites != [(suite.id, suite.name, suite.items) for suite in table.suites]:
        raise RecomputeError("attribution record: its suites are not those of the table")


def _estimator(field: Mapping[str, Any]) -> Estimator:
    orders, pairs = field["permutations"], field["pairs"]
    if orders is not None and (orders % 2 or pairs is not None):
        raise RecomputeError(f"attribution record: {orders} permutations are not whole pairs")
    try:
        estimator = Estimator(
            cast("EstimatorName", field["name"]),
            field["reason"],
            field["seed"],
            pairs if orders is None else orders // 2,
        )
    except PnodeError as error:
        raise RecomputeError(f"attribution record: {error.message}") from None
    if field["version"] != estimator.version:
        raise RecomputeError(
            f"attribution record: estimator {estimator.name} version {field['version']}, "
            f"this program has version {estimator.version}",
            hint="recompute with the release that knows this version",
        )
    return estimator


def _check_values(published: Sequence[Mapping[str, Any]], analysis: Analysis) -> None:
    if [worth["contribution"] for worth in published] != [
        worth.player for worth in analysis.values
    ]:
        raise RecomputeError("attribution record: the values are not in the order of the players")
    for worth, computed in zip(published, analysis.values, strict=True):
        if worth["value"] != str(computed.value):
            raise RecomputeError(
                f"contribution {computed.player}: published value {worth['value']}, "
                f"the table gives {computed.value}"
            )


def _subject(record: Mapping[str, Any]) -> Subject:
    authors = {player["contribution"]: player["author"] for player in record["players"]}
    cid = Cid.parse(record["table"]["cid"])
    # A raw CID is a plain digest of the table and is compared; a directory CID is the store's
    # business, and the digest in `sha256` binds the bytes all the same.
    named = None if cid.codec == RAW else cid
    return Subject(record["composition"], authors, record["game"]["semantics"], named)


def _differences(published: Any, computed: Any, path: str) -> list[tuple[str, str, str]]:
    """Return where two documents differ, as (path, published, computed), in reading order."""
    if isinstance(published, dict) and isinstance(computed, dict):
        found = []
        for key in sorted(published.keys() | computed.keys()):
            found += _differences(
                published.get(key), computed.get(key), f"{path}.{key}".lstrip(".")
            )
        return found
    if isinstance(published, list) and isinstance(computed, list):
        if len(published) != len(computed):
            return [(f"{path} length", str(len(published)), str(len(computed)))]
        found = []
        for index, pair in enumerate(zip(published, computed, strict=True)):
            found += _differences(*pair, f"{path}[{index}]")
        return found
    return [] if published == computed else [(path, str(published)[:200], str(computed)[:200])]


def _author(subject: Subject, player: str) -> str:
    try:
        return subject.authors[player]
    except KeyError:
        raise RecordError(
            f"attribution record: no author given for contribution {player}"
        ) from None


def _value(worth: PlayerValue, author: str) -> dict[str, Any]:
    return {
        "contribution": worth.player,
        "author": author,
        "value": str(worth.value),
        "value_items": str(worth.in_items),
        "by_suite": [
            {
                "suite": part.suite,
                "value": str(part.value),
                "low": part.interval.low,
                "high": part.interval.high,
            }
            for part in worth.by_suite
        ],
        "share": _fraction(worth.share),
        "interval": _interval(worth.interval),
        "simultaneous": _ends(worth.simultaneous),
        "leave_one_out": str(worth.leave_one_out),
        "alone": str(worth.alone),
        "banzhaf": _fraction(worth.banzhaf),
        "rank": {"lowest": worth.rank[0], "highest": worth.rank[1]},
    }


def _interval(interval: Interval) -> dict[str, Any] | None:
    if interval.low is None:
        return None
    return {
        "low": interval.low,
        "high": interval.high,
        "sources": list(interval.sources),
        "half_width_items": interval.half_width_items,
        "half_width_sampling": interval.half_width_sampling,
    }


def _ends(interval: Interval) -> dict[str, Any] | None:
    return None if interval.low is None else {"low": interval.low, "high": interval.high}


def _fraction(value: Fraction | None) -> str | None:
    return None if value is None else str(value)
