"""The page at `/` and its JSON twin: whose node this is and which logs it holds."""

from __future__ import annotations

from html import escape
from typing import Any

from ledger.database import Database
from node.home import Home
from node.tree import log_folder, signed_logs

PAGE_SCHEMA = "pnode.page/1"

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.3rem 1rem .3rem 0}"
    "code{overflow-wrap:anywhere}.n{text-align:right}"
)


def home_record(home: Home, database: Database) -> dict[str, Any]:
    """Return what the page shows, as JSON."""
    held = signed_logs(database)
    return {
        "schema": PAGE_SCHEMA,
        "name": home.name,
        "origin": home.origin,
        "author": home.author,
        "logs": [
            {
                "origin": log.origin,
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "path": f"/{log_folder(log.origin)}",
            }
            for log, checkpoint, _ in held
        ],
    }


def home_page(record: dict[str, Any]) -> str:
    """Return the page for people; everything in it is escaped, nothing is loaded or run."""
    title = escape(record["name"] or "A pnode home")
    rows = "".join(
        f"<tr><td><code>{escape(log['origin'])}</code></td>"
        f'<td class="n">{log["size"]}</td>'
        f'<td><a href="{escape(log["path"])}/checkpoint">checkpoint</a></td></tr>\n'
        for log in record["logs"]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n"
        '<link rel="alternate" type="application/json" href="/index.json">\n</head>\n<body>\n'
        f"<h1>{title}</h1>\n"
        f"<p>Origin <code>{escape(record['origin'])}</code></p>\n"
        f"<p>Author <code>{escape(record['author'])}</code></p>\n"
        "<h2>Logs</h2>\n<table>\n"
        '<tr><th scope="col">Origin</th><th scope="col" class="n">Entries</th>'
        '<th scope="col">Signed</th></tr>\n'
        f"{rows}</table>\n"
        '<p><a href="/logs">Log list</a>, <a href="/frontier">frontier</a>, '
        '<a href="/index.json">this page as JSON</a></p>\n</body>\n</html>\n'
    )
