"""Rendering the pages: templates, the one stylesheet, and how foreign text is shown.

Every text in a record was written by strangers. It is cleaned of what would hide or reorder what
a reader sees, escaped by the template engine, and shortened in lists. The pages run no script and
load nothing but the stylesheet and the icon of this server, which `POLICY` enforces.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from attribution import display

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HTML: Final = "text/html; charset=utf-8"

_PHRASES: Final = {
    ("composition", "members"): "has it as a member",
    ("composition", "suites"): "is scored on it",
    ("evaluation", "composition"): "scores it",
    ("evaluation", "scores"): "scores a composition on it",
    ("attribution", "composition"): "says what each member of it was worth",
    ("attribution", "values"): "says what it was worth",
    ("verification", "target"): "is a verdict about it",
    ("withdrawal", "target"): "withdraws it",
    ("succession", "successor"): "names it as the log that follows",
    ("", "supersedes"): "takes its place",
    ("", "derived_from"): "is derived from it",
}
_KINDS: Final = {
    "adapter": "A LoRA adapter that its author offers to others.",
    "suite": "A suite of task items that systems are scored on.",
    "genesis": "The first entry of a log: it ties the log to its keys.",
    "withdrawal": "An author stops future use of a contribution.",
    "composition": "A system put together from contributions, pinned by digest.",
    "evaluation": "The score of a composition, with the outcome of every item committed to.",
    "attribution": "What each contribution to a composition was worth.",
    "verification": "Somebody rebuilt what an entry claims, and says what came out.",
    "evidence": "Proof that a log signed two histories that cannot both be true.",
    "succession": "A log ends here and names the one that follows it.",
    "revocation": "A key is declared lost or stolen.",
}
_STATUSES: Final = {
    "active": "It is offered for use.",
    "superseded": "Its author has put another contribution in its place.",
    "withdrawn": "Its author has withdrawn it from future use.",
    "disputed": "Its log has signed two histories that cannot both be true, and it stands behind "
    "the point where they part.",
    "revoked": "The key that signed it no longer spoke for its author.",
    "doubtful": "Its author says the key may have been in other hands when it was signed.",
}
_HASHLIKE = re.compile(r"[0-9a-f]{40,}|b[a-z2-7]{50,}|did:key:\w+|\S+\+[0-9a-f]{8}\+\S+", re.ASCII)
_TOKEN = re.compile(r"[a-z][a-z-]{0,30}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file the pages refer to; its name changes with its content."""

    path: str
    body: bytes
    content_type: str
    integrity: str


@cache
def assets() -> tuple[Asset, Asset]:
    """Return the stylesheet and the icon."""
    return _asset("style.css", "text/css; charset=utf-8"), _asset("icon.svg", "image/svg+xml")


def render(name: str, record: dict[str, Any], **context: Any) -> bytes:
    """Return a page as bytes.

    Args:
        name: the template, such as "entry".
        record: what the page shows; `node.web.pages` makes it.
        context: what is about this request, such as the address of this server.
    """
    template = _environment().get_template(f"{name}.html.j2")
    style, icon = assets()
    return template.render(page=record, style=style, icon=icon, **context).encode("utf-8")


def said(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the fields of an entry's predicate as the entry page shows them, in order."""
    predicate = record["statement"]["predicate"]
    known = {entry["id"]: entry for entry in record["references"]}
    return [
        {"name": name} | _shown(value, known)
        for name, value in predicate.items()
        if value not in ("", [], {}, None) and name != "author"
    ]


def _shown(value: Any, known: dict[str, Any]) -> dict[str, Any]:
    if isinstance(value, str | int):
        return {"items": [_item(value, known)]}
    if isinstance(value, list) and all(isinstance(inner, str) for inner in value):
        return {"items": [_item(inner, known) for inner in value]}
    return {"json": json.dumps(value, indent=2, ensure_ascii=False)}


def _item(value: str | int, known: dict[str, Any]) -> dict[str, Any]:
    text = str(value)
    return {"text": text, "entry": known.get(text), "code": bool(_HASHLIKE.fullmatch(text))}


def _asset(name: str, content_type: str) -> Asset:
    body = files("node.web").joinpath("templates", name).read_bytes()
    digest = hashlib.sha256(body).digest()
    stem, _, ending = name.partition(".")
    integrity = f"sha256-{b64encode(digest).decode('ascii')}"
    return Asset(f"/{stem}-{digest.hex()[:16]}.{ending}", body, content_type, integrity)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("node.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        clean=lambda text: display.clean(str(text)),
        brief=lambda text, most=90: display.shortened(display.clean(str(text)), most),
        short=lambda text: display.short_id(display.clean(str(text))),
        named=_named,
        grouped=display.grouped,
        lines=_clean_lines,
        token=lambda text: text if _TOKEN.fullmatch(str(text)) else "other",
        phrase=_phrase,
        explain=lambda kind: _KINDS.get(kind, "A kind of statement this version does not know."),
        meaning=lambda status: _STATUSES.get(status, ""),
        day=lambda time: display.clean(str(time))[:10],
    )
    return environment


def _named(text: str) -> str:
    cleaned = display.clean(text)
    most = 60
    return (
        display.short_id(cleaned) if _HASHLIKE.fullmatch(text) else display.shortened(cleaned, most)
    )


def _phrase(kind: str, role: str) -> str:
    found = _PHRASES.get((kind, role)) or _PHRASES.get(("", role))
    return found or f"names it as '{role}'"


def _clean_lines(text: str) -> str:
    """Clean text of several lines; indentation stays."""
    lines = text.split("\n")
    indents = [line[: len(line) - len(line.lstrip(" "))] for line in lines]
    return "\n".join(
        indent + display.clean(line) for indent, line in zip(indents, lines, strict=True)
    )
