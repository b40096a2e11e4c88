"""The fields of `pnode.attribution-record/1`, each with what it may hold."""

from __future__ import annotations

from typing import Final

from attribution import shape, table, treetable
from attribution.evidence import MAX_NAME
from attribution.game import EMPTY_COALITION, GAME_NAME

SCHEMA: Final = "pnode.attribution-record/1"

_INTERVAL: shape.Shape = {
    "low": shape.decimal,
    "high": shape.decimal,
    "sources": [shape.one_of("items", "sampling")],
    "half_width_items": shape.nullable(shape.decimal),
    "half_width_sampling": shape.nullable(shape.decimal),
}
RECORD_SHAPE: Final[shape.Shape] = {
    "schema": shape.one_of(SCHEMA),
    "composition": shape.cid,
    "lock": shape.cid,
    "game": {
        "value": shape.one_of(GAME_NAME),
        "semantics": shape.text(1000),
        "base": shape.one_of(EMPTY_COALITION),
        "suites": [{"id": shape.cid, "name": shape.text(MAX_NAME), "items": shape.natural}],
    },
    "players": [{"contribution": shape.cid, "author": shape.text(200)}],
    "identical": [[shape.cid]],
    "estimator": {
        "name": shape.one_of("exact", "permutation", "stratified", "gaussian-process"),
        "version": shape.text(20),
        "reason": shape.text(500),
        "seed": shape.nullable(shape.text(128)),
        "permutations": shape.nullable(shape.natural),
        "pairs": shape.nullable(shape.natural),
    },
    "table": {
        "cid": shape.cid,
        "sha256": shape.sha256,
        "root": shape.sha256,
        "schema": shape.one_of(table.SCHEMA, treetable.SCHEMA),
        "coalitions": shape.nullable(shape.natural),
    },
    "confidence": shape.text(20),
    "values": [
        {
            "contribution": shape.cid,
            "author": shape.text(200),
            "value": shape.fraction,
            "value_items": shape.fraction,
            "by_suite": [
                {
                    "suite": shape.cid,
                    "value": shape.fraction,
                    "low": shape.nullable(shape.decimal),
                    "high": shape.nullable(shape.decimal),
                }
            ],
            "share": shape.nullable(shape.fraction),
            "interval": shape.nullable(_INTERVAL),
            "simultaneous": shape.nullable({"low": shape.decimal, "high": shape.decimal}),
            "leave_one_out": shape.fraction,
            "alone": shape.fraction,
            "banzhaf": shape.nullable(shape.fraction),
            "rank": {"lowest": shape.natural, "highest": shape.natural},
        }
    ],
    "groups": [[shape.cid]],
    "efficiency_gap": shape.fraction,
    "checks": [
        {
            "name": shape.text(40),
            "verdict": shape.one_of("pass", "fail", "inconclusive"),
            "detail": shape.text(100_000),
        }
    ],
}
