"""Describing: one entry as the document another tool reads."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from ledger.database import storage_errors
from ledger.encoding import canonical_json
from ledger.errors import IdentityError, MalformedError, NotFoundError, UsageError
from ledger.log import resolve_id
from ledger.modelsigning import read_signing_key, sign_manifest
from ledger.view import ACTIVE, LedgerView
from node.describing import cyclonedx
from node.describing.facts import Facts, composition_facts, contribution_facts
from node.describing.modelcard import model_card
from node.home import Home
from node.identity.keyfile import Unlock
from node.reading import load_view

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

Format = Literal["cyclonedx", "model-card", "oms"]
_MAX_KEY_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Described:
    """A document about an entry, with a warning if it is no longer in force."""

    id: str
    format: Format
    document: str
    warning: str = ""


def describe(home: Home, prefix: str, form: Format, key: Path | None = None) -> Described:
    """Describe a contribution, or a composition, for another tool.

    Args:
        home: the ledger and the blocks.
        prefix: of the id of the entry.
        form: `cyclonedx` for any contribution or composition, `model-card` for an adapter, `oms`
            for a contribution.
        key: the PEM file of the private key that signs for `oms`, on P-256, P-384 or P-521.

    Raises:
        UsageError: if the entry cannot be described so, or a key is missing or superfluous.
        IncompleteError: if blocks of the artifact are missing.
        DigestError: if its files are not those that the statement lists.
    """
    if (form == "oms") != (key is not None):
        raise UsageError(
            "--format oms needs a key, and no other format takes one",
            hint="name the file of a private key on P-256: --key key.pem",
        )
    with home.reading() as database:
        id_ = resolve_id(database, prefix)
        ledger = load_view(database)
    placed = ledger.entries.get(id_)
    if placed is None:
        raise NotFoundError(f"{id_} is in no signed tree yet", hint="run 'pnode status'")
    if placed.entry.kind == "composition" and form == "cyclonedx":
        document = cyclonedx.of_composition(composition_facts(ledger, id_), _version())
        return Described(id_, form, document.decode())
    if id_ not in ledger.contributions:
        raise UsageError(
            f"{id_} is {_article(placed.entry.kind)}, which has no {form} document",
            hint="describe a contribution, or a composition with --format cyclonedx",
        )
    facts = contribution_facts(home, ledger, id_)
    return Described(id_, form, _document(home, facts, form, key), _warning(ledger, id_))


def _document(home: Home, facts: Facts, form: Format, key: Path | None) -> str:
    if form == "cyclonedx":
        return cyclonedx.of_contribution(facts, _version()).decode()
    if form == "model-card":
        if facts.said["type"] != "adapter":
            raise UsageError(f"{facts.id} is no adapter, and model cards describe models")
        return model_card(facts).decode()
    assert key is not None
    # The last part of its IPFS address is what the directory is called, if anything.
    bundle = sign_manifest(facts.said["cid"], facts.manifest, _read_key(key, home.unlock))
    return canonical_json(bundle).decode() + "\n"


def _read_key(path: Path, unlock: Unlock) -> EllipticCurvePrivateKey:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such key file", hint="check the path")
    with storage_errors(path), path.open("rb") as stream:
        pem = stream.read(_MAX_KEY_BYTES)
    try:
        try:
            return read_signing_key(pem)
        except TypeError:  # it has a passphrase
            return read_signing_key(pem, unlock())
    except MalformedError as error:
        raise UsageError(
            f"{path}: {error.message}",
            hint="make one with: openssl ecparam -name prime256v1 -genkey -noout -out key.pem",
        ) from None
    except IdentityError as error:
        raise IdentityError(
            f"{path}: has a passphrase, and none is given", hint=error.hint
        ) from None


def _warning(ledger: LedgerView, id_: str) -> str:
    status = ledger.contributions[id_].status
    return "" if status == ACTIVE else f"{id_} is {status}"


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _version() -> str:
    return metadata.version("pnode")
