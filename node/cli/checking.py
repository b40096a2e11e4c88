"""Commands that check: `verify`, `audit` and `replay`. A failed check decides the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ledger.errors import UsageError
from node.cli.arguments import ENTRY_ID, PATH
from node.cli.failure import HINTS
from node.cli.options import command
from node.cli.output import Cell, Fields, Row, Table

if TYPE_CHECKING:
    from node.checking.confinement import Limits
    from node.checking.verdict import Verified
    from node.cli.session import Session

_SEVERITY_STYLE = {"error": "bad", "equivocation": "bad", "incomplete": "warn", "warning": "warn"}
_SEVERITIES = ("equivocation", "error", "incomplete", "warning")
_MARKS = {
    (True, True): Cell("ok", "good"),
    (False, True): Cell("BAD", "bad"),
    (False, False): Cell("no", "warn"),
}
_VERDICT_STYLE = {
    "reproduced": "good",
    "mismatch": "bad",
    "refuted": "good",
    "confirmed": "bad",
    "inconclusive": "warn",
}


@command(
    "verify",
    "pnode verify bafkreih4a7bq",
    "pnode verify entry.tlog-proof kept-checkpoint.txt",
    "pnode verify entry.tlog-proof --witnessed --policy policy.txt",
    "pnode verify bafkreih4a7bq --json",
)
@click.argument("targets", metavar="ID|FILE...", nargs=-1, required=True)
@click.option(
    "--witnessed", is_flag=True, help="Fail with 9 unless witnessed as the policy asks for."
)
@click.option(
    "--policy", metavar="FILE", type=PATH, help="A policy file; policy.txt of the home by default."
)
def verify_command(
    session: Session, targets: tuple[str, ...], witnessed: bool, policy: Path | None
) -> None:
    """Check entries, proofs, checkpoints and artifacts offline.

    FILE is an envelope, a tlog-proof, a checkpoint, evidence of equivocation or a fault proof; one
    that carries all it needs is checked without a home. Never opens a network connection. With a
    policy it also says who witnessed.
    """
    verified = _verify(session, list(targets), witnessed=witnessed, policy=policy)
    several = len(targets) > 1
    rows: list[Row] = [
        [
            _MARKS[check.ok, check.required],
            check.name,
            *([Cell(check.target, id=True)] if several else []),
            check.detail,
        ]
        for check in verified.checks
    ]
    header = ["", "CHECK", *(["OF"] if several else []), "DETAIL"]
    session.output.result("verify", verified, Table(header, rows), ids=_verified_ids(verified))
    failing = (check for check in verified.checks if not check.ok and check.required)
    failed = next((check for check in failing if check.exit_code == verified.exit_code), None)
    if not verified.ok and failed is not None:
        _fail(session, verified.exit_code, f"{failed.target}: {failed.name}: {failed.detail}")
    if not verified.ok:
        _fail(session, verified.exit_code or 9, "nothing could be checked")


def _verified_ids(verified: Verified) -> list[str]:
    """Return the targets of which everything holds."""
    bad = {check.target for check in verified.checks if check.required and not check.ok}
    targets = dict.fromkeys(check.target for check in verified.checks)
    return [target for target in targets if target not in bad]


def _verify(
    session: Session, targets: list[str], *, witnessed: bool, policy: Path | None
) -> Verified:
    from node.location import MARKER

    if (session.home_path() / MARKER).exists() or not all(Path(name).is_file() for name in targets):
        return session.node().verify(targets, witnessed=witnessed, policy=policy)
    from node.checking.verifying import verify

    return verify(None, targets, witnessed=witnessed, policy=policy)


@command(
    "audit",
    "pnode audit",
    "pnode --home ./copied-folder audit --json",
    "pnode audit --since kept-checkpoint.txt --replay 3",
    "pnode audit --incremental",
)
@click.option(
    "--replay",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Also rebuild and score the N newest compositions again.",
)
@click.option(
    "--since", metavar="FILE", type=PATH, help="A checkpoint kept earlier that must still hold."
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1, max=64),
    metavar="N",
    help="Verify entries in N processes; by default one per core, at most 4, for large logs.",
)
@click.option(
    "--incremental",
    is_flag=True,
    help="Trust what the last audit on this machine verified, and verify only what is new.",
)
def audit_command(
    session: Session, replay: int, since: Path | None, jobs: int | None, incremental: bool
) -> None:
    """Check every log and record held here.

    Signatures, proofs, roots, blocks, outcomes and values are derived again from the bytes held.
    The home is opened read-only: not one byte of it changes. What was verified is remembered in
    the cache folder, for --incremental only.
    """
    from node.location import cache_folder

    audited = session.node().audit(
        replay=replay, since=since, jobs=jobs, cache=cache_folder(), incremental=incremental
    )
    counts = ", ".join(f"{name} {number}" for name, number in audited.counts.items())
    rows: list[Row] = [
        [
            Cell(finding.severity, _SEVERITY_STYLE.get(finding.severity, "")),
            finding.check,
            finding.subject,
            finding.message,
        ]
        for finding in audited.findings
    ]
    verdict = Cell("ok", "good") if audited.ok else Cell(f"NOT OK, {len(rows)} findings", "bad")
    blocks: list[Fields | Table] = [Fields([("checked", counts), ("verdict", verdict)])]
    if rows:
        blocks.append(Table(["SEVERITY", "CHECK", "SUBJECT", "MESSAGE"], rows))
    subjects = [finding.subject for finding in audited.findings]
    session.output.result("audit", audited, *blocks, ids=dict.fromkeys(subjects))
    if not audited.ok:
        worst = min(audited.findings, key=lambda finding: _SEVERITIES.index(finding.severity))
        _fail(session, audited.exit_code, f"{worst.subject}: {worst.message}")


@command(
    "replay",
    "pnode replay bafkreih4a7bq",
    "pnode replay bafkreih4a7bq --sample 20",
    "pnode replay bafkreih4a7bq --detect 0.99",
    "pnode replay bafkreih4a7bq --fault-proof lie.fault",
    "pnode replay lie.fault",
    "pnode replay bafkreih4a7bq --attest",
)
@click.argument("target", metavar="ID|FILE", type=ENTRY_ID)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help="Answer only N items again, drawn at random.",
)
@click.option(
    "--detect",
    metavar="P",
    help="Instead, as many items as find a false one with probability P.",
)
@click.option(
    "--false",
    metavar="FRACTION",
    default="0.01",
    show_default=True,
    help="How much is supposed to be false, for that probability.",
)
@click.option(
    "--seed", metavar="HEX", help="Draw the sample of an earlier replay again, by its seed."
)
@click.option(
    "--fault-proof",
    metavar="FILE",
    type=PATH,
    help="If an outcome is false, write its proof for others here.",
)
@click.option(
    "--max-seconds", type=click.IntRange(min=1), metavar="N", help="End it after N seconds [3600]."
)
@click.option(
    "--max-memory",
    type=click.IntRange(min=1),
    metavar="GIB",
    help="Give it this address space [the memory of the machine].",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Refuse items that may ask to write more [10000000].",
)
@click.option("--attest", is_flag=True, help="Sign the verdict and add it to your log.")
def replay_command(
    session: Session,
    target: str,
    max_seconds: int | None,
    max_memory: int | None,
    max_tokens: int | None,
    sample: int | None,
    detect: str | None,
    false: str,
    seed: str | None,
    fault_proof: Path | None,
    attest: bool,
) -> None:
    """Rebuild and score again what an entry claims.

    The verdict is 'reproduced' (exit 0), 'mismatch' (exit 3) or 'inconclusive' (exit 9: something
    is missing, or this machine cannot give the promised exactness). FILE is a fault proof: its one
    item is answered again, and it is 'confirmed' (exit 3: the claim is false), 'refuted' (exit 0:
    the claim holds) or 'inconclusive'.
    """
    limits = _limits(max_seconds, max_memory, max_tokens)
    if Path(target).is_file():
        if any(given is not None for given in (sample, detect, seed, fault_proof)):
            raise UsageError(
                f"{target} is about one item, so that only limits and --attest go with it",
                hint="give the file alone",
            )
        _settle(session, Path(target), limits, attest=attest)
        return
    replayed = session.node().replay(
        target,
        sample,
        detect=detect,
        false=false,
        seed=seed,
        fault_proof=fault_proof,
        limits=limits,
        attest=attest,
    )
    style = _VERDICT_STYLE.get(replayed.verdict, "")
    session.output.result(
        "replay",
        replayed,
        Fields(
            [
                ("verdict", Cell(replayed.verdict, style)),
                ("checked", f"{replayed.checked} of {replayed.total} outcomes"),
                ("detection", replayed.detection),
                ("seed", replayed.seed),
                ("system", replayed.system_digest),
                ("fault proof", replayed.fault_proof),
                ("attested", replayed.attested or None),
                *(("mismatch", _mismatch(item)) for item in replayed.mismatches),
            ]
        ),
        ids=[replayed.verdict],
    )
    if replayed.fault_proof:
        session.output.hint(
            f"anyone checks it with 'pnode verify {replayed.fault_proof}', and settles it with "
            f"'pnode replay {replayed.fault_proof}'"
        )
    elif replayed.verdict == "mismatch":
        name = f"{replayed.id[:16]}.fault"
        session.output.hint(
            f"'pnode replay {target} --fault-proof {name}' proves a false outcome to others"
        )
    if replayed.exit_code:
        count = len(replayed.mismatches)
        _fail(session, replayed.exit_code, f"{target}: {replayed.verdict}, {count} mismatches")
    elif not replayed.attested:
        session.output.hint(f"record the verdict with 'pnode replay {target} --attest'")


def _limits(seconds: int | None, gib: int | None, tokens: int | None) -> Limits:
    from node.checking.confinement import Limits

    given = {"seconds": seconds, "gib": gib, "tokens": tokens}
    return Limits(**{name: value for name, value in given.items() if value is not None})


def _settle(session: Session, path: Path, limits: Limits, *, attest: bool) -> None:
    settled = session.node().settle(path, limits, attest=attest)
    session.output.result(
        "replay.fault",
        settled,
        Fields(
            [
                ("verdict", Cell(settled.verdict, _VERDICT_STYLE[settled.verdict])),
                ("evaluation", Cell(settled.id, id=True)),
                ("claimed by", settled.claimed_by),
                ("item", f"{settled.item}, number {settled.index} of suite {settled.suite}"),
                ("claimed", settled.claimed),
                ("recomputed", settled.recomputed),
                ("exactness", settled.exactness),
                ("attested", settled.attested),
                *(("note", note) for note in settled.notes),
            ]
        ),
        ids=[settled.verdict],
    )
    if settled.verdict == "confirmed":
        _fail(session, settled.exit_code, f"{path}: the claim about item {settled.item} is false")
    elif settled.exit_code:
        _fail(session, settled.exit_code, f"{path}: this machine cannot tell")


def _mismatch(item: object) -> str:
    from node.cli.record import to_record

    record = to_record(item)
    if isinstance(record, dict):
        return ", ".join(f"{name} {value}" for name, value in record.items())
    return str(record)


def _fail(session: Session, exit_code: int, message: str) -> None:
    """End with the exit code of a failed check; under --json the result already says why."""
    if not session.output.mode.json:
        session.output.complain(message, HINTS.get(exit_code, ""))
    click.get_current_context().exit(exit_code)
