"""The listing files of a tree have one accepted form."""

from __future__ import annotations

import pytest
from simulator import SimulatedLog

from ledger.errors import MalformedError, SignatureError
from node.peering.loglist import (
    MAX_FRONTIER_BYTES,
    MAX_LIST_BYTES,
    MAX_LISTED,
    encode_frontier,
    encode_logs,
    parse_logs,
    split_frontier,
)

LOGS = sorted((SimulatedLog(n) for n in (1, 2, 3)), key=lambda log: log.origin)


def test_a_log_list_is_read_back() -> None:
    data = encode_logs(log.key for log in reversed(LOGS))
    listed = parse_logs(data)
    assert [entry.key() for entry in listed] == [log.key for log in LOGS]
    assert data.startswith(b"logs/v0\n\nvkey pnode.example/log/v1/")


def test_an_empty_log_list_is_a_list() -> None:
    assert parse_logs(encode_logs([])) == ()


def test_a_list_of_too_many_bytes_is_refused() -> None:
    with pytest.raises(MalformedError, match="at most"):
        parse_logs(b"logs/v0\n" + bytes(MAX_LIST_BYTES))


GOOD = encode_logs(log.key for log in LOGS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"logs/v0",
        GOOD[:-1],
        GOOD + b"\n",
        GOOD + b"qpd 5\n",
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.replace(b"logs/v0", b"logs/v1"),
        GOOD.replace(b"\n\n", b"\n", 1),
        GOOD.replace(b"vkey", b"VKEY", 1),
        GOOD + GOOD.removeprefix(b"logs/v0\n"),
        b"# comment\n" + GOOD,
        b"\xff" + GOOD,
    ],
)
def test_other_forms_of_a_log_list_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_logs(data)


def test_unsorted_logs_are_refused() -> None:
    blocks = GOOD.split(b"\n\n")
    swapped = b"\n\n".join([blocks[0], blocks[2], blocks[1], blocks[3]])
    with pytest.raises(MalformedError, match="sorted"):
        parse_logs(swapped)


def test_a_key_that_its_origin_does_not_contain_is_refused() -> None:
    text = GOOD.decode().replace(str(LOGS[0].key), str(LOGS[1].key), 1)
    listed = parse_logs(text.encode())
    with pytest.raises(SignatureError):
        listed[0].key()
    assert listed[1].key() == LOGS[1].key


def test_a_frontier_is_split_into_its_notes() -> None:
    notes = [log.note() for log in LOGS]
    split = split_frontier(encode_frontier(notes))
    assert [each.note for each in split] == notes
    assert [each.origin for each in split] == [log.origin for log in LOGS]
    assert split_frontier(b"") == ()


def test_the_order_of_a_frontier_is_its_writers() -> None:
    notes = [log.note() for log in reversed(LOGS)]
    assert [each.note for each in split_frontier(encode_frontier(notes))] == notes


def test_a_frontier_of_too_many_bytes_is_refused() -> None:
    with pytest.raises(MalformedError, match="at most"):
        split_frontier(bytes(MAX_FRONTIER_BYTES + 1))


def test_more_logs_than_any_node_holds_are_refused() -> None:
    tiny = [b"%d\n\nb\n" % number for number in range(MAX_LISTED + 1)]
    assert len(split_frontier(encode_frontier(tiny[:-1]))) == MAX_LISTED
    with pytest.raises(MalformedError, match="more than 32768"):
        split_frontier(encode_frontier(tiny))
    with pytest.raises(MalformedError, match="more than 32768"):
        parse_logs(b"logs/v0\n" + b"\nvkey \norigin \n" * (MAX_LISTED + 1))


def test_a_bad_note_does_not_spoil_its_neighbours() -> None:
    bad = b"origin\nnot a size\n\nnot a signature\n"
    split = split_frontier(encode_frontier([LOGS[0].note(), bad, LOGS[1].note()]))
    assert [each.note for each in split] == [LOGS[0].note(), bad, LOGS[1].note()]


@pytest.mark.parametrize("end", [1, 2, -1, -2, -200])
def test_a_cut_frontier_is_refused(end: int) -> None:
    data = encode_frontier([log.note() for log in LOGS])
    with pytest.raises(MalformedError):
        split_frontier(data[:end])


def test_a_frontier_with_a_log_twice_is_refused() -> None:
    data = encode_frontier([LOGS[0].note(), LOGS[0].note()])
    with pytest.raises(MalformedError, match="unique"):
        split_frontier(data)
