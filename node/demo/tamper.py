"""What a forger might try on copied bytes, and what the auditor says to each attempt."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ledger.cid import Cid
from ledger.entry import Entry
from ledger.statement import Statement, Subject
from node.api import Node
from node.artifacts import store_document
from node.checking.claims import claimed_outcomes
from node.home import Home
from node.reading import load_view


@dataclass(frozen=True, slots=True)
class Caught:
    """One attempt: what was changed, how it was found, and the exit code of that check."""

    attempt: str
    check: str
    finding: str
    exit_code: int


def flip_artifact(auditor: Node, folder: Path, contribution: str) -> Caught:
    """Change one byte of an adapter's weights in a copy of the auditor's store."""
    forged = _copy(auditor, folder / "artifact")
    cid = Cid.parse(str(forged.show(contribution).statement["predicate"]["cid"]))
    block = _largest_block(forged.home, cid)
    data = bytearray(block.read_bytes())
    data[len(data) // 2] ^= 1
    block.write_bytes(bytes(data))
    verified = forged.verify([contribution])
    failed = next(check for check in verified.checks if not check.ok)
    what = f"one byte of the artifact of {contribution[:16]}..."
    return Caught(what, "pnode verify", failed.detail, verified.exit_code)


def flip_entry(auditor: Node, folder: Path) -> Caught:
    """Change one byte of one entry in a copy of the auditor's ledger."""
    forged = _copy(auditor, folder / "entry")
    with closing(sqlite3.connect(forged.home.ledger_path)) as connection, connection:
        connection.execute("DROP TRIGGER entry_no_UPDATE")
        log, index, body = connection.execute(
            "SELECT log, idx, body FROM entry WHERE idx = 1 ORDER BY log LIMIT 1"
        ).fetchone()
        changed = bytearray(body)
        changed[len(changed) // 2] ^= 1
        sql = "UPDATE entry SET body = ? WHERE log = ? AND idx = ?"
        connection.execute(sql, (bytes(changed), log, index))
    audited = forged.audit()
    return Caught(
        "one byte of one entry", "pnode audit", audited.findings[0].message, audited.exit_code
    )


def inflate_score(liar: Node, auditor: Node, carry: Callable[[Node], Path], target: str) -> Caught:
    """Let the composition node sign one item more than the system solves, consistently forged."""
    evaluation = _sign_inflated(liar, target)
    auditor.sync([str(carry(liar))])
    replayed = auditor.replay(evaluation)
    return Caught(
        "one score, signed by its owner",
        "pnode replay",
        replayed.mismatches[0] if replayed.mismatches else "nothing",
        replayed.exit_code,
    )


def _sign_inflated(liar: Node, composition: str) -> str:
    """Append an evaluation in which one wrong item counts as right, with the right root for it."""
    from compose.outcomes import encode_outcomes, outcomes_root

    with liar.home.reading() as database:
        ledger = load_view(database)
    honest = ledger.about("evaluation", "composition", composition)[0].entry
    predicate = dict(honest.statement.predicate)
    outcomes = claimed_outcomes(honest, liar.home.store)
    suite = next(name for name, each in outcomes.items() if each.correct < len(each.outcomes))
    forged = list(outcomes[suite].outcomes)
    at = next(number for number, outcome in enumerate(forged) if not outcome.correct)
    forged[at] = replace(forged[at], correct=True)
    data = encode_outcomes(suite, forged)
    cid = store_document(data, liar.home.store)
    predicate["scores"] = [
        score
        if score["suite"] != suite
        else score
        | {
            "correct": score["correct"] + 1,
            "root": outcomes_root(forged).hex(),
            "outcomes": str(cid),
        }
        for score in predicate["scores"]
    ]
    subjects = tuple(
        Subject(subject.name, hashlib.sha256(data).hexdigest())
        if subject.name == f"{suite}.jsonl"
        else subject
        for subject in honest.statement.subjects
    )
    entry = Entry.sign(Statement("evaluation", subjects, predicate), liar.home.keys().author)
    with liar.home.writing() as log:
        log.append([entry])
    return entry.id


def _copy(node: Node, folder: Path) -> Node:
    shutil.copytree(node.home.path, folder, ignore=shutil.ignore_patterns("keys", "cache"))
    return Node.open(folder, node.home.state, offline=True)


def _largest_block(home: Home, cid: Cid) -> Path:
    """Return the file of the largest block below a root."""
    from ledger.unixfs import Limits, walk

    sizes = {found: len(block) for found, block in walk(cid, home.store.get_block, Limits())}
    largest = max(sizes, key=lambda found: sizes[found])
    return home.store.path_of(largest)
