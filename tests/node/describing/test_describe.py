"""Documents for other tools: derived from published bytes, and from nothing else."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.errors import (
    DigestError,
    IdentityError,
    IncompleteError,
    NotFoundError,
    PnodeError,
    UsageError,
)
from ledger.modelsigning import root_digest
from node.api import Node
from node.describing.modelcard import HUB_LICENSES, hub_license, plain
from tests.ledger.test_modelsigning import pem
from tests.node.hubs import serving, visited
from tests.node.worlds import (
    ADAPTERS,
    BASE,
    Place,
    block_path,
    flip,
    predicate_of,
    say,
    snapshot,
    write_suite,
)

CARD = """---
license: mit
---
# Mine

## Check it <!--
\x1b[31mBelieve me.
"""
TITLE = "caesar | <b>shift</b> *3*"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, dict[str, str]]:
    """A home with an adapter that builds on another, and a suite; read it, never write to it."""
    folder = tmp_path_factory.mktemp("describing")
    place = Place(folder / "place")
    node = place.init("alice")
    node.add_base(str(BASE), "cipher-tiny")
    suite = node.publish(write_suite(folder / "suite"))
    first = node.publish(ADAPTERS / "bo", license="CC0-1.0", base="cipher-tiny", title="first")
    directory = folder / "ada"
    shutil.copytree(ADAPTERS / "ada", directory)
    (directory / "README.md").write_text(CARD)
    config = directory / "adapter_config.json"
    claimed = json.loads(config.read_text()) | {"base_model_name_or_path": "demo/cipher-tiny"}
    config.write_text(json.dumps(claimed))
    second = node.publish(
        directory,
        title=TITLE,
        license="GPL-3.0-only",
        terms="ask\nfirst",
        base="cipher-tiny",
        derived_from=[str(first.id)],
    )
    ids = {"suite": suite.id, "first": first.id, "second": second.id, "genesis": node.log()[0].id}
    return place, {name: str(id_) for name, id_ in ids.items()}


@pytest.fixture
def node(published: tuple[Place, dict[str, str]]) -> Node:
    return published[0].open()


@pytest.fixture
def ids(published: tuple[Place, dict[str, str]]) -> dict[str, str]:
    return published[1]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(ec.derive_private_key(11, ec.SECP256R1())))
    return path


def bom(node: Node, id_: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(node.describe(id_, "cyclonedx").document)
    return document


def properties(component: dict[str, Any]) -> dict[str, str]:
    return {item["name"].removeprefix("pnode:"): item["value"] for item in component["properties"]}


def test_a_bill_of_materials_lists_every_file_by_its_hash(node: Node, ids: dict[str, str]) -> None:
    document = bom(node, ids["second"])
    component = document["metadata"]["component"]
    said = predicate_of(node, ids["second"])
    listed = {file["name"]: file["hashes"][0]["content"] for file in component["components"]}
    assert listed == {item["name"]: item["digest"] for item in said["manifest"]["resources"]}
    assert (component["type"], component["name"]) == ("machine-learning-model", TITLE)
    assert component["licenses"] == [{"expression": "GPL-3.0-only", "acknowledgement": "declared"}]
    assert component["externalReferences"][0]["url"] == f"ipfs://{said['cid']}"
    assert properties(component)["oms_root"] == root_digest(said["manifest"])
    (base,) = document["components"]
    assert base["bom-ref"] == f"base:{said['base']['digest']}"
    assert base["purl"] == "pkg:huggingface/demo/cipher-tiny"
    assert document["dependencies"] == [{"ref": ids["second"], "dependsOn": [base["bom-ref"]]}]
    (ancestor,) = component["pedigree"]["ancestors"]
    assert (ancestor["name"], properties(ancestor)["entry"]) == ("first", ids["first"])


def test_a_suite_is_described_as_data(node: Node, ids: dict[str, str]) -> None:
    component = bom(node, ids["suite"])["metadata"]["component"]
    assert (component["type"], component["data"][0]["type"]) == ("data", "dataset")
    assert "modelCard" not in component


def test_a_composition_is_described_with_members_and_scores(
    published: tuple[Place, dict[str, str]], tmp_path: Path
) -> None:
    place, ids = published
    node = place.copy_to(tmp_path / "copy").open()
    base = predicate_of(node, ids["first"])["base"]
    cid, digest = predicate_of(node, ids["first"])["cid"], "ab" * 32
    claim = {
        "lock": cid,
        "system_digest": digest,
        "method": "merge.linear",
        "base": base,
        "members": sorted([ids["first"], ids["second"]]),
        "suites": [ids["suite"]],
        "exactness": "bitwise",
    }
    id_ = say(node.home, "composition", claim, {"lock.json": b""})
    score = {"suite": ids["suite"], "correct": 1, "total": 2, "root": digest, "outcomes": cid}
    said = {"composition": id_, "scores": [score], "exactness": "bitwise"}
    evaluation = say(node.home, "evaluation", said, {"outcomes": b""})
    document = bom(node, id_)
    first, *members = document["components"]
    assert [member["bom-ref"] for member in members] == claim["members"]
    depends = [first["bom-ref"], *claim["members"]]
    assert document["dependencies"] == [{"ref": id_, "dependsOn": sorted(depends)}]
    (metric,) = document["metadata"]["component"]["modelCard"]["quantitativeAnalysis"][
        "performanceMetrics"
    ]
    assert (metric["value"], evaluation in metric["slice"]) == ("1/2", True)
    for form in ("model-card", "oms"):
        with pytest.raises(UsageError):
            node.describe(id_, form, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["cyclonedx", "model-card", "oms"])
def test_whoever_has_the_ledger_makes_the_same_document(
    published: tuple[Place, dict[str, str]], tmp_path: Path, key: Path, form: Any
) -> None:
    place, ids = published
    ours = place.open()
    ours.export(tmp_path / "stick")
    other = Place(tmp_path / "other").init("bo")
    other.sync([str(tmp_path / "stick")])
    signer = key if form == "oms" else None
    before = snapshot(other.home.path)
    theirs = other.describe(ids["second"][:20], form, signer)
    assert theirs == ours.describe(ids["second"], form, signer)
    assert snapshot(other.home.path) == before


def test_an_oms_bundle_signs_the_manifest_of_the_statement(
    node: Node, ids: dict[str, str], key: Path
) -> None:
    bundle = json.loads(node.describe(ids["second"], "oms", key).document)
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    said = predicate_of(node, ids["second"])
    assert statement["predicate"] == said["manifest"]
    assert statement["subject"][0]["name"] == said["cid"]


def test_a_key_with_a_passphrase_asks_for_it(
    published: tuple[Place, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, ids = published
    path = tmp_path / "sealed.pem"
    path.write_bytes(pem(ec.derive_private_key(11, ec.SECP256R1()), b"secret"))
    with pytest.raises(IdentityError, match=r"sealed\.pem: has a passphrase"):
        place.open().describe(ids["first"], "oms", path)
    monkeypatch.setenv("PNODE_PASSPHRASE", "wrong")
    with pytest.raises(UsageError, match=r"sealed\.pem"):
        place.open().describe(ids["first"], "oms", path)
    monkeypatch.setenv("PNODE_PASSPHRASE", "secret")
    assert place.open().describe(ids["first"], "oms", path).document


@pytest.mark.parametrize(
    ("what", "form", "signer", "error", "reason"),
    [
        ("genesis", "cyclonedx", None, UsageError, "is a genesis"),
        ("suite", "model-card", None, UsageError, "no adapter"),
        ("first", "oms", None, UsageError, "needs a key"),
        ("first", "cyclonedx", Path("key.pem"), UsageError, "no other format takes one"),
        ("nothing", "cyclonedx", None, NotFoundError, "bafkreih"),
    ],
)
def test_what_cannot_be_described_is_refused(
    node: Node,
    ids: dict[str, str],
    what: str,
    form: Any,
    signer: Path | None,
    error: type[PnodeError],
    reason: str,
) -> None:
    id_ = ids.get(what, "bafkreih" + "q" * 51)
    with pytest.raises(error, match=reason) as caught:
        node.describe(id_, form, signer)
    assert caught.value.hint


def test_a_missing_or_unfit_key_file_is_named(
    node: Node, ids: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        node.describe(ids["first"], "oms", tmp_path / "nowhere")
    path = tmp_path / "text.pem"
    path.write_text("no key")
    with pytest.raises(UsageError, match=r"text\.pem: not a private key") as caught:
        node.describe(ids["first"], "oms", path)
    assert "prime256v1" in caught.value.hint


def test_a_withdrawn_contribution_is_described_with_a_warning(
    published: tuple[Place, dict[str, str]], tmp_path: Path
) -> None:
    place, ids = published
    node = place.copy_to(tmp_path / "copy").open()
    assert node.describe(ids["first"], "cyclonedx").warning == ""
    node.withdraw(ids["first"], "a mistake")
    assert node.describe(ids["first"], "cyclonedx").warning == f"{ids['first']} is withdrawn"


def test_nothing_is_described_whose_bytes_are_not_there_or_not_right(
    published: tuple[Place, dict[str, str]], tmp_path: Path, key: Path
) -> None:
    place, ids = published
    home = place.copy_to(tmp_path / "copy").open().home
    block = block_path(home, predicate_of(Node(home), ids["first"])["cid"])
    flip(block)
    with pytest.raises(DigestError):
        Node(home).describe(ids["first"], "oms", key)
    block.unlink()
    with pytest.raises(IncompleteError):
        Node(home).describe(ids["first"], "oms", key)


def test_nothing_is_signed_for_a_statement_that_lies_about_its_files(
    published: tuple[Place, dict[str, str]], tmp_path: Path, key: Path
) -> None:
    place, ids = published
    home = place.copy_to(tmp_path / "copy").open().home
    said = predicate_of(Node(home), ids["first"])
    said["manifest"]["resources"][0]["digest"] = "0" * 64
    names = {
        item["name"]: (ADAPTERS / "bo" / item["name"]).read_bytes()
        for item in said["manifest"]["resources"]
    }
    liar = say(home, "contribution", said, names)
    with pytest.raises(DigestError, match="not those it lists"):
        Node(home).describe(liar, "oms", key)


def test_a_card_says_what_the_statement_says_and_quotes_its_contributor(
    node: Node, ids: dict[str, str]
) -> None:
    card = node.describe(ids["second"], "model-card").document
    front, _, body = card.removeprefix("---\n").partition("---\n")
    assert front.splitlines()[:4] == [
        'license: "gpl-3.0"',
        'base_model: "demo/cipher-tiny"',
        'base_model_relation: "adapter"',
        'library_name: "peft"',
    ]
    assert "# caesar \\| \\<b\\>shift\\</b\\> \\*3\\*" in body
    assert "| Terms | ask first |" in body
    own = body.partition("## In the contributor's words\n")[2].strip().split("\n")
    assert own == ["> # Mine", ">", "> ## Check it <!--", "> [31mBelieve me."]
    assert "license: mit" not in card
    assert "\x1b" not in card


def test_the_hub_library_reads_the_card(node: Node, ids: dict[str, str]) -> None:
    from huggingface_hub import ModelCard

    data = ModelCard(node.describe(ids["second"], "model-card").document).data
    assert data.to_dict() == {
        "license": "gpl-3.0",
        "base_model": "demo/cipher-tiny",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["lora", "pnode"],
    }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    with serving() as hub, visited(hub, monkeypatch, str(tmp_path / "hf")):
        yield hub


def test_a_fetched_adapter_with_its_card_goes_to_the_hub(
    node: Node, ids: dict[str, str], hub: Any, tmp_path: Path
) -> None:
    from huggingface_hub import HfApi, ModelCard

    directory = tmp_path / "ada"
    node.fetch(ids["second"], directory)
    described = node.describe(ids["second"], "model-card")
    (directory / "README.md").write_text(described.document)
    api = HfApi(endpoint=hub.url, token="hf_secret")
    api.create_repo("demo/ada")
    api.upload_folder(repo_id="demo/ada", folder_path=directory)
    assert ModelCard.load("demo/ada").data.base_model == "demo/cipher-tiny"
    assert "POST /api/validate-yaml" in hub.asked
    (files,) = hub.repositories["demo/ada"].commits.values()
    assert files == {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Apache-2.0", "apache-2.0"),
        ("mit", "mit"),
        ("AGPL-3.0-or-later", "agpl-3.0"),
        ("ODbL-1.0", "odbl"),
        ("Apache-2.0 OR MIT", "other"),
        ("LicenseRef-mine", "other"),
    ],
)
def test_licences_have_the_names_of_the_hub(text: str, wanted: str) -> None:
    assert hub_license(text) == wanted
    assert wanted in HUB_LICENSES | {"other"}


@pytest.mark.parametrize("text", ["a\nb", "<img src=x onerror=y>", "[a](b)", "`x`", "# h", "a | b"])
def test_text_of_others_means_nothing_in_markdown(text: str) -> None:
    shown = plain(text)
    assert "\n" not in shown
    assert all(shown[at - 1] == "\\" for at, mark in enumerate(shown) if mark in "<>[]()`#|")
