"""Cosignatures over real HTTP: our log asks the witness of aics-witness, and its client asks ours.

This fails when a request, an answer, a conflict or a proof that travels between the two means
something else to the other side.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.log import Log
from ledger.witness import parse_answer
from node.api import Node
from node.home import Home
from node.peering.peers import add_peer
from node.peering.source import HTTPSource
from node.peering.witnessing import Cosigner, request_cosignature
from tests.interop.partners import ask_python, serving
from tests.node.served import served
from tests.node.worlds import Place
from tests.simulator import SimulatedLog, note_entry

SEED = bytes([9]) * 32
NAME = "witness.example/w1"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Place(tmp_path / "ada").init("ada")


@pytest.fixture
def witness(node: Node, tmp_path: Path) -> Iterator[str]:
    """The URL of their witness, which knows our log, and which our policy names."""
    with node.home.reading() as database:
        key = Log(database, node.home.origin).key
    arguments = [str(tmp_path / "witness.db"), NAME, SEED.hex(), node.home.origin, str(key)]
    with serving("aics_witness", "serve_aics.py", arguments) as ready:
        policy = f"witness w1 {ready['vkey']} {ready['url']}\nquorum w1\n"
        (node.home.path / "policy.txt").write_text(policy)
        yield str(ready["url"])


def append(node: Node, text: str) -> str:
    entry = note_entry(node.home.keys(), text)
    with node.home.writing() as log:
        log.append([entry])
    return entry.id


def ask(home: Home, url: str, **options: int) -> tuple[str, ...]:
    with HTTPSource(url) as source:
        return request_cosignature(home, source, **options)


def test_their_witness_cosigns_our_log_and_we_keep_it(node: Node, witness: str) -> None:
    first = append(node, "first")
    assert node.show(first).state == "signed"
    assert ask(node.home, witness) == (NAME,)
    assert node.show(first).state == "witnessed"
    assert ask(node.home, witness) == ()  # the same tree again: nothing is new
    # A wrong guess is answered with 409 and the size it holds; then the proof fits.
    second = append(node, "second")
    assert node.show(second).state == "signed"
    assert ask(node.home, witness, old_size=1) == (NAME,)
    assert node.show(second).state == "witnessed"
    assert node.verify([second], witnessed=True).ok
    assert node.audit().exit_code == 0


def test_their_client_asks_our_witness(node: Node) -> None:
    log = SimulatedLog(2).grow(3)
    add_peer(node.home, str(log.key))
    notes = [log.note(), log.grow(9).note(), log.grow(300).note()]
    fork = SimulatedLog(2, log.bodies[:8]).grow(301, "other").note()
    key = Cosigner.of(node.home).key
    bodies = [body.hex() for body in [*log.bodies, b"other"]]
    texts = [note.decode() for note in [*notes, notes[2], fork]]
    with served(node.home) as url:
        question = ["submit", url, str(key), texts, bodies]
        (answers,) = ask_python("aics_witness", "ask_aics.py", [question])
    assert [status for status, _ in answers] == [200, 200, 200, 200, 422], answers
    lines = [parse_answer(text.encode())[0] for status, text in answers if status == 200]
    assert [line.name for line in lines] == [node.home.origin] * 4
    assert lines[2] == lines[3]
    with node.home.reading() as database:
        assert Log(database, log.origin).size == 0  # cosigned ahead of any entry


def test_their_client_is_told_that_we_do_not_know_its_log(node: Node) -> None:
    log = SimulatedLog(3).grow(2)
    key = Cosigner.of(node.home).key
    with served(node.home) as url:
        question = ["submit", url, str(key), [log.note().decode()], []]
        (answers,) = ask_python("aics_witness", "ask_aics.py", [question])
    assert [status for status, _ in answers] == [404]
