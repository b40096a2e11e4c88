"""Inspection: what a directory is and whether it is fit to publish, without executing any of it.

In two steps, so that a large adapter is refused for its names, its configuration or its header
before its gigabyte is hashed: `recognise` reads no tensor, `inspect` looks at everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.database import storage_errors
from ledger.errors import NotFoundError, PolicyError, UsageError
from node.artifacts import scan
from node.bases import KnownBase, bases, find_base, open_known
from node.digestcache import DigestCache
from node.home import Home

if TYPE_CHECKING:
    from compose.adapter import OpenedAdapter
    from compose.base import BaseModel

_MAX_CARD_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a directory is by its names; for an adapter also the base it is for, opened."""

    directory: Path
    base: tuple[KnownBase, BaseModel] | None


@dataclass(frozen=True, slots=True)
class Offer:
    """A directory that passed inspection: its kind and the fields it adds to the statement."""

    kind: str
    title: str
    license: str | None
    summary: str
    fields: Mapping[str, Any]
    adapter: OpenedAdapter | None = None


def accepted_files() -> dict[str, int]:
    """Return the names of the files an adapter or a suite may have, each with its largest size."""
    from compose import admission, suite

    return {
        admission.CONFIG: admission.MAX_CONFIG_BYTES,
        admission.WEIGHTS: admission.MAX_WEIGHTS_BYTES,
        **dict.fromkeys((admission.README, admission.CARD), admission.MAX_OPTIONAL_BYTES),
        suite.SUITE: suite.MAX_SUITE_BYTES,
        suite.ITEMS: suite.MAX_ITEMS_BYTES,
    }


def recognise(home: Home, directory: Path, base: str | None) -> Recognised:
    """Say what a directory is, and refuse an adapter that shows itself unfit without its tensors.

    Args:
        base: name or digest of the base an adapter is for; by default what its files claim.

    Raises:
        NotFoundError: if there is no such directory or base.
        PolicyError: if it is neither an adapter nor a suite, or unfit or unsafe, or if an adapter
            names no base and none is given.
        UsageError: if the base it names is not one of those added here.
    """
    if not directory.is_dir():
        raise NotFoundError(f"{directory}: no such directory", hint="check the path")
    with storage_errors(directory):
        names = [path.name for path in directory.iterdir()]
    if "suite.toml" in names:
        scan(directory)
        return Recognised(directory, None)
    if any(name.lower().startswith("adapter_") for name in names):
        return _recognise_adapter(home, directory, base)
    scan(directory)
    raise PolicyError(
        f"{directory}: neither a PEFT adapter (adapter_config.json) nor a suite (suite.toml)",
        hint="publish the directory that model.save_pretrained() wrote",
    )


def inspect(recognised: Recognised) -> Offer:
    """Check a directory completely, as what it was recognised as.

    Raises:
        PolicyError: if it is unfit or unsafe.
    """
    if recognised.base is None:
        return _inspect_suite(recognised.directory)
    return _inspect_adapter(recognised.directory, *recognised.base)


def _recognise_adapter(home: Home, directory: Path, base: str | None) -> Recognised:
    from compose.adapter import open_adapter, open_config

    known = _base_for(home, directory, open_config(directory).base_name, base)
    opened = open_known(home, known, DigestCache(home.cache))
    open_adapter(directory, opened)
    return Recognised(directory, (known, opened))


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


def _inspect_adapter(directory: Path, known: KnownBase, base: BaseModel) -> Offer:
    from compose.adapter import inspect_adapter

    adapter = inspect_adapter(directory, base)
    facts = {
        "rank": adapter.rank,
        "alpha": adapter.alpha,
        "target_modules": sorted(adapter.target_modules),
        "parameters": adapter.parameters,
        "tensor_digest": adapter.tensor_digest,
    }
    pinned = {"name": known.name, "digest": known.digest, "cid": known.cid}
    return Offer(
        kind="adapter",
        title=directory.resolve().name,
        license=_card_license(directory),
        summary=f"{2 * len(adapter.layers)} tensors, rank {adapter.rank}, for base {known.name}",
        fields={"adapter": facts, "base": pinned},
        adapter=adapter.opened,
    )


def _base_for(home: Home, directory: Path, claimed: str, base: str | None) -> KnownBase:
    """Return the base that is asked for, or the one that the configuration names.

    Its words decide nothing, but loaders follow them, so they must not name another known base.
    """
    from compose.errors import UnfitAdapterError
    from compose.untrusted import shown

    fitting = [known for known in bases(home) if known.name == Path(claimed).name.lower()]
    if base is not None:
        asked = find_base(home, base)
        if fitting and asked not in fitting:
            raise UnfitAdapterError(
                f"{directory}: its configuration says it is for base {fitting[0].name}, "
                f"not for {asked.name}",
                hint=f"publish with --base {fitting[0].name}, or correct adapter_config.json",
                check="base-override",
            )
        return asked
    if not claimed:
        raise PolicyError(
            f"{directory / 'adapter_config.json'} names no base model",
            hint="save the adapter with peft, or say what it was trained on with --base NAME",
        )
    if fitting:
        return fitting[0]
    raise UsageError(
        f"{directory}: which base model is it for? it says {shown(claimed)}, which is not added "
        "here",
        hint="add it with 'pnode base add DIR --name NAME' and publish with --base NAME",
    )


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
