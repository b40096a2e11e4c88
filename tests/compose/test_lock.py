"""Locks: one encoding, a CID that names a composition, and keys for coalitions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from compose.lock import (
    FrontierEntry,
    Lock,
    LockedBase,
    LockedEntry,
    LockedMethod,
)
from ledger.cid import DAG_PB, Cid
from ledger.errors import MalformedError, NotFoundError


def entry(name: str) -> LockedEntry:
    """Return a contribution with an id and a CID made from its name."""
    return LockedEntry(str(Cid.of(name.encode())), Cid.of(name.encode() + b"!", DAG_PB))


BASE = LockedBase("tiny", "ab" * 32, Cid.of(b"manifest"))
MEMBERS = tuple(sorted((entry(name) for name in "abcd"), key=lambda each: each.id))
LOCK = Lock(
    frontier=(
        FrontierEntry("x.example/1", 3, bytes(32)),
        FrontierEntry("y.example/2", 9, b"y" * 32),
    ),
    base=BASE,
    members=MEMBERS,
    method=LockedMethod("merge.ties", "1", {"lambda": "1", "density": "0.2"}),
    dev=entry("dev"),
    suites=(entry("s2"), entry("s1")),
    seed=5,
    exactness="pinned",
    software={"torch": "2.13.0", "pnode": "0.1.0"},
)


def test_encoding_is_the_canonical_json_of_the_format() -> None:
    document = {
        "schema": "pnode.lock/1",
        "frontier": [
            {"origin": "x.example/1", "size": 3, "root": "00" * 32},
            {"origin": "y.example/2", "size": 9, "root": "79" * 32},
        ],
        "base": {"name": "tiny", "digest": "ab" * 32, "cid": str(Cid.of(b"manifest"))},
        "members": [{"id": each.id, "cid": str(each.cid)} for each in MEMBERS],
        "method": {
            "name": "merge.ties",
            "version": "1",
            "parameters": {"density": "0.2", "lambda": "1"},
        },
        "dev": {"id": entry("dev").id, "cid": str(entry("dev").cid)},
        "suites": [{"id": entry(name).id, "cid": str(entry(name).cid)} for name in ("s2", "s1")],
        "seed": 5,
        "exactness": "pinned",
        "software": {"pnode": "0.1.0", "torch": "2.13.0"},
    }
    wanted = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert LOCK.encode() == wanted
    assert LOCK.cid() == Cid.of(wanted)


@pytest.mark.parametrize(
    "lock",
    [LOCK, replace(LOCK, dev=None), replace(LOCK, members=()), replace(LOCK, frontier=())],
    ids=["full", "no dev", "empty coalition", "no frontier"],
)
def test_parsing_gives_back_what_was_encoded(lock: Lock) -> None:
    assert Lock.parse(lock.encode()) == lock


def _set(*path: Any, to: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_set("schema", to="pnode.lock/2"), "schema"),
        (_set("extra", to=1), "unknown key 'extra'"),
        (_set("base", "extra", to=1), "unknown key 'extra'"),
        (_set("members", 0, "weight", to="1"), "unknown key 'weight'"),
        (_set("method", "module", to="x"), "unknown key 'module'"),
        (_set("base", "digest", to="AB" * 32), "digest"),
        (_set("base", "digest", to="ab"), "digest"),
        (_set("base", "cid", to="b" + "a" * 58), "CID"),
        (_set("base", "name", to=""), "name"),
        (_set("members", 0, "id", to="x"), "CID"),
        (_set("members", 0, "id", to=str(entry("a").cid)), "not the id of an entry"),
        (_set("members", 0, "cid", to=7), "not a text"),
        (_set("members", to={}), "not a list"),
        (lambda d: d["members"].reverse(), "sorted"),
        (lambda d: d["members"].append(d["members"][-1]), "nothing twice"),
        (lambda d: d["frontier"].reverse(), "sorted"),
        (_set("frontier", 0, "size", to=-1), "size"),
        (_set("frontier", 0, "size", to=True), "size"),
        (_set("frontier", 0, "root", to="00"), "root"),
        (_set("method", "parameters", "density", to=1), "density"),
        (_set("method", "parameters", to=[]), "table"),
        (_set("method", "version", to=1), "version"),
        (lambda d: d["suites"].append(d["suites"][0]), "none twice"),
        (_set("suites", to=[]), "at least one"),
        (lambda d: d.update(dev=d["suites"][0]), "also in suites"),
        (lambda d: d["dev"].update(cid=d["suites"][0]["cid"]), "also in suites"),
        (_set("seed", to=-1), "seed"),
        (_set("seed", to=None), "seed"),
        (_set("exactness", to="close enough"), "exactness"),
        (_set("exactness", to=[]), "exactness"),
        (_set("software", "torch", to=None), "torch"),
        (lambda d: d.pop("software"), "'software' is missing"),
    ],
)
def test_document_that_is_not_a_lock_is_malformed(
    change: Callable[[Any], None], reason: str
) -> None:
    document = json.loads(LOCK.encode())
    change(document)
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(MalformedError) as caught:
        Lock.parse(data)
    assert reason in caught.value.message


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", LOCK.encode() + b"\n", b" " + LOCK.encode()])
def test_bytes_in_any_other_form_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Lock.parse(data)


def test_members_must_be_sorted_when_a_lock_is_made() -> None:
    with pytest.raises(MalformedError, match="sorted"):
        replace(LOCK, members=MEMBERS[::-1])


def test_coalition_is_the_lock_with_fewer_members() -> None:
    ids = [each.id for each in MEMBERS]
    part = LOCK.restrict([ids[2], ids[0]])
    assert part == replace(LOCK, members=(MEMBERS[0], MEMBERS[2]))
    assert LOCK.restrict(ids) == LOCK
    assert LOCK.restrict([]).members == ()
    with pytest.raises(NotFoundError, match="not a member"):
        LOCK.restrict([entry("e").id])


def test_every_coalition_has_its_own_key() -> None:
    ids = [each.id for each in MEMBERS]
    coalitions = [part for size in range(5) for part in combinations(ids, size)]
    assert len({LOCK.restrict(part).coalition_key() for part in coalitions}) == 16


def test_key_is_over_all_but_frontier_and_schema() -> None:
    document = json.loads(LOCK.encode())
    del document["frontier"], document["schema"]
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert LOCK.coalition_key() == hashlib.sha256(data).hexdigest()
    assert replace(LOCK, frontier=()).coalition_key() == LOCK.coalition_key()


@pytest.mark.parametrize(
    "change",
    [
        {"base": replace(BASE, digest="cd" * 32)},
        {"members": (replace(MEMBERS[0], cid=Cid.of(b"other")), *MEMBERS[1:])},
        {"method": LockedMethod("merge.ties", "2", LOCK.method.parameters)},
        {"method": LockedMethod("merge.ties", "1", {"density": "0.2", "lambda": "0.5"})},
        {"dev": None},
        {"suites": LOCK.suites[::-1]},
        {"seed": 6},
        {"exactness": "tolerance"},
        {"software": {"torch": "2.13.1", "pnode": "0.1.0"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_key_changes_with_everything_that_determines_outcomes(change: dict[str, Any]) -> None:
    assert replace(LOCK, **change).coalition_key() != LOCK.coalition_key()
