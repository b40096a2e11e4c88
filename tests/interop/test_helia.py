"""An independent IPFS implementation reads what a node serves, and a node reads what it serves.

Helia's client of trustless gateways and its UnixFS, and the CARs of @ipld/car, from npm.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from simulator import note_entry

from ledger.cid import Cid
from ledger.unixfs import Limits, walk
from node.api import Node
from node.artifacts import store_directory
from node.home import Home
from node.storage.settings import STORE_FILE
from tests.interop.npm import installed
from tests.node.served import served
from tests.node.worlds import snapshot

FILES = {
    "adapter_config.json": b'{"r":8}\n',
    "adapter_model.safetensors": bytes(range(256)) * 20_000,
    "a/zeros": bytes(3 << 20),
    "a/same-zeros": bytes(3 << 20),
    "a/b/empty": b"",
    "B": b"upper case comes first",
    "\u00fcber": b"not ASCII",
}


@pytest.fixture(scope="module")
def helia() -> Path:
    return installed("helia")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifact")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.init(tmp_path / "home", tmp_path / "state", name="ada", seed=b"\1" * 32)


def test_helia_reads_what_a_node_serves(helia: Path, folder: Path, home: Home) -> None:
    root = store_directory(folder, home.store).cid
    with home.writing() as log:
        log.append([note_entry(home.keys(), "artifact", cid=str(root))])
    with served(home) as url:
        done = subprocess.run(
            ["node", "read.mjs", url, str(root)],
            cwd=helia,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    expected = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    assert read["byBlock"] == expected
    assert read["byCar"] == expected
    assert read["order"] == [str(cid) for cid, _ in walk(root, home.store.get_block, Limits())]


def test_a_node_reads_what_helia_builds_and_serves(
    helia: Path, folder: Path, home: Home, tmp_path: Path
) -> None:
    command = ["node", "serve.mjs", str(folder)]
    with subprocess.Popen(command, cwd=helia, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            made = json.loads(server.stdout.readline())
            (home.path / STORE_FILE).write_text(f'gateways = ["{made["url"]}"]\n')
            fetched = Node(home).fetch(made["root"], tmp_path / "out")
        finally:
            server.terminate()
    assert made["root"] == str(store_directory(folder, None).cid)
    assert snapshot(tmp_path / "out") == snapshot(folder)
    assert [used.dropped for used in fetched.providers] == [""]
    assert home.store.is_pinned(Cid.parse(made["root"]))
