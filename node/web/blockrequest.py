"""What a request for blocks asks for (IPFS trustless gateway specification, 2026-03-05).

The parameters `format`, `dag-scope`, `car-version`, `car-order` and `car-dups`, and the media types
of `Accept` with their parameters and weights. A parameter wins over the header. A form must be
asked for: files are not assembled here. Only CARs have a path or a scope.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from ledger.errors import UsageError
from node.peering.tree import RAW_BLOCK

CAR: Final = "application/vnd.ipld.car"
MAX_PATH: Final = 2_048
IMMUTABLE: Final = "public, max-age=29030400, immutable"
_TYPES = {RAW_BLOCK: "raw", CAR: "car"}
# Forms of other gateways. A browser that sends none of them is told what to ask for instead.
_OTHERS = ("application/vnd.ipld.", "application/vnd.ipfs.", "application/x-tar")
_SCOPES = ("block", "entity", "all")
_ORDERS = ("dfs", "unk")
_DUPLICATES = {"y": True, "n": False}


class NotAcceptableError(UsageError):
    """A form this gateway does not speak."""

    code = "not-acceptable"


class UnsupportedError(UsageError):
    """A part of the specification that is not built here."""

    code = "unsupported"


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """One block, or a CAR: which blocks, below which path, and whether any comes twice.

    `stated` says whether the address alone asks for this, so that no header needs to be known.
    """

    form: str
    path: str = ""
    scope: str = "all"
    duplicates: bool = False
    stated: bool = True

    @classmethod
    def parse(cls, query: Mapping[str, str], accept: str, path: str = "") -> BlockRequest:
        """Parse parameters, the `Accept` header, and what follows the CID in the path.

        Raises:
            UsageError: if no form is asked for, or a parameter has no such value.
            NotAcceptableError: if it is one that is not spoken here.
            UnsupportedError: for a range of bytes.
        """
        found = _stated(query, accept) if "format" in query else _accepted(accept)
        if found.form == "raw":
            if path:
                raise UsageError("a block has no path; ask for ?format=car")
            return found
        if "entity-bytes" in query:
            raise UnsupportedError(
                "ranges of a file are not cut out here; ask without entity-bytes"
            )
        if len(path) > MAX_PATH:
            raise UsageError("the path is too long")
        scope = query.get("dag-scope", "all")
        if scope not in _SCOPES:
            raise UsageError(f"dag-scope must be one of {', '.join(_SCOPES)}")
        return replace(_with_parameters(found, query), path=path.strip("/"), scope=scope)

    @property
    def content_type(self) -> str:
        """The media type of the answer, with everything that is known of it."""
        if self.form == "raw":
            return RAW_BLOCK
        return f"{CAR}; version=1; order=dfs; dups={'y' if self.duplicates else 'n'}"

    def etag(self, cid: str) -> str:
        """Return the entity tag, different for each form of one CID."""
        if self.form == "raw":
            return f'"{cid}.raw"'
        twice = ".dups" if self.duplicates else ""
        return f'"{cid}.car.{self.scope}{twice}.{quote(self.path, safe="")}"'

    def location(self, cid: str) -> str:
        """Return the address that asks for this without any header."""
        if self.form == "raw":
            return f"/ipfs/{cid}?format=raw"
        below = f"/{quote(self.path)}" if self.path else ""
        dups = "y" if self.duplicates else "n"
        return f"/ipfs/{cid}{below}?format=car&dag-scope={self.scope}&car-dups={dups}"


def tag_matches(header: str, tag: str) -> bool:
    """Whether `If-None-Match` names a tag; weak tags count (RFC 9110 section 13.1.2)."""
    named = {each.strip().removeprefix("W/") for each in header.split(",")}
    return "*" in named or tag in named


def _stated(query: Mapping[str, str], accept: str) -> BlockRequest:
    form = query["format"]
    if form not in _TYPES.values():
        raise NotAcceptableError(f"format '{form[:40]}' is not spoken here, ask for raw or car")
    for media_type, parameters, _ in _media_ranges(accept):
        # The header may still say how a CAR should be.
        if form == "car" and media_type == CAR:
            try:
                return replace(_with_parameters(BlockRequest(form), parameters), stated=False)
            except UsageError:
                continue
    return BlockRequest(form)


def _accepted(accept: str) -> BlockRequest:
    ranges = sorted(_media_ranges(accept), key=lambda each: -each[2])
    refusal = UsageError("ask for ?format=raw or ?format=car; files are not assembled here")
    for media_type, parameters, weight in ranges:
        if weight and media_type in _TYPES:
            asked = BlockRequest(_TYPES[media_type], stated=False)
            try:
                return _with_parameters(asked, parameters) if asked.form == "car" else asked
            except UsageError as error:
                refusal = NotAcceptableError(error.message)
        elif media_type.startswith(_OTHERS) or media_type in _TYPES:
            refusal = NotAcceptableError(f"{media_type[:80]} is not to be had here")
    raise refusal


def _with_parameters(request: BlockRequest, parameters: Mapping[str, str]) -> BlockRequest:
    """Apply what is said about a CAR, by `car-` parameters or those of its media type."""

    def value(name: str, default: str) -> str:
        return parameters.get(f"car-{name}", parameters.get(name, default))

    if value("version", "1") != "1":
        raise NotAcceptableError("only version 1 of CAR is spoken here")
    if value("order", "dfs") not in _ORDERS:
        raise NotAcceptableError("the order of blocks is dfs")
    dups = value("dups", "y" if request.duplicates else "n")
    if dups not in _DUPLICATES:
        raise UsageError("car-dups is y or n")
    return replace(request, duplicates=_DUPLICATES[dups])


def _media_ranges(accept: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield type, parameters and weight of each media range (RFC 9110 section 12.5.1)."""
    for part in accept.split(","):
        media_type, *rest = (each.strip() for each in part.lower().split(";"))
        pairs = (each.partition("=") for each in rest)
        parameters = {name.strip(): value.strip().strip('"') for name, _, value in pairs}
        yield media_type, parameters, _weight(parameters.pop("q", "1"))


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
