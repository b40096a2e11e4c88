"""Importing what other tools describe: a task of lm-evaluation-harness becomes a suite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ledger.errors import UsageError
from node.durable import staging_folder


@dataclass(frozen=True, slots=True)
class ImportedSuite:
    """A suite directory that was written, ready to be published."""

    name: str
    items: int
    directory: str


def import_task(task: Path, output: Path, *, license_name: str) -> ImportedSuite:
    """Write the suite that a task describes; its data file lies beside it or below.

    Raises:
        UsageError: if the output exists.
        NotFoundError: if a file is not there.
        UnfitSuiteError: naming what cannot be taken over; then nothing is written.
    """
    from compose import lmtask
    from compose.errors import UnfitSuiteError
    from compose.suite import ITEMS, MAX_ITEMS_BYTES, SUITE, open_suite
    from compose.untrusted import read_regular

    if output.exists():
        raise UsageError(f"{output}: exists already", hint="give a new folder to -o")
    what = f"task {task.name}"

    def read_file(name: str) -> bytes:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise UnfitSuiteError(
                f"{what}: the data file {name[:200]!r} is not beside the task",
                hint="copy it there, and name it without a folder",
            )
        return read_regular(
            task.parent / path, what=what, max_bytes=MAX_ITEMS_BYTES, error=UnfitSuiteError
        )

    data = read_regular(task, what=what, max_bytes=lmtask.MAX_TASK_BYTES, error=UnfitSuiteError)
    made = lmtask.import_task(data, read_file, license_name=license_name, what=what)
    with staging_folder(output.absolute()) as folder:
        (folder / SUITE).write_bytes(made.suite)
        (folder / ITEMS).write_bytes(made.items)
        open_suite(folder)
    return ImportedSuite(made.name, made.count, str(output))
