"""Models from a hub: the commit is pinned, little is fetched, and nothing it says is believed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger.errors import NotFoundError, PnodeError, UsageError
from node import hub as module
from node.api import Node
from node.bases import find_base, open_known
from node.hub import HubModel
from tests.docs.pages import ROOT
from tests.node.hubs import Handler, Hub, blob_id, serving, visited
from tests.node.worlds import ADAPTERS, BASE, Place, check_home, predicate_of, snapshot, write_suite

ADA = {path.name: path.read_bytes() for path in (ADAPTERS / "ada").iterdir()}
CARD = b"---\nlicense: cc0-1.0\nbase_model: demo/cipher-tiny\n---\n# A card\n"
REPOSITORY = {
    **ADA,
    "README.md": CARD,
    ".gitattributes": b"*.bin filter=lfs\n",
    "tokenizer.json": b"{}",
    "training_args.bin": b"\x80\x04a pickle",
    "checkpoint-9/adapter_config.json": b"{}",
}
NAME = "demo/ada-lora"
WEIGHTS = "adapter_model.safetensors"
MAIN = "from node.cli import main; main()"


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with serving() as hub:
        yield hub


@pytest.fixture
def hub(server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    for kept in (server.repositories, server.asked, server.faults):
        kept.clear()
    server.put(NAME, REPOSITORY)
    with visited(server, monkeypatch, str(tmp_path / "hf")):
        yield server


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("prepared"))
    place.init("alice").add_base(str(BASE), "cipher-tiny")
    return place


@pytest.fixture
def ready(prepared: Place, tmp_path: Path) -> Node:
    """A home with the base of the adapters."""
    return prepared.copy_to(tmp_path / "ready").open()


def publish(node: Node, revision: str = "main", **terms: str) -> str:
    published = node.publish(f"hf:{NAME}@{revision}", base="cipher-tiny", **terms)
    assert published.id is not None
    return published.id


def failing(node: Node, revision: str = "main") -> PnodeError:
    """Return the error of a publication that must leave nothing behind but a cache."""
    before = {name: snapshot(node.home.path / name) for name in ("store", "bases")}
    entries = len(node.log())
    with pytest.raises(PnodeError) as caught:
        publish(node, revision)
    assert {name: snapshot(node.home.path / name) for name in before} == before
    assert len(node.log()) == entries
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


def fetched(hub: Hub) -> list[str]:
    """Return the names of the files that were asked for."""
    return [line.rsplit("/", 1)[1] for line in hub.asked if "/resolve/" in line]


def test_an_adapter_on_the_hub_becomes_a_contribution_that_names_its_commit(
    hub: Hub, ready: Node
) -> None:
    published = ready.publish(f"hf:{NAME}@main", base="cipher-tiny")
    commit = hub.repositories[NAME].names["main"]
    said = predicate_of(ready, str(published.id))
    assert said["source"] == {"hub": hub.url, "repository": NAME, "commit": commit}
    assert (said["title"], said["license"]) == ("ada-lora", "cc0-1.0")
    assert published.source is not None
    assert published.source.left_out == ("tokenizer.json", "training_args.bin")
    subjects = {item["name"]: item["digest"] for item in said["manifest"]["resources"]}
    assert subjects == {
        **snapshot(ADAPTERS / "ada"),
        "README.md": module.hashlib.sha256(CARD).hexdigest(),
    }
    check_home(ready)


def test_only_what_an_adapter_may_hold_is_fetched_and_lies_there_plainly(
    hub: Hub, ready: Node
) -> None:
    published = ready.publish(f"hf:{NAME}", base="cipher-tiny")
    assert sorted(set(fetched(hub))) == ["README.md", "adapter_config.json", WEIGHTS]
    assert published.source is not None
    folder = published.source.folder
    assert all(path.is_file() and not path.is_symlink() for path in folder.iterdir())
    assert {path.name for path in folder.iterdir()} == {*ADA, "README.md"}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("name", ["demo/suite", "demo/arriving"])
def test_a_suite_is_published_as_well(hub: Hub, node: Node, tmp_path: Path, name: str) -> None:
    suite = write_suite(tmp_path / "suite")
    hub.put(name, {path.name: path.read_bytes() for path in suite.iterdir()})
    published = node.publish(f"hf:{name}")
    assert (published.kind, published.cid) == ("suite", node.publish(suite).cid)


def test_a_branch_that_moves_is_another_contribution_and_a_commit_is_for_ever(
    hub: Hub, ready: Node
) -> None:
    first = publish(ready)
    asked = len(fetched(hub))
    commit = hub.repositories[NAME].names["main"]
    moved = hub.put(NAME, {**REPOSITORY, "README.md": CARD + b"more"})
    second = publish(ready)
    assert predicate_of(ready, second)["source"]["commit"] == moved != commit
    fetched_then = len(fetched(hub))
    assert publish(ready, commit) == first
    assert len(fetched(hub)) == fetched_then > asked


def test_a_tag_and_a_reference_with_a_slash_are_revisions(hub: Hub, ready: Node) -> None:
    commit = hub.put(NAME, REPOSITORY, "v1.0")
    hub.repositories[NAME].names["refs/pr/1"] = commit
    assert publish(ready, "v1.0") == publish(ready, "refs/pr/1")


def test_a_dry_run_stores_and_signs_nothing(hub: Hub, ready: Node) -> None:
    before = snapshot(ready.home.path / "store")
    dry = ready.publish(f"hf:{NAME}", base="cipher-tiny", dry_run=True)
    assert (dry.id, dry.state) == (None, "dry-run")
    assert snapshot(ready.home.path / "store") == before
    assert publish(ready)


def test_a_file_too_large_is_refused_before_anything_is_fetched(hub: Hub, ready: Node) -> None:
    hub.put(NAME, {**REPOSITORY, "adapter_config.json": b" " * (64 * 1024 + 1)})
    error = failing(ready)
    assert (error.exit_code, fetched(hub)) == (7, [])
    assert "adapter_config.json has 65537 bytes" in error.message


def test_what_does_not_fit_on_the_disk_is_not_begun(
    hub: Hub, ready: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: full)
    error = failing(ready)
    assert (error.code, fetched(hub)) == ("storage", [])


def test_a_repository_of_something_else_is_refused(hub: Hub, ready: Node) -> None:
    hub.put(NAME, {"model.bin": b"pickle", "README.md.py": b""})
    error = failing(ready)
    assert (error.exit_code, fetched(hub)) == (7, [])


def test_weights_only_as_a_pickle_are_not_even_fetched(hub: Hub, ready: Node) -> None:
    files = {**REPOSITORY, "adapter_model.bin": b"pickle"}
    del files[WEIGHTS]
    hub.put(NAME, files)
    assert failing(ready).exit_code == 7
    assert "adapter_model.bin" not in fetched(hub)


def test_other_bytes_than_the_commit_lists_are_refused(hub: Hub, ready: Node) -> None:
    commit = hub.repositories[NAME].names["main"]
    changed = ADA["adapter_config.json"].replace(b"LORA", b"lora")
    answer = {"X-Repo-Commit": commit, "ETag": f'"{blob_id(changed)}"'}
    path = f"/{NAME}/resolve/{commit}/adapter_config.json"
    hub.faults[f"GET {path}"] = lambda handler: handler.send(200, changed, answer)
    error = failing(ready)
    assert (error.exit_code, "adapter_config.json is not what commit" in error.message) == (3, True)
    hub.faults.clear()
    assert publish(ready)


def test_other_large_bytes_than_the_commit_lists_are_refused(hub: Hub, ready: Node) -> None:
    changed = bytearray(ADA[WEIGHTS])
    changed[-1] ^= 1
    digest = module.hashlib.sha256(ADA[WEIGHTS]).hexdigest()
    hub.faults[f"GET /cdn/{digest}"] = lambda handler: handler.send(200, bytes(changed))
    assert failing(ready).exit_code == 3


def test_a_body_without_end_is_ended(hub: Hub, ready: Node) -> None:
    sent = []

    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while True:
            sent.append(handler.wfile.write(b"100000\r\n" + bytes(1 << 20) + b"\r\n"))

    digest = module.hashlib.sha256(ADA[WEIGHTS]).hexdigest()
    hub.faults[f"GET /cdn/{digest}"] = endless
    error = failing(ready)
    assert (error.exit_code, "more arrives" in error.message) == (3, True)
    assert sum(sent) < 64 << 20


def test_names_that_lead_elsewhere_are_not_fetched(hub: Hub, ready: Node) -> None:
    commit = hub.repositories[NAME].names["main"]
    bad = ("../README.md", "/etc/README.md", "a\\README.md", "a/README.md", "..")
    items = [{"type": "file", "oid": "0" * 40, "size": 1, "path": name} for name in bad]
    hub.faults[f"GET /api/models/{NAME}/tree/{commit}"] = lambda handler: handler.say(items)
    assert failing(ready).exit_code == 7
    assert fetched(hub) == []


def test_a_listing_without_end_is_not_read_to_its_end(
    hub: Hub, ready: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LISTED", 4)
    error = failing(ready)
    assert (error.exit_code, "more than 4 files" in error.message) == (7, True)


def test_a_link_in_the_cache_is_not_followed(hub: Hub, ready: Node, tmp_path: Path) -> None:
    published = ready.publish(f"hf:{NAME}", base="cipher-tiny", dry_run=True)
    assert published.source is not None
    weights = published.source.folder / WEIGHTS
    elsewhere = weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(elsewhere)
    (weights.parent / "stray.txt").touch()
    publish(ready)
    assert not weights.is_symlink()
    assert not (weights.parent / "stray.txt").exists()


def answer(status: int, code: str = "") -> Callable[[Handler], None]:
    return lambda handler: handler.refuse(status, code)


def say(value: object) -> Callable[[Handler], None]:
    return lambda handler: handler.say(value)


INFO = f"GET /api/models/{NAME}/revision/main"


@pytest.mark.parametrize(
    ("fault", "exit_code", "reason"),
    [
        (answer(401, "RepoNotFound"), 5, "no such repository"),
        (answer(404, "RepoNotFound"), 5, "no such repository"),
        (answer(404, "RevisionNotFound"), 5, "no such revision"),
        (answer(403, "GatedRepo"), 7, "agreement"),
        (answer(403), 7, "status 403"),
        (answer(429), 6, "status 429"),
        (answer(500), 6, "status 500"),
        (lambda handler: handler.send(200, b"<html>"), 6, "makes no sense"),
        (say([]), 6, "makes no sense"),
        (say({"id": NAME}), 6, "names no commit"),
        (say({"id": NAME, "sha": "main"}), 6, "names no commit"),
    ],
)
def test_every_refusal_of_the_hub_is_an_error_for_people(
    hub: Hub, ready: Node, fault: Callable[[Handler], None], exit_code: int, reason: str
) -> None:
    hub.faults[INFO] = fault
    error = failing(ready)
    assert (error.exit_code, reason in error.message) == (exit_code, True), error.message
    assert fetched(hub) == []


def test_files_behind_an_agreement_are_refused_with_a_hint(hub: Hub, ready: Node) -> None:
    hub.repositories[NAME].gated = True
    error = failing(ready)
    assert (error.exit_code, "HF_TOKEN" in error.hint) == (7, True)


def test_a_private_repository_opens_to_its_token(
    hub: Hub, ready: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories[NAME].token = "hf_secret"
    error = failing(ready)
    assert (error.exit_code, "HF_TOKEN" in error.hint) == (5, True)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert publish(ready)


def test_another_commit_than_the_one_asked_for_is_refused(hub: Hub, ready: Node) -> None:
    asked = "1" * 40
    commit = hub.repositories[NAME].names["main"]
    hub.faults[f"GET /api/models/{NAME}/revision/{asked}"] = say({"id": NAME, "sha": commit})
    assert failing(ready, asked).exit_code == 3


def test_a_hub_that_is_gone_is_unavailable(
    hub: Hub, ready: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert failing(ready).exit_code == 6


def cut_short(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(ADA[WEIGHTS])))
    handler.end_headers()
    handler.wfile.write(ADA[WEIGHTS][:1000])
    handler.close_connection = True


@pytest.mark.parametrize(
    ("method", "fault"), [("HEAD", answer(503)), ("GET", answer(503)), ("GET", cut_short)]
)
def test_a_transfer_that_fails_again_and_again_is_given_up(
    hub: Hub,
    ready: Node,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    fault: Callable[[Handler], None],
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # the library waits between attempts
    digest = module.hashlib.sha256(ADA[WEIGHTS]).hexdigest()
    commit = hub.repositories[NAME].names["main"]
    path = f"/{NAME}/resolve/{commit}/{WEIGHTS}" if method == "HEAD" else f"/cdn/{digest}"
    hub.faults[f"{method} {path}"] = fault
    assert failing(ready).exit_code == 6
    assert len(hub.asked) < 40
    hub.faults.clear()
    assert publish(ready)


def test_the_offline_mode_of_the_library_counts(
    hub: Hub, ready: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert failing(ready).exit_code == 6
    assert hub.asked == []


def test_offline_nothing_is_asked(hub: Hub, ready: Node) -> None:
    node = Node(ready.home, offline=True)
    assert failing(node).exit_code == 6
    assert hub.asked == []


@pytest.mark.parametrize("name", ["hf:ada", "hf:", "hf:a/b/c", "hf:a/b@", "hf:a/..", "hf:a/b@../x"])
def test_what_is_no_name_on_the_hub_is_refused(hub: Hub, node: Node, name: str) -> None:
    with pytest.raises(UsageError, match="OWNER/NAME"):
        node.publish(name)
    assert hub.asked == []


def test_a_password_in_the_address_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "https://me:secret@mirror.example:8080/hf")
    model = HubModel.find("a/b")
    assert model is not None
    assert module._Client(model).address == "https://mirror.example:8080/hf"


def test_the_command_honours_endpoint_and_token(hub: Hub, ready: Node, tmp_path: Path) -> None:
    hub.repositories[NAME].token = "hf_secret"
    commit = hub.repositories[NAME].names["main"]
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "publish", f"hf:{NAME}", "--base", "cipher-tiny"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PNODE_HOME": str(ready.home.path),
            "PNODE_STATE": str(ready.home.state),
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": "hf_secret",
            "HF_HOME": str(tmp_path / "hf"),
            "NO_PROXY": "127.0.0.1,localhost",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"from     hf:{NAME}@{commit}" in done.stdout
    assert "it/s" not in done.stderr
    assert ready.log()[-1].title == "ada-lora"


BASE_FILES = {path.name: path.read_bytes() for path in BASE.iterdir()}


def test_a_base_from_the_hub_is_the_one_from_a_folder(hub: Hub, node: Node) -> None:
    more = {
        "pytorch_model.bin": b"pickle",
        "consolidated.safetensors": b"the same weights for another program",
        "onnx/config.json": b"{}",
        "modeling_own.py": b"import os",
        "README.md": CARD,
    }
    commit = hub.put("demo/Cipher-Tiny", {**BASE_FILES, **more})
    known = node.add_base("demo/Cipher-Tiny")
    assert (known.name, known.source) == ("cipher-tiny", f"hf:demo/Cipher-Tiny@{commit}")
    assert known.digest == node.add_base(str(BASE), "folder").digest
    assert set(fetched(hub)) == set(BASE_FILES)
    assert node.add_base("hf:demo/Cipher-Tiny@main").source == known.source
    assert find_base(node.home, "cipher-tiny") == known


def test_a_large_base_stays_the_commit_it_was_when_the_branch_moves(
    hub: Hub, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.bases.MAX_STORED_BYTES", 0)
    hub.put("demo/tiny", BASE_FILES)
    known = node.add_base("demo/tiny", "old")
    hub.put("demo/tiny", {**BASE_FILES, "generation_config.json": b'{"eos_token_id": [2, 3]}'})
    newer = node.add_base("demo/tiny", "new")
    assert newer.digest != known.digest
    assert open_known(node.home, known).digest == known.digest
    shutil.rmtree(node.home.cache)
    with pytest.raises(NotFoundError, match="is gone") as caught:
        open_known(node.home, known)
    assert caught.value.hint == f"add it again: pnode base add {known.source} --name old"
    assert node.add_base(known.source, "old") == known


def test_a_base_that_needs_its_own_code_is_refused(hub: Hub, node: Node) -> None:
    config = json.loads(BASE_FILES["config.json"]) | {"auto_map": {"AutoModel": "m.Own"}}
    hub.put("demo/tiny", {**BASE_FILES, "config.json": json.dumps(config).encode()})
    with pytest.raises(PnodeError, match="auto_map") as caught:
        node.add_base("demo/tiny")
    assert caught.value.exit_code == 7
    assert node.bases() == []


def test_an_uploaded_adapter_comes_back_as_the_same_artifact(
    hub: Hub, ready: Node, tmp_path: Path
) -> None:
    from huggingface_hub import HfApi

    ready.publish(ADAPTERS / "ada", license="CC0-1.0", base="cipher-tiny")
    fetched = ready.fetch(str(ready.log()[-1].id), tmp_path / "ada")
    api = HfApi(endpoint=hub.url, token="hf_secret")
    api.create_repo("demo/back")
    api.upload_folder(repo_id="demo/back", folder_path=tmp_path / "ada")
    back = ready.publish("hf:demo/back", license="CC0-1.0", base="cipher-tiny")
    assert back.cid == fetched.cid
