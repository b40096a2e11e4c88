"""The pages of `serve` for people and their JSON twins: content, escaping, paging, caching."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from simulator import note_entry
from starlette.testclient import TestClient

from ledger.cid import Cid
from ledger.commonprefix import common_prefix
from ledger.database import Database
from ledger.dispute import evidence_statement
from ledger.entry import Entry
from ledger.errors import UnavailableError
from ledger.evidence import Evidence, same_size
from ledger.heldevidence import hold
from ledger.merkle import leaf_hash, root_of, verify_inclusion
from ledger.statement import Statement, Subject
from node.checking.verifying import verify
from node.home import Home
from node.peering.peers import add_peer
from node.peering.peerstate import PeerState
from node.peering.sync import sync
from node.peering.tree import log_folder
from node.web.pagehtml import assets
from node.web.pageindex import PAGE_SIZE
from node.web.peerpage import FOLDER, PRIVATE, public_address
from node.web.serve import create_app
from node.web.snapshots import Snapshot, Snapshots, take
from tests.docs.pages import ROOT
from tests.ledger.forks import reader
from tests.node.worlds import World
from tests.simulator import SimulatedLog, SimulatedPeer

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE entry; --",
    "{{ 7 * 7 }}{% raw %}",
    "</title></style><b>bold</b>",
    "a" * 2_000,
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
)
HTML = {"Accept": "text/html"}


class Outline(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def links(self) -> list[str]:
        return [str(link["href"]) for link in self.all("a") if link.get("href")]


def contribute(home: Home, title: str, *, created: str = "2026-11-22T20:00:00Z") -> Entry:
    keys = home.keys()
    digest = hashlib.sha256(title.encode()).hexdigest()
    statement = Statement(
        "contribution",
        (Subject("file", digest),),
        {
            "author": keys.author.public.did,
            "created": created,
            "type": "suite",
            "cid": str(Cid.of(title.encode())),
            "title": title,
            "license": title[:100],
            "terms": title,
            "manifest": {
                "resources": [{"name": title, "digest": digest, "algorithm": "sha256"}],
                "serialization": {"note": title},
            },
        },
    )
    return Entry.sign(statement, keys.author)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with hostile titles, more entries than fit on a page, and a mirror of another."""
    folder = tmp_path_factory.mktemp("pages")
    home = Home.init(folder / "h", folder / "s", name="<i>ada</i>", seed=bytes([1]) * 32)
    other = Home.init(folder / "h2", folder / "s2", name="bob & co", seed=bytes([2]) * 32)
    with other.writing() as log:
        log.append([note_entry(other.keys(), "by bob")])
    assert not sync(home, SimulatedPeer.of(other)).errors
    with home.writing() as log:
        log.append([contribute(home, title) for title in HOSTILE])
        log.append([contribute(home, f"suite {number}") for number in range(2 * PAGE_SIZE)])
    return home


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[TestClient]:
    with TestClient(create_app(home)) as client:
        yield client


def twin(client: TestClient, path: str) -> dict[str, Any]:
    response = client.get(path)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    value = json.loads(response.content)
    assert isinstance(value, dict)
    return value


def every_page(client: TestClient) -> list[str]:
    """Return the address of a page of every sort."""
    entries = twin(client, "/entries.json?page=3")["entries"]
    first = twin(client, "/index.json")
    return [
        "/",
        "/entries",
        "/entries?page=2&kind=suite&status=active",
        "/entries?kind=nothing",
        *(f"/entry/{entry['id']}" for entry in entries),
        *(log["page_path"] for log in first["logs"]),
        "/peers",
    ]


def json_path(page: str) -> str:
    path, mark, query = page.partition("?")
    return ("/index" if path == "/" else path) + ".json" + mark + query


# --- every page ---------------------------------------------------------------------------------


def test_every_page_is_whole_and_loads_nothing_from_elsewhere(client: TestClient) -> None:
    style, icon = (asset.path for asset in assets())
    for page in every_page(client):
        response = client.get(page, headers=HTML)
        assert (response.status_code, response.headers["content-type"]) == (
            200,
            "text/html; charset=utf-8",
        )
        outline = Outline(response.text)
        assert outline.all("html") == [{"lang": "en"}]
        assert [len(outline.all(tag)) for tag in ("main", "h1", "header", "footer", "title")] == [
            1
        ] * 5
        assert not any(outline.all(tag) for tag in ("script", "style", "iframe", "object", "b"))
        assert {link["src"] for link in outline.all("img")} == {icon}
        assert {link["rel"]: link["href"] for link in outline.all("link")} == {
            "stylesheet": style,
            "icon": icon,
            "alternate": json_path(page),
        }
        assert len(outline.all("caption")) == len(outline.all("table"))
        for _, attributes in outline.tags:
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert all(link.startswith(("/", "#")) for link in outline.links), page


def test_every_link_of_a_page_leads_somewhere(client: TestClient) -> None:
    links = set()
    for page in every_page(client):
        outline = Outline(client.get(page).text)
        links |= {link for link in outline.links if not link.startswith("#")}
        ids = {attributes["id"] for _, attributes in outline.tags if attributes.get("id")}
        assert {link[1:] for link in outline.links if link.startswith("#")} <= ids
    assert len(links) > 3 * PAGE_SIZE
    for link in sorted(links)[:: 1 + len(links) // 120]:
        assert client.get(link, follow_redirects=False).status_code == 200, link


def test_every_page_has_a_twin_that_says_as_much(client: TestClient) -> None:
    for page in every_page(client):
        record = twin(client, json_path(page))
        assert record["schema"].startswith("pnode.page.")
        text = client.get(page).text
        for entry in record.get("entries", []) if isinstance(record.get("entries"), list) else []:
            assert f'href="/entry/{entry["id"]}"' in text


def test_the_keys_of_every_twin_are_documented(client: TestClient) -> None:
    reference = (ROOT / "docs" / "reference" / "json.md").read_text("utf-8")
    rows = re.findall(r"^\| `(pnode\.page\.\w+/1)` \|[^|]*\| (.*) \|$", reference, re.MULTILINE)
    documented = {schema: set(re.findall(r"`(\w+)`", keys)) for schema, keys in rows}
    seen = {}
    for page in every_page(client):
        record = twin(client, json_path(page))
        seen[record["schema"]] = set(record) - {"schema"}
    assert seen == documented
    inner = re.search(r"^\| an entry of a page \| (.*) \|$", reference, re.MULTILINE)
    assert inner is not None
    listed = twin(client, "/entries.json")["entries"][0]
    assert set(listed) == set(re.findall(r"`(\w+)`", inner[1]))


# --- hostile texts ------------------------------------------------------------------------------


def test_hostile_texts_are_shown_as_text(client: TestClient) -> None:
    listed = {}
    for number in (1, 2, 3):
        page = twin(client, f"/entries.json?page={number}")
        listed |= {entry["title"]: entry["id"] for entry in page["entries"]}
    for title in HOSTILE:
        text = client.get(f"/entry/{listed[title]}").text
        outline = Outline(text)
        assert not outline.all("script")
        assert not outline.all("b")
        assert len(outline.all("img")) == 1
        assert "49" not in re.sub(r"[0-9a-z]{16,}", "", text) or "{{ 7" not in title
        statement = twin(client, f"/entry/{listed[title]}.json")["statement"]
        assert statement["predicate"]["title"] == title
    assert "&lt;i&gt;ada&lt;/i&gt;" in client.get("/").text
    assert "bob &amp; co" in client.get("/").text


@pytest.mark.parametrize("text", HOSTILE[:5])
def test_a_hostile_filter_is_shown_as_text(client: TestClient, text: str) -> None:
    for name in ("kind", "author", "status"):
        response = client.get("/entries", params={name: text})
        assert response.status_code == 200
        outline = Outline(response.text)
        assert not outline.all("script")
        assert not outline.all("b")
        assert len(outline.all("img")) == 1
        assert (
            twin(client, str(response.url.raw_path, "ascii").replace("?", ".json?"))[name] == text
        )


@pytest.mark.parametrize(
    "host", ["evil.example; rm -rf ~", "$(id)", "a'b", "x`id`", "<b>", "a/../b", "", "a b"]
)
def test_a_hostile_host_never_enters_a_command(client: TestClient, host: str) -> None:
    text = client.get("/peers", headers={"Host": host}).text
    assert "pnode peer add http://NODE\n" in text


def test_the_commands_name_the_address_that_was_asked_or_given(home: Home) -> None:
    with TestClient(create_app(home)) as client:
        text = client.get("/", headers={"Host": "ledger.example:81"}).text
        assert "pnode peer add http://ledger.example:81\n" in text
    with TestClient(create_app(home, url="https://ledger.example")) as client:
        text = client.get("/", headers={"Host": "other.example"}).text
        assert "pnode peer add https://ledger.example\n" in text


# --- one entry ----------------------------------------------------------------------------------


def test_the_proof_of_an_entry_can_be_checked_without_this_server(
    client: TestClient, tmp_path: Path
) -> None:
    for entry in twin(client, "/entries.json")["entries"][:3]:
        record = twin(client, f"/entry/{entry['id']}.json")
        verify_inclusion(
            bytes.fromhex(record["leaf_hash"]),
            record["index"],
            record["size"],
            [bytes.fromhex(value) for value in record["proof"]],
            bytes.fromhex(record["root"]),
        )
        response = client.get(record["proof_path"])
        file = tmp_path / f"{entry['id']}.tlog-proof"
        file.write_bytes(response.content)
        assert verify(None, [str(file)]).ok
        envelope = client.get(record["envelope_path"])
        assert str(Cid.of(envelope.content)) == entry["id"]
        assert Entry.parse(envelope.content).id == entry["id"]
        for download in (response, envelope):
            assert download.headers["content-disposition"].startswith("attachment; filename=")
        text = client.get(f"/entry/{entry['id']}").text
        assert f"curl -fO http://testserver/entry/{entry['id']}.tlog-proof\n" in text
        assert f"pnode verify {entry['id']}.tlog-proof" in text


def test_an_entry_shows_what_refers_to_it_and_to_what_it_refers(attributed: World) -> None:
    node = attributed.node
    node.withdraw(attributed.ids["hal"], reason="no longer mine")
    with TestClient(create_app(node.home)) as client:
        member = twin(client, f"/entry/{attributed.ids['ada']}.json")
        roles = {mention["role"] for mention in member["mentions"]}
        assert roles == {"members", "values"}
        assert member["mentioned"] == len(member["mentions"]) == 3
        composition = attributed.compositions["logit.select"]
        record = twin(client, f"/entry/{composition}.json")
        assert attributed.ids["ada"] in {entry["id"] for entry in record["references"]}
        text = client.get(f"/entry/{composition}").text
        assert f"pnode replay {composition}" in text
        assert f'href="/entry/{attributed.ids["ada"]}"' in text
        gone = twin(client, f"/entry/{attributed.ids['hal']}.json")
        assert gone["status"] == "withdrawn"
        withdrawals = twin(client, "/entries.json?kind=withdrawal")["entries"]
        assert [entry["about"] for entry in withdrawals] == ["hal"]
        assert "withdraws it" in client.get(f"/entry/{attributed.ids['hal']}").text


def test_a_copied_entry_is_shown_once_with_both_places(tmp_path: Path) -> None:
    ada = Home.init(tmp_path / "a", tmp_path / "as", name="ada", seed=bytes([1]) * 32)
    bob = Home.init(tmp_path / "b", tmp_path / "bs", name="bob", seed=bytes([2]) * 32)
    entry = contribute(ada, "mine")
    with ada.writing() as log:
        log.append([entry])
    with bob.writing() as log:
        log.append([entry])
    assert not sync(bob, SimulatedPeer.of(ada)).errors
    with TestClient(create_app(bob)) as client:
        record = twin(client, f"/entry/{entry.id}.json")
        assert (record["origin"], record["index"]) == (ada.origin, 1)
        assert [copy["origin"] for copy in record["copies"]] == [bob.origin]
        assert twin(client, "/entries.json")["total"] == 3
        own = twin(client, f"/log/{log_folder(bob.origin)}.json")
        assert [(line["index"], line["copied"]) for line in own["entries"]] == [
            (1, True),
            (0, False),
        ]
        assert (
            "copy of an entry that has its place elsewhere"
            in client.get(f"/log/{log_folder(bob.origin)}").text
        )


def make_dispute(home: Home) -> tuple[SimulatedLog, Evidence]:
    """Let a home mirror a log, and then learn that it has signed another history too."""
    log = SimulatedLog(9).grow(4)
    other = SimulatedLog(9, log.bodies[:2]).grow(4, "other ")
    assert not sync(home, SimulatedPeer(log)).errors
    evidence = same_size(log.key, log.note(), other.note())
    trees = sorted(([leaf_hash(b) for b in each.bodies] for each in (log, other)), key=root_of)
    common = common_prefix(evidence, reader(trees[0]), reader(trees[1]))
    with home.locked() as database:
        hold(database, evidence, common=common.size)
    keys = home.keys()
    statement = evidence_statement(
        evidence, common, author=keys.author.public.did, created="2026-11-22T20:00:00Z"
    )
    with home.writing() as own:
        own.append([Entry.sign(statement, keys.author)])
    return log, evidence


def test_a_log_with_two_histories_is_shown_as_such(tmp_path: Path) -> None:
    home = Home.init(tmp_path / "h1", tmp_path / "s1", name="ada", seed=bytes([1]) * 32)
    log, evidence = make_dispute(home)
    with TestClient(create_app(home)) as client:
        page = twin(client, f"/log/{log_folder(log.origin)}.json")
        assert (page["frozen"], page["disputed_from"]) == (True, 2)
        assert [entry["status"] for entry in page["entries"]] == ["disputed", "disputed", "", ""]
        assert page["evidence"] == [evidence.id]
        assert "signed two histories" in client.get(page["page_path"]).text
        assert "two histories" in client.get("/").text
        disputed = twin(client, "/entries.json?status=disputed")
        assert disputed["total"] == disputed["statuses"]["disputed"] == 2
        shown = client.get(f"/entry/{page['entries'][0]['id']}").text
        assert "See the evidence" in shown
        file = tmp_path / "file.equivocation"
        file.write_bytes(client.get(f"/evidence/{evidence.id}").content)
        Evidence.parse(file.read_bytes()).verify()
        assert verify(None, [str(file)]).ok
        assert client.get(f"/evidence/{'0' * 64}").status_code == 404
        assert client.get("/evidence/x").status_code == 404


# --- paging and filters -------------------------------------------------------------------------


def test_pages_of_a_list_cover_it_once(client: TestClient) -> None:
    first = twin(client, "/entries.json")
    seen = []
    for number in range(1, first["pages"] + 1):
        seen += [entry["id"] for entry in twin(client, f"/entries.json?page={number}")["entries"]]
    assert len(seen) == len(set(seen)) == first["total"] == 2 * PAGE_SIZE + len(HOSTILE) + 3
    text = client.get("/entries?page=2").text
    assert 'rel="prev" href="/entries?page=1"' in text
    assert 'rel="next" href="/entries?page=3"' in text


def test_a_log_is_paged_from_its_newest_entry(client: TestClient, home: Home) -> None:
    path = f"/log/{log_folder(home.origin)}"
    seen = []
    for number in (1, 2, 3):
        page = twin(client, f"{path}.json?page={number}")
        seen += [entry["index"] for entry in page["entries"]]
    assert seen == list(range(page["size"]))[::-1]
    assert client.get(f"{path}?page=4").status_code == 404


@pytest.mark.parametrize(
    ("page", "status"),
    [
        ("1", 200),
        ("3", 200),
        ("4", 404),
        ("999999999", 404),
        ("0", 400),
        ("-1", 400),
        ("01", 400),
        ("1.0", 400),
        ("9999999999", 400),
        ("\u0661", 400),
        ("x", 400),
        ("", 400),
    ],
)
def test_the_bounds_of_paging(client: TestClient, page: str, status: int) -> None:
    for path in ("/entries", "/entries.json"):
        assert client.get(path, params={"page": page}).status_code == status


def test_filters_narrow_the_list(client: TestClient, home: Home) -> None:
    by_kind = twin(client, "/entries.json?kind=suite")
    assert by_kind["total"] == by_kind["kinds"]["suite"] == 2 * PAGE_SIZE + len(HOSTILE)
    by_name = twin(client, "/entries.json?author=bob+%26+co")
    assert {entry["name"] for entry in by_name["entries"]} == {"bob & co"}
    did = by_name["entries"][0]["author"]
    assert twin(client, f"/entries.json?author={did}")["entries"] == by_name["entries"]
    none = twin(client, "/entries.json?kind=genesis&status=active")
    assert (none["total"], none["pages"], none["entries"]) == (0, 1, [])
    assert twin(client, "/entries.json?kind=&status=&author=")["total"] == by_kind["total"] + 3


def test_a_huge_query_is_refused(client: TestClient) -> None:
    response = client.get("/entries", params={"author": "x" * 5_000}, headers=HTML)
    assert response.status_code == 400
    assert "xxx" not in response.text


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/entry/",
        "/entry/x",
        f"/entry/b{'a' * 58}",
        f"/entry/b{'a' * 58}.tlog-proof",
        "/entry/%3Cscript%3E",
        f"/log/{'0' * 64}",
        "/log/x",
        "/nothing",
        "/peers/",
        "/templates/base.html.j2",
        "/style.css",
    ],
)
def test_what_is_not_here_is_said_in_the_form_asked_for(client: TestClient, path: str) -> None:
    plain = client.get(path)
    page = client.get(path, headers=HTML)
    data = client.get(path, headers={"Accept": "application/json"})
    for response in (plain, page, data):
        assert response.status_code == 404
        assert response.headers["cache-control"] == "no-store"
        assert "<script>" not in response.text
    assert page.headers["content-type"].startswith("text/html")
    assert len(Outline(page.text).all("h1")) == 1
    assert json.loads(data.content)["error"]["code"] == "not-found"
    assert plain.headers["content-type"].startswith("text/plain")


def test_an_unknown_twin_is_an_error_in_json(client: TestClient) -> None:
    unknown = f"/entry/b{'a' * 58}"
    for path in (
        f"{unknown}.json",
        f"{unknown}.dsse.json",
        "/entries.json?page=4",
        f"/log/{'0' * 64}.json",
    ):
        response = client.get(path, headers=HTML)
        assert response.status_code == 404
        assert set(json.loads(response.content)["error"]) == {"code", "message", "hint"}


def test_a_damaged_ledger_is_an_error_that_names_nothing(tmp_path: Path) -> None:
    home = Home.init(tmp_path / "h1", tmp_path / "s1", seed=bytes([1]) * 32)
    home.ledger_path.write_bytes(b"not a database" * 1_000)
    with TestClient(create_app(home)) as client:
        response = client.get("/", headers=HTML)
        assert response.status_code == 500
        assert "pnode audit" in response.text
        assert str(tmp_path) not in response.text


# --- caching ------------------------------------------------------------------------------------


def test_a_page_the_client_has_is_not_sent_again(client: TestClient) -> None:
    for path in [*every_page(client)[:5], "/index.json", "/peers.json"]:
        first = client.get(path)
        tag = first.headers["etag"]
        assert first.headers["cache-control"] == "public, max-age=5"
        for asked in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            again = client.get(path, headers={"If-None-Match": asked})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
        assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200


def test_a_head_has_the_headers_of_a_get(client: TestClient) -> None:
    for path in [*every_page(client)[:5], "/index.json", assets()[0].path]:
        get, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("content-length", "content-type", "cache-control", "etag"):
            assert head.headers.get(name) == get.headers.get(name)


def test_assets_are_named_by_their_content(client: TestClient) -> None:
    for asset in assets():
        response = client.get(asset.path)
        assert response.content == asset.body
        assert "immutable" in response.headers["cache-control"]
        assert hashlib.sha256(asset.body).hexdigest()[:16] in asset.path


def test_only_a_grown_ledger_is_read_again(tmp_path: Path) -> None:
    home = Home.init(tmp_path / "h1", tmp_path / "s1", name="ada", seed=bytes([1]) * 32)
    with TestClient(create_app(home)) as client:
        before = client.get("/index.json")
        assert client.get("/index.json").headers["etag"] == before.headers["etag"]
        with home.writing() as log:
            log.append([contribute(home, "new")])
        after = client.get("/index.json")
        assert after.headers["etag"] != before.headers["etag"]
        assert after.json()["newest"][0]["title"] == "new"


def test_a_page_does_not_wait_for_a_reading_that_takes_long(tmp_path: Path) -> None:
    home = Home.init(tmp_path / "h1", tmp_path / "s1", name="ada", seed=bytes([1]) * 32)
    go = Event()

    def slow(database: Database, own: str) -> Snapshot:
        assert go.wait(60)
        return take(database, own)

    snapshots = Snapshots(home, patience=0.05, read=slow)
    with pytest.raises(UnavailableError):
        snapshots.current()
    go.set()
    first = Snapshots(home, patience=60, read=slow)
    before = first.current()
    go.clear()
    first.patience = 0.05
    with home.writing() as log:
        log.append([contribute(home, "new")])
    assert first.current() is before
    go.set()
    first.patience = 60
    assert first.current().frontier != before.frontier


def test_many_requests_at_once_read_a_ledger_once(tmp_path: Path) -> None:
    home = Home.init(tmp_path / "h1", tmp_path / "s1", name="ada", seed=bytes([1]) * 32)
    readings = []

    def counted(database: Database, own: str) -> Snapshot:
        readings.append(own)
        return take(database, own)

    snapshots = Snapshots(home, read=counted)
    with ThreadPoolExecutor(16) as pool:
        seen = list(pool.map(lambda _: snapshots.current(), range(200)))
    assert readings == [home.origin]
    assert len({id(snapshot) for snapshot in seen}) == 1


# --- peers --------------------------------------------------------------------------------------


def test_peers_are_told_only_if_their_keeper_wants_that(tmp_path: Path) -> None:
    home = Home.init(tmp_path / "h1", tmp_path / "s1", name="ada", seed=bytes([1]) * 32)
    add_peer(home, "https://ledger.example")
    add_peer(home, str(tmp_path / "stick"))
    with PeerState.opened(home.path) as state:
        state.tried("https://ledger.example", "2026-11-22T20:00:00Z", "/srv/secret: broken")
    with TestClient(create_app(home)) as client:
        assert twin(client, "/peers.json")["peers"] == []
        assert "ledger.example" not in client.get("/peers").text
    with TestClient(create_app(home, show_peers=True)) as client:
        listed = twin(client, "/peers.json")["peers"]
        assert [peer["peer"] for peer in listed] == ["https://ledger.example", FOLDER]
        assert [peer["state"] for peer in listed] == ["failed", "not tried"]
        assert [peer["contact"] for peer in listed] == ["2026-11-22T20:00:00Z", ""]
        text = client.get("/peers").text
        assert "https://ledger.example" in text
        assert "/srv/secret" not in text
        assert str(tmp_path) not in text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://ledger.example", "https://ledger.example"),
        ("http://8.8.8.8:7677", "http://8.8.8.8:7677"),
        ("http://[2001:4860:4860::8888]", "http://[2001:4860:4860::8888]"),
        ("/media/usb", FOLDER),
        ("http://127.0.0.1:7677", PRIVATE),
        ("http://10.0.0.7", PRIVATE),
        ("http://192.168.1.1/x", PRIVATE),
        ("http://[::1]:7677", PRIVATE),
        ("http://[fd00::1]", PRIVATE),
        ("http://localhost:7677", PRIVATE),
        ("http://nas", PRIVATE),
        ("http://nas.local", PRIVATE),
        ("https://vault.internal.", PRIVATE),
    ],
)
def test_addresses_that_only_mean_something_here_are_not_told(address: str, shown: str) -> None:
    assert public_address(address) == shown
