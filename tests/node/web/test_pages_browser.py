"""The pages in a real browser: layout at several widths, colours, scripts off, no complaints.

Skipped where there is no Chromium (Debian: `apt-get install chromium`). The screenshots are kept
in the folder that PNODE_SCREENSHOTS names, if any.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from ledger.entry import entry_id
from node.peering.peers import add_peer
from node.peering.peerstate import PeerState
from node.peering.tree import log_folder
from node.web.pagehtml import assets
from node.web.serve import create_server
from tests.node.web.browser import FLAGS, Browser, browser, find
from tests.node.web.test_pages import HOSTILE, contribute, make_dispute
from tests.node.worlds import World

CHROMIUM = find()
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: the pages are NOT tried in it"),
]
WIDTHS = (1280, 375, 320)
# Of every element with text of its own: the contrast of the text to what lies behind it.
CONTRAST = """
(() => {
  const light = colour => {
    const [r, g, b, a] = colour.match(/[\\d.]+/g).map(Number);
    if (a === 0) return null;
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92
      : ((v + .055) / 1.055) ** 2.4);
    return .2126 * x + .7152 * y + .0722 * z;
  };
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    let behind = null;
    for (let p = e; p && behind === null; p = p.parentElement)
      behind = light(getComputedStyle(p).backgroundColor);
    const [low, high] = [light(getComputedStyle(e).color), behind].sort((a, b) => a - b);
    const ratio = (high + .05) / (low + .05);
    if (!(ratio >= 4.5)) bad.push(`${e.tagName}.${e.className} ${ratio.toFixed(2)}`);
  }
  return bad;
})()
"""
FOCUSABLE = "document.querySelectorAll('a, button, input, select, summary').length"


@dataclass(frozen=True)
class Served:
    """A running server and the addresses of its pages by name."""

    url: str
    pages: dict[str, str]


@pytest.fixture(scope="module")
def served(attributed_home: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    world = attributed_home.copy_to(tmp_path_factory.mktemp("served"))
    world.node.withdraw(world.ids["hal"], reason="Trained on data that I may not pass on.")
    home = world.node.home
    with home.writing() as log:
        log.append([contribute(home, title) for title in HOSTILE])
        log.append([contribute(home, f"suite {number}") for number in range(60)])
        hostile = log.log.size - 60 - len(HOSTILE)
        entry = next(log.log.bodies(hostile, hostile + 1))
    forked, _ = make_dispute(home)
    for peer in ("https://ledger.example", "/media/usb/pnode", "http://192.168.1.7:7677"):
        add_peer(home, peer)
    with PeerState.opened(home.path) as state:
        state.tried("https://ledger.example", "2026-11-22T20:00:00Z", "")
        state.tried("http://192.168.1.7:7677", "2026-11-22T20:00:00Z", "unavailable")
    server, bound = create_server(home, port=0, show_peers=True)
    thread = threading.Thread(target=server.run, args=([bound],))
    with bound:
        thread.start()
        try:
            yield Served(
                f"http://127.0.0.1:{bound.getsockname()[1]}",
                {
                    "overview": "/",
                    "entries": "/entries",
                    "filtered": "/entries?kind=suite&page=2",
                    "entry": f"/entry/{world.ids['ada']}",
                    "composition": f"/entry/{world.compositions['logit.select']}",
                    "hostile": f"/entry/{entry_id(entry)}",
                    "log": f"/log/{log_folder(home.origin)}",
                    "disputed": f"/log/{log_folder(forked.origin)}",
                    "peers": "/peers",
                },
            )
        finally:
            server.should_exit = True
            thread.join(timeout=60)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM is not None
    with browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as driven:
        yield driven


def shots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("PNODE_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pixels(png: bytes) -> tuple[int, int, set[bytes]]:
    """Return the size of a screenshot and the distinct pixels of every seventh row."""
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    channels = {2: 3, 6: 4}[colour]
    assert depth == 8
    at, data = 8, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        if kind == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += 12 + length
    raw, stride = zlib.decompress(data), width * channels + 1
    rows = [raw[row * stride + 1 : (row + 1) * stride] for row in range(0, height, 7)]
    return (
        width,
        height,
        {row[i : i + channels] for row in rows for i in range(0, stride, channels)},
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_readable_at_every_width(
    served: Served, driven: Browser, tmp_path: Path, scheme: str
) -> None:
    for name, path in served.pages.items():
        for width in WIDTHS:
            driven.show(width, dark=scheme == "dark")
            driven.open(served.url + path)
            where = f"{name} at {width}"
            assert driven.evaluate("document.documentElement.scrollWidth") <= width, where
            assert driven.evaluate(CONTRAST) == [], where
            shot = driven.screenshot(shots(tmp_path) / f"{name}-{width}-{scheme}.png")
            shown_width, height, colours = pixels(shot)
            assert (shown_width, height >= 600, len(colours) > 20) == (width, True, True), where
    paper = driven.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == (scheme == "dark")


def test_the_browser_has_nothing_to_complain_about(served: Served, driven: Browser) -> None:
    driven.console.clear()
    driven.failures.clear()
    driven.requests.clear()
    for path in served.pages.values():
        driven.open(served.url + path)
    assert driven.console == []
    assert driven.failures == []
    allowed = {served.url + path for path in served.pages.values()}
    allowed |= {served.url + asset.path for asset in assets()}
    assert set(driven.requests) <= allowed


def test_the_policy_stops_what_a_page_must_not_do(served: Served, driven: Browser) -> None:
    driven.open(served.url)
    driven.console.clear()
    driven.evaluate(
        "document.body.insertAdjacentHTML('beforeend',"
        ' \'<p id=probe onclick="window.ran=1" style="color:red">x</p>\');'
        "const script = document.createElement('script'); script.textContent = 'window.ran = 1';"
        "document.body.append(script); document.getElementById('probe').click(); 0"
    )
    assert driven.evaluate("window.ran") is None
    assert driven.evaluate("document.getElementById('probe').style.color") == ""
    assert len([text for text in driven.console if "Content Security Policy" in text]) >= 2


def test_without_scripts_a_page_is_the_same(served: Served, driven: Browser) -> None:
    for path in served.pages.values():
        driven.open(served.url + path)
        with_scripts = driven.dom()
        driven.call("Emulation.setScriptExecutionDisabled", value=True)
        try:
            driven.open(served.url + path)
            assert driven.dom() == with_scripts
        finally:
            driven.call("Emulation.setScriptExecutionDisabled", value=False)
        assert "<script" not in with_scripts


def test_hostile_text_stays_text_in_the_browser(served: Served, driven: Browser) -> None:
    driven.open(served.url + served.pages["hostile"])
    assert driven.evaluate("document.querySelector('h1').textContent") == HOSTILE[0]
    assert driven.evaluate("document.scripts.length") == 0
    assert driven.evaluate("document.images.length") == 1


def test_the_page_makes_sense_to_a_screen_reader(served: Served, driven: Browser) -> None:
    for width in (1280, 375):
        driven.show(width)
        for name, path in served.pages.items():
            driven.open(served.url + path)
            nodes = driven.call("Accessibility.getFullAXTree")["nodes"]
            seen = [
                (node["role"]["value"], node.get("name", {}).get("value", ""))
                for node in nodes
                if not node["ignored"]
            ]
            roles = [role for role, _ in seen]
            for landmark in ("banner", "main", "contentinfo"):
                assert roles.count(landmark) == 1, f"{name}: {landmark}"
            assert "navigation" in roles
            for needs_name in ("link", "button", "combobox", "textbox", "table", "navigation"):
                assert all(text for role, text in seen if role == needs_name), needs_name
            # Tables stay tables, also where a narrow screen shows them as blocks.
            assert roles.count("table") == driven.evaluate(
                "[...document.querySelectorAll('table')]"
                ".filter(table => !table.closest('details:not([open])')).length"
            )
            if name in ("overview", "entries", "log"):
                assert "columnheader" in roles
                assert "rowheader" in roles
            levels = driven.evaluate(
                "[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])"
            )
            assert levels[0] == 1
            assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_keyboard_reaches_the_content_first(served: Served, driven: Browser) -> None:
    driven.show(1280)
    driven.open(served.url)
    for kind in ("keyDown", "keyUp"):
        driven.call(
            "Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9
        )
    focused = "document.activeElement"
    assert driven.evaluate(f"{focused}.textContent") == "Skip to the content"
    assert driven.evaluate(f"{focused}.getBoundingClientRect().left") == 0
    assert driven.evaluate(FOCUSABLE) > 10


def test_the_filter_works_as_a_plain_form(served: Served, driven: Browser) -> None:
    driven.show(1280)
    driven.open(f"{served.url}/entries")
    driven.evaluate("document.getElementById('kind').value = 'withdrawal'; 0")
    driven._events.clear()
    driven.evaluate("document.querySelector('button').click(); 0")
    driven.wait_for("Page.loadEventFired")
    assert "kind=withdrawal" in driven.evaluate("location.search")
    assert driven.evaluate("document.querySelectorAll('tbody tr').length") == 1
    assert driven.evaluate("document.getElementById('kind').value") == "withdrawal"


def test_the_plain_command_line_shows_the_commands(served: Served, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    path = served.pages["entry"]
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1280,1600",
        "--dump-dom",
        served.url + path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    id_ = path.removeprefix("/entry/")
    for expected in (
        "<h2>Check this yourself</h2>",
        f"curl -fO {served.url}{path}.tlog-proof\npnode verify {id_}.tlog-proof",
        f"pnode fetch {id_} -o copy",
        f'href="{path}.dsse.json"',
    ):
        assert expected in done.stdout
    assert "<script" not in done.stdout
