"""One run of the command line: its settings, its output, and the node it opens on demand."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ledger.errors import IdentityError, UsageError
from node.cli.options import Settings
from node.cli.output import Mode, Output

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        self._passphrase: bytes | None = None
        self._refused: IdentityError | None = None

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
        from node.location import find_home

        return find_home(self.settings.home, Path.cwd())

    def node(self) -> Node:
        """Open the node of this home.

        Raises:
            IdentityError: if there is no home.
        """
        from node.api import Node
        from node.location import state_folder

        node = Node.open(
            self.home_path(),
            state_folder(),
            offline=self.settings.offline,
            progress=self.progress(),
            hint=self.output.hint,
        )
        node.home = replace(node.home, unlock=self.unlock, ipfs=self.settings.ipfs)
        return node

    def unlock(self) -> bytes:
        """Return the passphrase of protected keys; a person at the terminal is asked once.

        Raises:
            IdentityError: if nobody gives one.
        """
        if self._refused is not None:
            raise self._refused
        if self._passphrase is None:
            try:
                self._passphrase = self.ask_passphrase(self.settings.passphrase_file, os.environ)
            except IdentityError as error:
                self._refused = error  # a sync that cannot cosign asks once, not for every log
                raise
        return self._passphrase

    def new_passphrase(self) -> bytes:
        """Return a passphrase for keys that have none yet; a person is asked for it twice."""
        if self._passphrase is None:
            file = self.settings.passphrase_file
            self._passphrase = self.ask_passphrase(file, os.environ, new=True)
        return self._passphrase

    def ask_passphrase(
        self, file: Path | None, environment: Mapping[str, str], *, new: bool = False
    ) -> bytes:
        """Return a passphrase from a file, the environment or the terminal."""
        from node.identity.passphrase import find_passphrase

        someone = sys.stdin.isatty() and self.err.isatty()
        return find_passphrase(file, environment, self._ask if someone else None, twice=new)

    def _ask(self, prompt: str) -> str:
        from getpass import getpass

        self._settle()
        return getpass(prompt, self.err)

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
