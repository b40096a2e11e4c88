"""Commands for when something is odd, and for comfort: `doctor` and `completion`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from node.cli.options import command
from node.cli.output import Cell, Row, Table

if TYPE_CHECKING:
    from node.cli.session import Session

_STYLE = {"ok": "good", "warn": "warn", "fail": "bad"}
_RC_FILES = {
    "bash": "pnode completion bash > ~/.local/share/bash-completion/completions/pnode",
    "zsh": "pnode completion zsh > ~/.zfunc/_pnode",
    "fish": "pnode completion fish > ~/.config/fish/completions/pnode.fish",
}


@command("doctor", "pnode doctor", "pnode doctor --json > for-the-bug-report.json")
def doctor_command(session: Session) -> None:
    """Check this installation and home.

    One line per check with what to do about it. Asks the peers of this home for its own log, and
    its IPFS daemon how it is, unless --offline is given. Changes nothing else; exit code 1 if
    something is broken, 0 if everything works or could merely be better.
    """
    from node.doctor import diagnose
    from node.location import state_folder

    asked = session.settings
    diagnosed = diagnose(
        session.home_path(), state_folder(), offline=asked.offline, ipfs=asked.ipfs
    )
    rows: list[Row] = [
        [
            Cell(check.status, _STYLE[check.status]),
            check.name,
            f"{check.detail}; {check.fix}" if check.fix else check.detail,
        ]
        for check in diagnosed.checks
    ]
    session.output.result(
        "doctor",
        diagnosed,
        Table(["", "CHECK", "FOUND"], rows),
        ids=[check.name for check in diagnosed.checks if check.status == "fail"],
    )
    if not diagnosed.ok:
        click.get_current_context().exit(1)


@command("completion", *_RC_FILES.values())
@click.argument("shell", type=click.Choice(list(_RC_FILES)))
def completion_command(session: Session, shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import ShellComplete, get_completion_class

    from node.cli.program import COMPLETE_VARIABLE, program

    found = get_completion_class(shell)
    assert found is not None, shell
    # Not found.source(): for bash that would start a bash to ask for its version.
    script = ShellComplete.source(found(program(), {}, "pnode", COMPLETE_VARIABLE))
    record = {"shell": shell, "script": script}
    if session.output.mode.json:
        session.output.result("completion", record)
    else:
        session.output.data(script.encode("utf-8"))
        session.output.hint(f"install it with: {_RC_FILES[shell]}")
