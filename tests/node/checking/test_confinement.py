"""The process of a replay cannot be taken over, nor take the machine over.

Hooks and limits cannot be taken back, so each attack is made in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from compose.base import CONFIG, PINNED_NAMES, TOKENIZER_CONFIG, PinnedFile, manifest_digest
from compose.lock import LockedBase
from ledger.errors import IncompleteError, PolicyError, UsageError
from node.artifacts import store_directory, store_document
from node.checking.confinement import OFFLINE, Limits, environment
from node.checking.rerunning import _end, _run
from node.materials import read_lock
from tests.node.lies import MERGE
from tests.node.worlds import BASE, World, predicate_of, say

ATTACKS = {
    "connect": "import socket; socket.create_connection(('127.0.0.1', 9))",
    "resolve": "import socket; socket.getaddrinfo('example.org', 443)",
    "listen": "import socket; socket.socket().bind(('127.0.0.1', 0))",
    "datagram": "import socket; socket.socket(type=socket.SOCK_DGRAM)",
    "unix": "import socket; socket.socketpair()",
    "download": "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')",
    "http": "import http.client; http.client.HTTPConnection('127.0.0.1', 9).request('GET', '/')",
    "shell": "import os; os.system('true')",
    "program": "import subprocess; subprocess.run(['true'])",
    "replace": "import os; os.execv('/bin/true', ['true'])",
    "spawn": "import os; os.posix_spawn('/bin/true', ['true'], {})",
    "fork": "import os; os.fork() or os._exit(0)",
    "keys": "open(SECRETS + '/seed').read()",
    "keys around a corner": "open(SECRETS + '/../keys/seed').read()",
    "keys by descriptor": "import os; os.open(SECRETS + '/seed', os.O_RDONLY)",
    "keys by a link": "open(SECRETS + '/../link').read()",
}
TRY = """
import json, os, sys
from pathlib import Path
from node.checking.confinement import Limits, confine
SECRETS = sys.argv[1]
attacks = json.load(sys.stdin)
confine(Limits(seconds=60, gib=4), Path(SECRETS))
stopped = {}
for name, code in attacks.items():
    try:
        exec(code, {"SECRETS": SECRETS})
    except PermissionError as error:
        stopped[name] = str(error)
    except BaseException as error:
        stopped[name] = repr(error)
try:
    bytearray(8 << 30)
except MemoryError:
    stopped["memory"] = "MemoryError"
print(json.dumps(stopped))
"""


def test_network_programs_keys_and_memory_are_out_of_reach(tmp_path: Path) -> None:
    secrets = tmp_path / "keys"
    secrets.mkdir()
    (secrets / "seed").write_text("seed")
    (tmp_path / "link").symlink_to(secrets / "seed")
    done = subprocess.run(
        [sys.executable, "-c", TRY, str(secrets)],
        input=json.dumps(ATTACKS).encode(),
        capture_output=True,
        check=True,
    )
    stopped = json.loads(done.stdout)
    assert stopped.pop("memory") == "MemoryError"
    assert set(stopped) == set(ATTACKS)
    for name, message in stopped.items():
        assert "a replay must not" in message, name


def test_the_process_is_told_to_stay_offline_and_gets_no_secrets() -> None:
    outside = {
        "PATH": "/bin",
        "OMP_NUM_THREADS": "1",
        "HF_TOKEN": "x",
        "PNODE_PASSPHRASE": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "PNODE_IPFS_AUTH": "x",
        "https_proxy": "http://proxy.example",
        "HF_HUB_OFFLINE": "0",
    }
    assert environment(outside) == {"PATH": "/bin", "OMP_NUM_THREADS": "1"} | OFFLINE


@pytest.mark.parametrize("limit", ["seconds", "gib", "tokens"])
def test_a_limit_is_above_zero(limit: str) -> None:
    with pytest.raises(UsageError, match="above zero"):
        Limits(**{limit: 0})


def test_when_its_time_is_over_there_is_no_verdict() -> None:
    with pytest.raises(IncompleteError, match="did not end within 1 seconds"):
        _run([sys.executable, "-c", "import time; time.sleep(600)"], {}, Limits(seconds=1))


def test_it_ends_with_all_it_started() -> None:
    code = """
import subprocess, sys, time
subprocess.Popen(["sleep", "600"])
print("started", flush=True)
time.sleep(600)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline() == b"started\n"
        _end(process)
        # Both held the pipe open; it ends when the last of them has.
        assert output.read() == b""


def test_a_process_that_is_killed_gives_no_verdict() -> None:
    with pytest.raises(IncompleteError, match="ended by SIGKILL"):
        _run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], {}, Limits())


def test_items_that_ask_for_too_many_tokens_are_not_answered(composed_home: World) -> None:
    with pytest.raises(IncompleteError, match="the limit is 10"):
        composed_home.node.replay(composed_home.compositions[MERGE], limits=Limits(tokens=10))


def test_too_little_memory_gives_no_verdict() -> None:
    with pytest.raises(IncompleteError, match="too little memory") as caught:
        _run([sys.executable, "-c", "bytearray(1 << 60)"], {}, Limits())
    assert "--max-memory" in caught.value.hint


@pytest.mark.parametrize("name", [CONFIG, TOKENIZER_CONFIG])
def test_a_base_that_brings_code_is_refused_and_none_of_it_runs(
    composed: World, tmp_path: Path, name: str
) -> None:
    """A composer may pin any base. Its digest is right, and a record asks everybody to load it."""
    marker, hostile = tmp_path / "taken over", tmp_path / "hostile"
    shutil.copytree(BASE, hostile)
    config = json.loads((hostile / name).read_text()) if (hostile / name).exists() else {}
    config |= {
        "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"},
        "trust_remote_code": True,
    }
    (hostile / name).write_text(json.dumps(config))
    (hostile / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Own: pass\n")
    (hostile / "sitecustomize.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    node = composed.node
    predicate = predicate_of(node, composed.compositions[MERGE])
    base = LockedBase(
        "cipher-tiny", _digest(hostile), store_directory(hostile, node.home.store).cid
    )
    lock = replace(read_lock(node.home, predicate["lock"]), base=base)
    predicate |= {
        "lock": str(store_document(lock.encode(), node.home.store)),
        "base": {"name": base.name, "digest": base.digest, "cid": str(base.cid)},
    }
    forged = say(node.home, "composition", predicate, {"lock.json": lock.encode()})
    with pytest.raises(PolicyError, match="auto_map asks to run code"):
        node.replay(forged)
    assert not marker.exists()


def _digest(folder: Path) -> str:
    """The digest of a base that `open_base` refuses to open."""
    pinned = [*PINNED_NAMES, *(path.name for path in folder.glob("*.safetensors"))]
    return manifest_digest(
        PinnedFile(name, hashlib.sha256(data).hexdigest(), len(data))
        for name in pinned
        if (folder / name).exists()
        for data in [(folder / name).read_bytes()]
    )
