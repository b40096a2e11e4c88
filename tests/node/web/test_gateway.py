"""The gateway against the IPFS trustless gateway specification: one table, and what it leaves out.

Every CAR is read by the reader of this page, which shares nothing with the writer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from simulator import note_entry
from starlette.testclient import TestClient

from ledger.cid import DAG_PB, Cid
from ledger.dagpb import Link, encode_node
from ledger.unixfs import Limits, build_directory, walk
from node.artifacts import store_directory, store_document
from node.home import Home
from node.web import gateway
from node.web.serve import create_app

RAW = "application/vnd.ipld.raw"
CAR = "application/vnd.ipld.car"
CAR_V1 = f"{CAR}; version=1; order=dfs; dups="
SAME = bytes(1 << 20)


@dataclass(frozen=True)
class Case:
    """A request and what the specification wants to be answered; `{root}` stands for a CID."""

    path: str
    status: int = 200
    accept: str = "*/*"
    type: str = ""
    blocks: str = ""
    headers: dict[str, str] = field(default_factory=dict)


TABLE = {
    # format, by parameter and by header; the parameter wins
    "raw": Case("{root}?format=raw", type=RAW),
    "raw-accept": Case("{root}", accept=RAW, type=RAW),
    "raw-leaf": Case("{small}?format=raw", type=RAW),
    "car": Case("{root}?format=car", type=CAR_V1 + "n", blocks="root f1 leaf f2 same sub small"),
    "car-accept": Case("{root}", accept=CAR, type=CAR_V1 + "n"),
    "parameter-wins": Case("{root}?format=raw", accept=CAR, type=RAW),
    "parameter-wins-car": Case("{root}?format=car", accept=RAW, type=CAR_V1 + "n"),
    "of-two-the-heavier": Case("{root}", accept=f"{RAW};q=0.5, {CAR};q=0.9", type=CAR_V1 + "n"),
    "of-two-alike-the-first": Case("{root}", accept=f"{RAW}, {CAR}", type=RAW),
    "weight-zero-is-no": Case("{root}", 406, accept=f"{RAW};q=0"),
    "weight-zero-and-another": Case("{root}", accept=f"{RAW};q=0, {CAR}", type=CAR_V1 + "n"),
    "with-others": Case("{root}", accept=f"text/html, {RAW};q=0.9, */*;q=0.1", type=RAW),
    "upper-case": Case("{root}", accept=RAW.upper(), type=RAW),
    # no format: nothing is assembled here
    "nothing-asked": Case("{root}", 400),
    "no-accept": Case("{root}", 400, accept=""),
    "browser": Case("{root}", 400, accept="text/html,application/xhtml+xml,*/*;q=0.8"),
    # formats of other gateways
    "tar": Case("{root}?format=tar", 406, accept=RAW),
    "empty-format": Case("{root}?format=", 406, accept=RAW),
    "ipns-record": Case("{root}?format=ipns-record", 406),
    "dag-json": Case("{root}", 406, accept="application/vnd.ipld.dag-json"),
    "ipns-accept": Case("{root}", 406, accept="application/vnd.ipfs.ipns-record"),
    "x-tar": Case("{root}", 406, accept="application/x-tar"),
    # parameters of a CAR
    "dups-y": Case(
        "{root}?format=car&car-dups=y",
        type=CAR_V1 + "y",
        blocks="root f1 leaf leaf f2 same same sub small",
    ),
    "dups-y-accept": Case("{root}", accept=f"{CAR}; dups=y", type=CAR_V1 + "y"),
    "dups-y-both": Case("{root}?format=car", accept=f"{CAR};dups=y", type=CAR_V1 + "y"),
    "dups-parameter-wins": Case(
        "{root}?format=car&car-dups=n", accept=f"{CAR};dups=y", type=CAR_V1 + "n"
    ),
    "order-unk": Case("{root}?format=car&car-order=unk", type=CAR_V1 + "n"),
    "version-1": Case("{root}", accept=f"{CAR};version=1;order=dfs", type=CAR_V1 + "n"),
    "version-2": Case("{root}", 406, accept=f"{CAR};version=2"),
    "version-2-parameter": Case("{root}?format=car&car-version=2", 406),
    "order-other": Case("{root}?format=car&car-order=foo", 406),
    "order-other-or-dfs": Case(
        "{root}", accept=f"{CAR};order=foo, {CAR};order=dfs;dups=y;q=0.5", type=CAR_V1 + "y"
    ),
    "dups-other": Case("{root}?format=car&car-dups=maybe", 400),
    # scope
    "scope-block": Case("{root}?format=car&dag-scope=block", blocks="root"),
    "scope-entity-directory": Case("{root}?format=car&dag-scope=entity", blocks="root"),
    "scope-entity-file": Case("{f1}?format=car&dag-scope=entity", blocks="f1 leaf"),
    "scope-entity-leaf": Case("{small}?format=car&dag-scope=entity", blocks="small"),
    "scope-other": Case("{root}?format=car&dag-scope=some", 400),
    "scope-of-raw-is-ignored": Case("{root}?format=raw&dag-scope=entity", type=RAW),
    # a path leads through directories, and the way is in the CAR
    "path": Case("{root}/sub/small?format=car", blocks="root sub small"),
    "path-to-directory": Case("{root}/sub?format=car&dag-scope=block", blocks="root sub"),
    "path-slash": Case("{root}/sub/?format=car&dag-scope=entity", blocks="root sub"),
    "path-of-a-file": Case("{root}/f1?format=car", blocks="root f1 leaf"),
    "path-absent": Case("{root}/absent?format=car", 404),
    "path-through-a-file": Case("{root}/f1/x?format=car", 404),
    "path-dots": Case("{root}/sub/%2e%2e/f1?format=car", 404),
    "path-raw": Case("{root}/sub?format=raw", 400),
    # ranges are not built
    "entity-bytes": Case("{f1}?format=car&entity-bytes=0:9", 501),
    "range-is-ignored": Case("{root}?format=raw", headers={"Range": "bytes=0-1"}),
    # what is not here, or not published
    "absent": Case("{absent}?format=raw", 404),
    "absent-car": Case("{absent}?format=car", 404),
    "draft": Case("{draft}?format=raw", 404),
    "draft-car": Case("{draft}?format=car", 404),
    "draft-if-cached": Case("{draft}?format=raw", 412, headers={"Cache-Control": "only-if-cached"}),
    "absent-if-cached": Case(
        "{absent}?format=car", 412, headers={"Cache-Control": "max-age=0, only-if-cached"}
    ),
    "here-if-cached": Case("{root}?format=raw", headers={"Cache-Control": "only-if-cached"}),
    # what is no CID of ours
    "malformed": Case("abc?format=raw", 400),
    "cid-v0": Case("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG?format=raw", 400),
    "other-hash": Case("bafkrgqa?format=raw", 400),
    "upper-cid": Case("{ROOT}?format=raw", 400),
    # asking whether this is a gateway
    "probe": Case("bafkqaaa?format=raw", type=RAW),
    "probe-accept": Case("bafkqaaa", accept=RAW, type=RAW),
    "probe-car": Case("bafkqaaa?format=car", type=CAR_V1 + "n", blocks=" "),
    "other-identity": Case("bafkqablimvwgy3y?format=raw", 400),
    # others
    "service-worker": Case("{root}?format=raw", 400, headers={"Service-Worker": "script"}),
}


def make_home(folder: Path) -> Home:
    return Home.init(folder / "home", folder / "state", name="ada", seed=b"\1" * 32)


def publish(home: Home, cid: Cid) -> None:
    with home.writing() as log:
        log.append([note_entry(home.keys(), "artifact", cid=str(cid))])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="module")
def named(home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cid]:
    """The CIDs of the published directory by the names in the table, and two that are not."""
    folder = tmp_path_factory.mktemp("artifact")
    (folder / "sub").mkdir()
    (folder / "f1").write_bytes(b"\1" * (2 << 20))
    (folder / "f2").write_bytes(SAME * 2)
    (folder / "sub" / "small").write_bytes(b"small")
    root = store_directory(folder, home.store).cid
    publish(home, root)
    in_order = [cid for cid, _ in walk(root, home.store.get_block, Limits())]
    names = ("root", "f1", "leaf", "f2", "same", "sub", "small")
    draft = store_document(b"draft", home.store)
    return dict(zip(names, in_order, strict=True)) | {"draft": draft, "absent": Cid.of(b"absent")}


@pytest.fixture(scope="module")
def client(home: Home, named: dict[str, Cid]) -> Iterator[TestClient]:
    with TestClient(create_app(home)) as client:
        yield client


def url_of(case: Case, named: dict[str, Cid]) -> str:
    return "/ipfs/" + case.path.format(ROOT=str(named["root"]).upper(), **named)


def read_car(data: bytes) -> list[tuple[Cid, bytes]]:
    """Read a CAR, independently of the writer; check every block."""
    frames = []
    while data:
        length = shift = 0
        while True:
            byte, data = data[0], data[1:]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        frames.append(data[:length])
        data = data[length:]
    blocks = [(Cid.from_bytes(frame[:36]), frame[36:]) for frame in frames[1:]]
    for cid, block in blocks:
        cid.check(block)
    return blocks


@pytest.mark.parametrize("name", TABLE)
def test_every_request_is_answered_as_specified(
    home: Home, client: TestClient, named: dict[str, Cid], name: str
) -> None:
    case = TABLE[name]
    url = url_of(case, named)
    sent = {"Accept": case.accept, **case.headers}
    answer = client.get(url, headers=sent)
    head = client.head(url, headers=sent)
    assert (answer.status_code, head.status_code) == (case.status, case.status)
    assert head.content == b""
    assert answer.headers["x-content-type-options"] == "nosniff"
    if case.status != 200:
        assert answer.headers["cache-control"] == "no-store"
        return
    for header in ("content-type", "content-length", "etag", "content-disposition"):
        assert head.headers[header] == answer.headers[header], header
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["cache-control"] == "public, max-age=29030400, immutable"
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    assert answer.headers["content-type"].startswith(case.type)
    if case.blocks:
        expected = [named[each] for each in case.blocks.split()]
        assert [cid for cid, _ in read_car(answer.content)] == expected
    elif case.type == RAW and "bafk" not in case.path:
        asked = named[case.path.strip("{").partition("}")[0]]
        assert answer.content == home.store.get_block(asked)


def test_another_address_is_given_where_a_header_chose_the_form(
    client: TestClient, named: dict[str, Cid]
) -> None:
    root = named["root"]
    for accept, form in ((RAW, "raw"), (f"{CAR};dups=y", "car&dag-scope=all&car-dups=y")):
        chosen = client.get(f"/ipfs/{root}", headers={"Accept": accept})
        assert chosen.headers["content-location"] == f"/ipfs/{root}?format={form}"
        again = client.get(chosen.headers["content-location"], headers={"Accept": "*/*"})
        assert again.content == chosen.content
        assert again.headers["etag"] == chosen.headers["etag"]
        assert "content-location" not in again.headers


def test_entity_tags_differ_by_form(client: TestClient, named: dict[str, Cid]) -> None:
    forms = ("", "&car-dups=y", "&dag-scope=block", "&dag-scope=entity")
    urls = [f"{named['root']}?format=raw", *(f"{named['root']}?format=car{form}" for form in forms)]
    urls += [f"{named['root']}/sub?format=car", f"{named['root']}/f1?format=car"]
    tags = [client.head(f"/ipfs/{url}").headers["etag"] for url in urls]
    assert len(set(tags)) == len(urls)
    assert all(tag.startswith('"baf') and tag.endswith('"') for tag in tags)


@pytest.mark.parametrize(
    ("sent", "status"),
    [("{tag}", 304), ("W/{tag}", 304), ('"x", {tag}', 304), ("*", 304), ('"x"', 200), ("", 200)],
)
def test_a_known_tag_saves_the_body(
    client: TestClient, named: dict[str, Cid], sent: str, status: int
) -> None:
    for form in ("raw", "car"):
        url = f"/ipfs/{named['root']}?format={form}"
        tag = client.head(url).headers["etag"]
        answer = client.get(url, headers={"If-None-Match": sent.format(tag=tag)})
        assert answer.status_code == status
        assert answer.headers["etag"] == tag
        assert bool(answer.content) == (status == 200)


def test_too_many_cars_at_once_are_put_off(
    home: Home, named: dict[str, Cid], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "MAX_CARS", 0)
    with TestClient(create_app(home)) as client:
        answer = client.get(f"/ipfs/{named['root']}?format=car")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert client.get(f"/ipfs/{named['root']}?format=raw").status_code == 200
        assert client.head(f"/ipfs/{named['root']}?format=car").status_code == 200


def test_a_finished_car_makes_room(
    home: Home, named: dict[str, Cid], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "MAX_CARS", 1)
    with TestClient(create_app(home)) as client:
        for _ in range(3):
            assert client.get(f"/ipfs/{named['root']}?format=car").status_code == 200


def test_repeats_do_not_multiply_without_end(tmp_path: Path) -> None:
    """A few nodes that link each other a thousand times are a huge DAG when nothing is skipped."""
    home = make_home(tmp_path)
    below = build_directory({}, home.store.put_block).cid
    for _ in range(3):
        block = encode_node([Link(below, str(number), 0) for number in range(300)], b"\x08\x01")
        below = Cid.of(block, DAG_PB)
        home.store.put_block(below, block)
    publish(home, below)
    with TestClient(create_app(home)) as client:
        assert client.get(f"/ipfs/{below}?format=car&car-dups=y").status_code == 400
        assert len(read_car(client.get(f"/ipfs/{below}?format=car").content)) == 4


def test_an_incomplete_dag_has_no_car(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"x")
    root = store_directory(tmp_path / "a", home.store).cid
    publish(home, root)
    next((home.path / "store").rglob(str(Cid.of(b"x")))).unlink()
    with TestClient(create_app(home)) as client:
        assert client.get(f"/ipfs/{root}?format=raw").status_code == 200
        assert client.get(f"/ipfs/{root}?format=car").status_code == 404
        assert client.get(f"/ipfs/{root}?format=car&dag-scope=block").status_code == 200


def test_a_damaged_block_is_an_error_that_names_nothing(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    cid = store_document(b"whole", home.store)
    publish(home, cid)
    next((home.path / "store" / "blocks").rglob(str(cid))).write_bytes(b"w0ole")
    with TestClient(create_app(home)) as client:
        response = client.get(f"/ipfs/{cid}?format=raw")
        assert response.status_code == 500
        assert b"w0ole" not in response.content
        assert client.get(f"/ipfs/{cid}?format=car").status_code == 500


def test_a_car_that_cannot_go_on_ends_before_its_length(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = make_home(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"whole")
    root = store_directory(tmp_path / "a", home.store).cid
    publish(home, root)
    next((home.path / "store" / "blocks").rglob(str(Cid.of(b"whole")))).write_bytes(b"w0ole")
    with TestClient(create_app(home)) as client, caplog.at_level(logging.ERROR):
        response = client.get(f"/ipfs/{root}?format=car")
    assert len(response.content) < int(response.headers["content-length"])
    assert b"w0ole" not in response.content
    assert "cut short" in caplog.text
