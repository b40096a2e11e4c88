"""The command line. `main` is the entry point `pnode`; nothing heavy is imported before a command.

program     the list of commands, loaded one by one when they are called
options     options that every command takes, before or after its name
session     one run: settings, output, the opened node
output      the only writer of standard output
failure     every error as code, message, hint and exit code
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line with the arguments of this process and exit."""
    from node.cli.program import run

    sys.exit(run(sys.argv[1:]))
