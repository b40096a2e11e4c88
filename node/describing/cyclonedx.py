"""CycloneDX 1.6 (ECMA-424): a machine-learning bill of materials as JSON.

What is described is `metadata.component`; what it is made of stands in `components`, and which
depends on which in `dependencies`. Everything is named by what pins it: an entry id as `bom-ref`,
the SHA-256 of each file, CIDs as `ipfs://` addresses. Every field used here is in 1.7 as well.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from ledger.modelsigning import root_digest
from node.describing.facts import CompositionFacts, Facts, Score

SPEC_VERSION: Final = "1.6"
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:pnode:cyclonedx:v1")
_PUBLIC_HUB: Final = "https://huggingface.co"
_MODEL: Final = "machine-learning-model"
# An expression without parentheses; another licence goes by its name.
_EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*", re.ASCII)

Json = dict[str, Any]


def of_contribution(facts: Facts, version: str) -> bytes:
    """Return the bill of materials of an adapter or a suite; `version` is that of pnode."""
    base = facts.said.get("base")
    needed = [_base(base, facts.base_model)] if base else []
    return _document(facts.id, facts.said, _component(facts), needed, version)


def of_composition(facts: CompositionFacts, version: str) -> bytes:
    """Return the bill of materials of a composition: its base, its members and its scores."""
    said = facts.said
    component: Json = {
        "type": _MODEL,
        "bom-ref": facts.id,
        "name": said.get("title", "composition"),
        "version": said["system_digest"],
        "authors": _authors(facts.name, said["author"]),
        "modelCard": {
            "modelParameters": _parameters(f"composition by {said['method']}"),
            "quantitativeAnalysis": {"performanceMetrics": [_metric(s) for s in facts.scores]},
        },
        "properties": _properties(
            {
                "entry": facts.id,
                "author": said["author"],
                "lock": said["lock"],
                "system_digest": said["system_digest"],
                "method": said["method"],
                "exactness": said["exactness"],
            }
        ),
    }
    needed = [_base(said["base"], ""), *(_component(member) for member in facts.members)]
    return _document(facts.id, said, component, needed, version)


def _document(
    id_: str, said: Mapping[str, Any], component: Json, needed: list[Json], version: str
) -> bytes:
    document = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        # Of the entry, so that the same entry has the same document, byte for byte.
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, id_)}",
        "version": 1,
        "metadata": {
            "timestamp": said["created"],
            "tools": {"components": [{"type": "application", "name": "pnode", "version": version}]},
            "component": component,
        },
        "components": needed,
        "dependencies": [
            {"ref": id_, "dependsOn": sorted({each["bom-ref"] for each in needed})},
        ],
    }
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _component(facts: Facts) -> Json:
    said = facts.said
    component: Json = {
        "type": _MODEL if said["type"] == "adapter" else "data",
        "bom-ref": facts.id,
        "name": said["title"] or said["type"],
        "version": said["cid"],
        "authors": _authors(facts.name, said["author"]),
        "licenses": [_license(said["license"])],
        "externalReferences": [
            {"type": "distribution", "url": f"ipfs://{said['cid']}"},
            {"type": "attestation", "url": f"ipfs://{facts.id}"},
        ],
        "components": list(_files(facts)),
        "properties": _properties(
            {
                "entry": facts.id,
                "author": said["author"],
                "oms_root": root_digest(facts.manifest),
                "terms": said.get("terms", ""),
            }
        ),
    }
    source = said.get("source")
    if source:
        component["purl"] = _purl(source["repository"], source["hub"], source["commit"])
    if facts.ancestors:
        component["pedigree"] = {"ancestors": [_ancestor(each) for each in facts.ancestors]}
    if said["type"] == "adapter":
        adapter = said.get("adapter", {})
        component["modelCard"] = {
            "modelParameters": _parameters("LoRA adapter of a Llama-shaped decoder"),
            "properties": _properties({name: _text(adapter[name]) for name in sorted(adapter)}),
        }
    else:
        suite = said.get("suite", {})
        description = str(suite.get("description", ""))
        component["data"] = [{"type": "dataset", "name": said["title"], "description": description}]
    return component


def _ancestor(facts: Facts) -> Json:
    """Return who and what, without references: an ancestor may be described elsewhere as well."""
    left_out = ("bom-ref", "components", "modelCard", "data")
    return {key: value for key, value in _component(facts).items() if key not in left_out}


def _base(base: Mapping[str, Any], repository: str) -> Json:
    component: Json = {
        "type": _MODEL,
        "bom-ref": f"base:{base['digest']}",
        "name": base["name"] or "base model",
        "version": base["digest"],
        "externalReferences": [{"type": "distribution", "url": f"ipfs://{base['cid']}"}],
        "properties": _properties({"base_digest": base["digest"]}),
    }
    if repository:
        component["purl"] = _purl(repository, _PUBLIC_HUB)
    return component


def _files(facts: Facts) -> Iterator[Json]:
    sizes = {file.path: file.bytes for file in facts.files}
    for item in facts.manifest["resources"]:
        file: Json = {
            "type": "file",
            "bom-ref": f"{facts.id}/{item['name']}",
            "name": item["name"],
            "hashes": [{"alg": "SHA-256", "content": item["digest"]}],
        }
        if item["name"] in sizes:
            file["properties"] = _properties({"bytes": str(sizes[item["name"]])})
        yield file


def _parameters(architecture: str) -> Json:
    text = [{"format": "text"}]
    return {
        "task": "text-generation",
        "architectureFamily": "transformer",
        "modelArchitecture": architecture,
        "inputs": text,
        "outputs": text,
    }


def _metric(score: Score) -> Json:
    return {
        "type": "items answered right",
        "value": f"{score.correct}/{score.total}",
        "slice": f"{score.suite.said['title']} ({score.suite.id}), evaluation {score.evaluation}",
    }


def _license(text: str) -> Json:
    if _EXPRESSION.fullmatch(text):
        return {"expression": text, "acknowledgement": "declared"}
    return {"license": {"name": text, "acknowledgement": "declared"}}


def _authors(name: str, did: str) -> list[Json]:
    return [{"name": f"{name} ({did})" if name else did}]


def _purl(repository: str, hub: str, commit: str = "") -> str:
    """Return a package URL of type huggingface."""
    at = f"@{commit}" if commit else ""
    where = "" if hub == _PUBLIC_HUB else f"?repository_url={quote(hub, safe='')}"
    return f"pkg:huggingface/{quote(repository)}{at}{where}"


def _properties(values: Mapping[str, str]) -> list[Json]:
    return [{"name": f"pnode:{name}", "value": value} for name, value in values.items() if value]


def _text(value: Any) -> str:
    """Return a value that an author chose; statements hold no floats."""
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
