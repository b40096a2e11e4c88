"""What is written as CycloneDX is valid by the official schemas, whatever an author wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.cid import Cid
from ledger.modelsigning import manifest_of
from node.describing import cyclonedx
from node.describing.facts import CompositionFacts, Facts, Score
from tests.interop.partners import ask_python

SHA = "ab" * 32
AUTHOR = "did:key:z6MksztjUAMEUHvTDNUY3Q24rdiv5h4e7syN8rfVxnEyvqys"
TEXTS = ("a title", '"<&\u202f\u00e9\U0001f600\\', "=cmd|' /C calc'!A0", "", "x" * 2_000, "\ufffe")
LICENSES = ("Apache-2.0", "MIT OR Apache-2.0", "(MIT)", "mine, ask me", "GPL-3.0-only WITH X", "-")


def cid(name: str) -> str:
    return str(Cid.of(name.encode()))


def facts(title: str, license_: str, **more: Any) -> Facts:
    said = {
        "author": AUTHOR,
        "created": "2026-11-22T20:00:00Z",
        "type": "adapter",
        "cid": cid("artifact"),
        "title": title,
        "license": license_,
        "base": {"name": title, "digest": SHA, "cid": cid("base")},
        "adapter": {"rank": 8, "alpha": title, "flags": [], "odd": {"a": [None, True, title]}},
        **more,
    }
    manifest = manifest_of([("adapter_config.json", SHA), (f"{title[:200]}.json", SHA)])
    return Facts(cid(title + license_), title, said, manifest)


def documents() -> list[str]:
    made = [facts(title, license_) for title, license_ in zip(TEXTS, LICENSES, strict=True)]
    source = {"hub": "https://h.example/x y", "repository": "o/n", "commit": "c" * 40}
    suite = facts("a suite", "MIT", type="suite", suite={"name": "s", "items": 3})
    heir = Facts(cid("heir"), "", facts("heir", "MIT", source=source).said, made[0].manifest)
    rich = Facts(heir.id, "", heir.said, heir.manifest, (made[0], made[1]), base_model="o/n")
    composed = {
        "author": AUTHOR,
        "created": "2026-11-22T20:00:00Z",
        "lock": cid("lock"),
        "system_digest": SHA,
        "method": "merge.linear",
        "base": made[0].said["base"],
        "exactness": "bitwise",
    }
    scores = (Score(cid("evaluation"), suite, 17, 24),)
    composition = CompositionFacts(cid("composition"), "", composed, tuple(made), scores)
    encoded = [cyclonedx.of_contribution(each, "0.1.0") for each in (suite, rich)]
    return [each.decode() for each in [*encoded, cyclonedx.of_composition(composition, "0.1.0")]]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, list[str | None]]:
    """What the schemas of two versions say; 1.7 has every field that is used."""
    texts = documents()
    newer = [text.replace('"specVersion": "1.6"', '"specVersion": "1.7"') for text in texts]
    broken = [texts[0].replace('"version": 1\n', '"version": "1"\n')]
    cases = {"1.6": texts, "1.7": newer, "broken": broken}
    asked = [
        ["1.6" if name == "broken" else name, text] for name, each in cases.items() for text in each
    ]
    answers = iter(ask_python("cyclonedx", "ask_cyclonedx.py", asked))
    return {name: [next(answers) for _ in each] for name, each in cases.items()}


@pytest.mark.parametrize("version", ["1.6", "1.7"])
def test_every_document_is_valid(verdicts: dict[str, list[str | None]], version: str) -> None:
    assert [each for each in verdicts[version] if each is not None] == []


def test_the_schemas_would_notice(verdicts: dict[str, list[str | None]]) -> None:
    assert None not in verdicts["broken"]


def test_references_in_a_document_are_distinct_and_lead_somewhere() -> None:
    for text in documents():
        document = json.loads(text)
        inside = [document["metadata"]["component"], *document["components"]]
        files = [file for each in inside for file in each.get("components", ())]
        references = [each["bom-ref"] for each in [*inside, *files]]
        assert len(set(references)) == len(references)
        for row in document["dependencies"]:
            assert {row["ref"], *row["dependsOn"]} <= set(references)
