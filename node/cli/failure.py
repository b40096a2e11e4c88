"""Every error as the command line reports it: code, message, hint, exit code.

`PnodeError` carries all four. Click's complaints about arguments become exit code 2 in the same
form. What is left over (a file that vanished, a package that is not installed, a bug) is described
without a traceback; `--debug` shows it.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import click

from ledger.errors import IncompleteError, NotFoundError, PnodeError, StorageError, UnavailableError

INTERRUPTED = 130
READER_GONE = 141
"""128 + SIGPIPE, as a shell reports it: a verdict that nobody could read is not a success."""

_EXTRAS = {
    "torch": "compose",
    "transformers": "compose",
    "peft": "compose",
    "safetensors": "compose",
    "tokenizers": "compose",
    "huggingface_hub": "compose",
    "ipfshttpclient": "ipfs",
    "matplotlib": "report",
}

HINTS = {
    3: "do not rely on it; ask its publisher for the original bytes",
    5: "see 'pnode list' for what is known here, or run 'pnode sync' first",
    6: "check the address and try again later",
    7: "see 'pnode show ID' for the terms and the status of each member",
    8: "stop relying on this log; keep the evidence and show it to its other readers",
    9: IncompleteError.default_hint,
}
"""What to do next when a result, rather than an error, decides the exit code."""


class Failure(NamedTuple):
    """An error ready to be shown."""

    code: str
    message: str
    hint: str
    exit_code: int


def failure_of(error: BaseException) -> Failure:
    """Describe any exception a command can end with."""
    if isinstance(error, PnodeError):
        return Failure(error.code, error.message, error.hint, error.exit_code)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        path = error.ctx.command_path
        return Failure("usage", f"no command given after '{path}'", _help(path), 2)
    if isinstance(error, click.UsageError):
        return _of_usage(error)
    if isinstance(error, click.ClickException):
        return Failure("failure", _lowered(error.format_message()), PnodeError.default_hint, 1)
    if isinstance(error, KeyboardInterrupt | EOFError | click.Abort):
        return Failure("interrupted", "interrupted", "run the same command again", INTERRUPTED)
    if isinstance(error, ModuleNotFoundError):
        return _of_missing_module(error)
    if isinstance(error, UnicodeEncodeError):
        return Failure("usage", "an argument is not valid text", "write it in UTF-8", 2)
    if isinstance(error, MemoryError):
        hint = "close other programs, or run this on a machine with more memory"
        return Failure("failure", "not enough memory", hint, 1)
    if isinstance(error, OSError) or _is_sqlite(error):
        return _of_system(error)
    message = f"unexpected {type(error).__name__}: {error}".rstrip(": ")
    return Failure(PnodeError.code, message, PnodeError.default_hint, PnodeError.exit_code)


def _of_usage(error: click.UsageError) -> Failure:
    path = error.ctx.command_path if error.ctx is not None else "pnode"
    hint = _help(path)
    message = error.format_message()
    if isinstance(error, click.NoSuchOption | click.exceptions.NoSuchCommand):
        message = error.message
        if error.possibilities:
            near = " or ".join(f"'{name}'" for name in error.possibilities)
            hint = f"did you mean {near}? {hint}"
    return Failure("usage", _lowered(" ".join(message.split())), hint, 2)


def _of_missing_module(error: ModuleNotFoundError) -> Failure:
    package = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(package)
    if extra is None:
        hint = "reinstall pnode, its installation is incomplete"
        return Failure("failure", f"the module '{error.name}' is missing", hint, 1)
    hint = f"install it with: pip install 'pnode[{extra}]'"
    return Failure("missing-extra", f"this command needs {package}", hint, 2)


def _of_system(error: BaseException) -> Failure:
    """Describe an error of the file system, the network or SQLite that nobody caught."""
    name = getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    message = f"{name}: {reason}" if name else reason
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return Failure(NotFoundError.code, message, "check the path", NotFoundError.exit_code)
    if isinstance(error, PermissionError):
        hint = "check who owns it and which permissions it has"
        return Failure(StorageError.code, message, hint, StorageError.exit_code)
    if isinstance(error, ConnectionError | TimeoutError):
        hint = UnavailableError.default_hint
        return Failure(UnavailableError.code, message, hint, UnavailableError.exit_code)
    return Failure(StorageError.code, message, StorageError.default_hint, StorageError.exit_code)


def _is_sqlite(error: BaseException) -> bool:
    module = sys.modules.get("sqlite3")
    return module is not None and isinstance(error, module.Error)


def _lowered(message: str) -> str:
    """Write a message of click's as ours: lower case, no full stop."""
    return (message[:1].lower() + message[1:]).rstrip(".")


def _help(path: str) -> str:
    return f"see '{path} --help'"


def gravest(exit_codes: list[int]) -> int:
    """Return the exit code that a list of failed checks amounts to, 0 if the list is empty."""
    for code in (8, 3, 9):
        if code in exit_codes:
            return code
    return max(exit_codes, default=0)
