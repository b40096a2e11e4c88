"""Inspection: what a directory is and whether it is fit to publish, without executing any of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.database import storage_errors
from ledger.errors import PolicyError, UsageError
from node.artifacts import scan
from node.bases import KnownBase, bases, find_base, open_known
from node.digestcache import DigestCache
from node.home import Home

_MAX_CONFIG_BYTES = 1 << 20
_MAX_CARD_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class Offer:
    """A directory that passed inspection: its kind and the fields it adds to the statement."""

    kind: str
    title: str
    license: str | None
    summary: str
    fields: Mapping[str, Any]


def accepted_files() -> dict[str, int]:
    """Return the names of the files an adapter or a suite may have, each with its largest size."""
    from compose import adapter, suite

    return {
        adapter.CONFIG: adapter.MAX_CONFIG_BYTES,
        adapter.WEIGHTS: adapter.MAX_WEIGHTS_BYTES,
        **dict.fromkeys(adapter.OPTIONAL, adapter.MAX_OPTIONAL_BYTES),
        suite.SUITE: suite.MAX_SUITE_BYTES,
        suite.ITEMS: suite.MAX_ITEMS_BYTES,
    }


def inspect(home: Home, directory: Path, base: str | None) -> Offer:
    """Recognise a directory and check it completely without executing anything of it.

    Args:
        base: name or digest of the base an adapter is for; by default what its files claim.

    Raises:
        NotFoundError: if there is no such directory or base.
        PolicyError: if it is neither an adapter nor a suite, or unfit or unsafe, or if an adapter
            names no base and none is given.
        UsageError: if the base it names is not one of those added here.
    """
    names = scan(directory)
    if "suite.toml" in names:
        return _inspect_suite(directory)
    if any(Path(name).name.startswith("adapter_") for name in names):
        return _inspect_adapter(home, directory, base)
    raise PolicyError(
        f"{directory}: neither a PEFT adapter (adapter_config.json) nor a suite (suite.toml)",
        hint="publish the directory that model.save_pretrained() wrote",
    )


def _inspect_suite(directory: Path) -> Offer:
    from compose.suite import open_suite

    suite = open_suite(directory)
    facts = {
        "name": suite.name,
        "scorer": suite.scorer,
        "items": len(suite.items),
        "description": suite.description,
        "priority_of": suite.priority_of or "",
    }
    summary = f"{len(suite.items)} items, scorer {suite.scorer}"
    return Offer("suite", suite.name, suite.license, summary, {"suite": facts})


def _inspect_adapter(home: Home, directory: Path, base: str | None) -> Offer:
    from compose.adapter import inspect_adapter

    known = _base_for(home, directory, base)
    adapter = inspect_adapter(directory, open_known(home, known, DigestCache(home.cache)))
    facts = {
        "rank": adapter.rank,
        "alpha": adapter.alpha,
        "target_modules": sorted(adapter.target_modules),
        "parameters": adapter.parameters,
        "tensor_digest": adapter.tensor_digest,
    }
    pinned = {"name": known.name, "digest": known.digest, "cid": known.cid}
    summary = f"{2 * len(adapter.layers)} tensors, rank {adapter.rank}, for base {known.name}"
    title = directory.resolve().name
    return Offer(
        "adapter", title, _card_license(directory), summary, {"adapter": facts, "base": pinned}
    )


def _base_for(home: Home, directory: Path, base: str | None) -> KnownBase:
    if base is not None:
        return find_base(home, base)
    claimed = _claimed_base(directory)
    if not claimed:
        raise PolicyError(
            f"{directory / 'adapter_config.json'} names no base model",
            hint="save the adapter with peft, or say what it was trained on with --base NAME",
        )
    fitting = [known for known in bases(home) if known.name == Path(claimed).name.lower()]
    if len(fitting) == 1:
        return fitting[0]
    raise UsageError(
        f"{directory}: which base model is it for? it says '{claimed}', which is not added here",
        hint="add it with 'pnode base add DIR --name NAME' and publish with --base NAME",
    )


def _claimed_base(directory: Path) -> str:
    """Return the base the configuration names, or ""; only a hint, the digest decides."""
    path = directory / "adapter_config.json"
    try:
        with path.open("rb") as stream:
            value = json.loads(stream.read(_MAX_CONFIG_BYTES))
    except (OSError, ValueError, RecursionError):
        raise PolicyError(f"{path} is missing or not JSON") from None
    claimed = value.get("base_model_name_or_path") if isinstance(value, dict) else None
    return claimed[:200] if isinstance(claimed, str) else ""


def _card_license(directory: Path) -> str | None:
    """Return the `license:` of a model card's front matter, if there is one."""
    path = directory / "README.md"
    if not path.is_file():
        return None
    with storage_errors(path), path.open("rb") as stream:
        lines = stream.read(_MAX_CARD_BYTES).decode("utf-8", errors="replace").splitlines()
    if not lines or lines[0].strip() != "---":
        return None
    for line in lines[1:]:
        key, _, value = line.partition(":")
        if line.strip() == "---":
            break
        if key.strip() == "license" and value.strip():
            return value.strip().strip("'\"")
    return None
