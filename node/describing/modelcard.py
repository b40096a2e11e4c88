"""Hugging Face model cards: README.md with metadata in front, for a repository on the hub.

The metadata is written as JSON strings and lists, which are YAML too. Everything below it that
somebody else chose is escaped, and the contributor's own card is quoted, so that nothing in either
can pass for what pnode says. Fields and licences are those of the hub's documentation
(`modelcard.md` and the page "Licenses" of huggingface/hub-docs).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from ledger.modelsigning import root_digest
from node.describing.facts import Facts

HUB_LICENSES: Final = frozenset(
    """
    afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m
    bigscience-bloom-rail-1.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause
    bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0
    cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0
    cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0
    epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 fair-noncommercial-research-license gemma gfdl
    gpl gpl-2.0 gpl-3.0 grok2-community h-research intel-research isc lgpl lgpl-2.1 lgpl-3.0
    lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl ncsa
    odbl odc-by ofl-1.1 openmdw-1.0 openmdw-1.1 openrail openrail++ osl-3.0 pddl postgresql
    unknown unlicense wtfpl zlib
    """.split()  # noqa: SIM905 - eighty quoted words are no easier to read
)
_SUFFIXES: Final = ("", "-only", "-or-later", "-1.0")
_MARKS = re.compile(r"[\\`*_{}\[\]<>()#+\-.!|~&$:@^=\"']")


def model_card(facts: Facts) -> bytes:
    """Return the model card of an adapter."""
    return ("\n".join([*_metadata(facts), "", *_body(facts), *_own_words(facts)]) + "\n").encode()


def _metadata(facts: Facts) -> Iterator[str]:
    yield "---"
    identifier = hub_license(facts.said["license"])
    yield f"license: {_yaml(identifier)}"
    if identifier == "other":
        slug = re.sub(r"[^a-z0-9.+-]+", "-", facts.said["license"].lower()).strip("-")
        yield f"license_name: {_yaml(slug[:80] or 'unnamed')}"
    if facts.base_model:
        yield f"base_model: {_yaml(facts.base_model)}"
        yield 'base_model_relation: "adapter"'
    yield 'library_name: "peft"'
    yield 'pipeline_tag: "text-generation"'
    yield 'tags: ["lora", "pnode"]'
    yield "---"


def _body(facts: Facts) -> Iterator[str]:
    said = facts.said
    base = said.get("base", {"name": "", "digest": ""})
    author = f"{plain(facts.name)} (`{said['author']}`)" if facts.name else f"`{said['author']}`"
    rows = [
        ("Contributor", author),
        ("Entry", f"`{facts.id}`"),
        ("Artifact", f"`ipfs://{said['cid']}`"),
        ("Licence", plain(said["license"])),
        ("Base model", f"{plain(base['name'])} (SHA-256 of its files `{base['digest']}`)"),
        ("Published", f"{said['created']}, as the contributor says"),
    ]
    if "source" in said:
        source = said["source"]
        rows.append(
            (
                "Taken from",
                f"{plain(source['hub'])} {plain(source['repository'])} `{source['commit']}`",
            )
        )
    rows += [("Builds on", f"{plain(e.said['title'])} (`{e.id}`)") for e in facts.ancestors]
    if said.get("terms"):
        rows.append(("Terms", plain(said["terms"])))
    rank = said.get("adapter", {}).get("rank")
    yield f"# {plain(said['title']) or 'Adapter'}"
    yield ""
    yield f"A LoRA adapter{f' of rank {rank}' if isinstance(rank, int) else ''} in PEFT's format."
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    yield from (f"| {name} | {value} |" for name, value in rows)
    yield ""
    yield "## Files"
    yield ""
    yield "| file | SHA-256 | bytes |"
    yield "| --- | --- | --- |"
    for file in facts.files:
        yield f"| {plain(file.path)} | `{file.sha256}` | {file.bytes} |"
    yield ""
    yield f"OpenSSF Model Signing names these files together by `{root_digest(facts.manifest)}`."
    yield ""
    yield "## Check it"
    yield ""
    yield "In a home that holds the ledger, signature, place in the log and every byte:"
    yield ""
    yield "```bash"
    yield f"pnode verify {facts.id}"
    yield "```"


def _own_words(facts: Facts) -> Iterator[str]:
    if facts.card:
        yield ""
        yield "## In the contributor's words"
        yield ""
        yield from (f"> {line}".rstrip() for line in facts.card.split("\n"))


def hub_license(text: str) -> str:
    """Return the hub's identifier of a licence given by SPDX identifier, else `other`."""
    lowered = text.strip().lower()
    for suffix in _SUFFIXES:
        if lowered.removesuffix(suffix) in HUB_LICENSES:
            return lowered.removesuffix(suffix)
    return "other"


def plain(text: str) -> str:
    """Return text on one line in which Markdown and HTML mean nothing."""
    return _MARKS.sub(r"\\\g<0>", " ".join(text.split()))


def _yaml(text: str) -> str:
    return json.dumps(text)
