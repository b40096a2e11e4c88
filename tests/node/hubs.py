"""A Hugging Face hub on a local port: the part of its HTTP interface that huggingface_hub uses.

Repositories are given as files by name. Like the real one, it tells large files (stored apart,
named by SHA-256) from others (named by the id of their git blob), redirects for the large ones,
answers 401 for a repository that it does not know, and shows gated repositories without their
files. It takes uploads as commits. `faults` makes it misbehave.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

PAGE = 3
"""Files on one page of a listing; small, so that listings have several."""


@dataclass
class Repository:
    """Commits by id, and names of revisions."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False

    def commit(self, files: Mapping[str, bytes], revision: str = "main") -> str:
        """Add a commit that holds just these files, and return its id."""
        listing = json.dumps([(name, blob_id(data)) for name, data in sorted(files.items())])
        parent = self.names.get(revision, "")
        commit = hashlib.sha1(f"{parent}{listing}".encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.names[revision] = commit
        return commit


@dataclass
class Hub:
    """What the hub holds, whom it was asked by, and how it misbehaves."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    store: str = ""
    """Where large files are: another host, as far as a client can tell."""
    faults: dict[str, Callable[[Handler], None]] = field(default_factory=dict)
    """By `METHOD path`, what answers instead."""

    def put(self, name: str, files: Mapping[str, bytes], revision: str = "main") -> str:
        """Commit files to a repository, which is created if need be."""
        return self.repositories.setdefault(name, Repository()).commit(files, revision)


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin"))


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    hub: Hub
    sent: bytes

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.sent = self._body()
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path)
        self.hub.asked.append(f"{self.command} {path}")
        fault = self.hub.faults.get(f"{self.command} {path}")
        with suppress(ConnectionError):
            if fault is not None:
                fault(self)
                return
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"] and len(parts) >= 4:
                self._api("/".join(parts[2:4]), parts[4:], parse_qs(address.query))
            elif parts[:2] == ["api", "repos"]:
                wanted = json.loads(self.sent)
                name = f"{wanted['organization']}/{wanted['name']}"
                self.hub.repositories.setdefault(name, Repository())
                self.say({"url": f"{self.hub.url}/{name}"})
            elif parts == ["api", "validate-yaml"]:
                self.say({"errors": [], "warnings": []})
            elif parts[0] == "cdn":
                self.send(200, self._large(parts[1]))
            elif len(parts) >= 5 and parts[2] == "resolve":
                self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
            else:
                self.refuse(404)

    def _api(self, name: str, rest: list[str], query: dict[str, list[str]]) -> None:
        found = self._repository(name)
        if found is None:
            return
        if rest[:1] == ["preupload"]:
            files = json.loads(self.sent)["files"]
            modes = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            self.say({"files": [{"path": file["path"], **modes} for file in files]})
            return
        if rest[:1] == ["commit"]:
            commit = self._commit(found, rest[1])
            self.say({"commitOid": commit, "commitUrl": f"{self.hub.url}/{name}/commit/{commit}"})
            return
        commit = self._commit_of(found, "/".join(rest[1:]) or "main")
        if commit is None:
            return
        files = found.commits[commit]
        if rest[:1] == ["tree"]:
            self._tree(files, query)
            return
        siblings = [{"rfilename": each} for each in files]
        self.say({"id": name, "sha": commit, "siblings": siblings, "private": False})

    def _tree(self, files: Mapping[str, bytes], query: dict[str, list[str]]) -> None:
        folders = sorted({name.split("/")[0] for name in files if "/" in name})
        items: list[dict[str, Any]] = [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder} for folder in folders
        ]
        for name, data in sorted(files.items()):
            if "/" not in name:
                item = {"type": "file", "oid": blob_id(data), "size": len(data), "path": name}
                if is_large(name):
                    item["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
                items.append(item)
        start = int(query.get("cursor", ["0"])[0])
        headers = {}
        if len(items) > start + PAGE:
            path = urlsplit(self.path).path
            headers["Link"] = f'<{self.hub.url}{path}?cursor={start + PAGE}>; rel="next"'
        self.say(items[start : start + PAGE], headers)

    def _resolve(self, name: str, revision: str, file: str) -> None:
        found = self._repository(name)
        if found is None:
            return
        if found.gated:
            self.refuse(403, "GatedRepo")
            return
        commit = self._commit_of(found, revision)
        if commit is None:
            return
        data = found.commits[commit].get(file)
        if data is None:
            self.refuse(404, "EntryNotFound")
        elif is_large(file):
            digest = sha256(data)
            self.send(
                302,
                b"",
                {
                    "Location": f"{self.hub.store}/cdn/{digest}",
                    "X-Repo-Commit": commit,
                    "X-Linked-ETag": f'"{digest}"',
                    "X-Linked-Size": str(len(data)),
                },
            )
        else:
            self.send(200, data, {"X-Repo-Commit": commit, "ETag": f'"{blob_id(data)}"'})

    def _commit(self, found: Repository, revision: str) -> str:
        files = dict(found.commits.get(found.names.get(revision, ""), {}))
        for line in self.sent.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
        return found.commit(files, revision)

    def _repository(self, name: str) -> Repository | None:
        found = self.hub.repositories.get(name)
        wanted = found.token if found else None
        if found is None or (wanted and self.headers["authorization"] != f"Bearer {wanted}"):
            self.refuse(401, "RepoNotFound")
            return None
        return found

    def _commit_of(self, found: Repository, revision: str) -> str | None:
        commit = found.names.get(revision, revision)
        if commit not in found.commits:
            self.refuse(404, "RevisionNotFound")
            return None
        return commit

    def _large(self, digest: str) -> bytes:
        commits = (
            each for found in self.hub.repositories.values() for each in found.commits.values()
        )
        return next(data for files in commits for data in files.values() if sha256(data) == digest)

    def _body(self) -> bytes:
        if self.headers["transfer-encoding"] == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers["content-length"] or 0))

    def say(self, value: object, headers: Mapping[str, str] | None = None) -> None:
        """Answer with JSON."""
        self.send(
            200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})}
        )

    def refuse(self, status: int, code: str = "") -> None:
        """Answer with an error, named as the hub names it."""
        self.send(status, b"{}", {"X-Error-Code": code} if code else {})

    def send(self, status: int, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Answer."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve an empty hub on a free port."""
    hub = Hub()
    bound = type("Bound", (Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), bound) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        hub.store = f"http://localhost:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def visited(hub: Hub, monkeypatch: pytest.MonkeyPatch, cache: str) -> Iterator[Hub]:
    """Make this hub the one that huggingface_hub talks to in this process.

    A process that starts with HF_ENDPOINT has the same; here the library is imported already.
    """
    from huggingface_hub import constants

    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", cache)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    yield hub
