"""One run of the command line: its settings, its output, and the node it opens on demand."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ledger.errors import UsageError
from node.cli.options import Settings
from node.cli.output import Mode, Output

if TYPE_CHECKING:
    from node.api import Node
    from node.progress import Progress


class Session:
    """What a command gets: `output` to write to and `node()` to work with."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # A process may be started with a stream closed; then there is nobody to write to.
        self.out: TextIO = sys.stdout or StringIO()
        self.err: TextIO = sys.stderr or StringIO()
        self._progress: Progress | None = None

    @property
    def output(self) -> Output:
        """The sink of this run, in the mode the settings ask for."""
        asked = self.settings
        return Output(
            Mode(
                json=asked.json or (asked.expects_json and not asked.running),
                quiet=asked.quiet,
                verbose=asked.verbose,
                no_color=asked.no_color,
                debug=asked.debug,
            ),
            self.out,
            self.err,
            self._settle,
        )

    def home_path(self) -> Path:
        """Return the home to use: flag or variable, project, user."""
        from node.home import find_home

        return find_home(self.settings.home, Path.cwd())

    def node(self) -> Node:
        """Open the node of this home.

        Raises:
            IdentityError: if there is no home.
        """
        from node.api import Node
        from node.home import state_folder

        return Node.open(
            self.home_path(),
            state_folder(),
            offline=self.settings.offline,
            progress=self.progress(),
        )

    def progress(self) -> Progress:
        """Return where long steps report to."""
        if self._progress is None:
            from node.progress import Progress

            quiet = self.settings.quiet or self.settings.json
            self._progress = Progress.off() if quiet else Progress(self.err, tty=self.err.isatty())
        return self._progress

    def confirm(self, question: str) -> None:
        """Ask before something that cannot be undone.

        Raises:
            UsageError: if the answer is no, or if nobody is there to ask.
        """
        if self.settings.yes:
            return
        if self.settings.json or not (sys.stdin.isatty() and self.err.isatty()):
            raise UsageError(f"{question} needs a yes", hint="add --yes to go ahead")
        self.err.write(f"{question}? [y/N] ")
        self.err.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise UsageError("nothing was changed", hint="answer y, or add --yes, to go ahead")

    def _settle(self) -> None:
        """Clear progress away before something else is written."""
        if self._progress is not None:
            self._progress.close()
