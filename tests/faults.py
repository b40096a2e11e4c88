"""Storage faults: run a function in a child process and break one of its writes to disk.

A run is described by its storage calls in order: every system call that changes a file or its
durability below a given directory (write, fsync, rename, unlink, ... and opening with O_CREAT or
O_TRUNC). Call number n, counted from 1, can be made the last thing the process attempts
(`kill_at`), or be answered with an error without being executed (`fail_at`). A test then loops
over every n, as Tessera's fault injection does with strace, and checks what is left on disk.

The child is traced with ptrace(2) through ctypes, so neither strace nor a compiler is needed, and
a seccomp(2) filter stops it at those calls only, so that it runs nearly as fast as without. A
process in between does the tracing, so the test process keeps its own children.

Limits: Linux on x86_64. A killed process is not a power failure: what the page cache holds
survives, and writes through a shared memory map (SQLite's -shm) are not seen.
"""

# The functions of os are named like the system calls that are meant.
# ruff: noqa: PTH115, PTH118, PTH119, PTH123
from __future__ import annotations

import ctypes
import errno as errno_names
import json
import os
import platform
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest

Action = Callable[[], object]
Under = Path | Sequence[Path]

_AT_FDCWD = -100
_O_CREAT_OR_TRUNC = os.O_CREAT | os.O_TRUNC

_TRACEME, _CONT, _GETREGS, _SETREGS, _SETOPTIONS = 0, 7, 12, 13, 0x4200
_TRACEFORK, _TRACEVFORK, _TRACECLONE, _TRACEEXEC, _TRACESECCOMP = 2, 4, 8, 16, 128
_EXITKILL = 1 << 20
_OPTIONS = _TRACEFORK | _TRACEVFORK | _TRACECLONE | _TRACEEXEC | _TRACESECCOMP | _EXITKILL
_SECCOMP_STOP = 7
_WALL = 0x40000000

# prctl(2) and seccomp(2): the filter is a program in classic BPF over struct seccomp_data, which
# holds the number of the call, the architecture, an address, and six arguments of 64 bits.
_SET_SECCOMP, _SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_X86_64 = 0xC000003E
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000

# struct user_regs_struct of <sys/user.h>: 27 words.
_REGISTERS = 27
_RAX, _ORIG_RAX = 10, 15
_ARGUMENTS = (14, 13, 12, 7)  # rdi, rsi, rdx, r10

# Per system call: name, and where its file is. "0" is a descriptor in argument 0, "p1" a path in
# argument 1, "d0p1" a path in argument 1 relative to the directory descriptor in argument 0.
_CALLS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: ("write", ("0",)),
    2: ("open", ("p0",)),
    18: ("pwrite64", ("0",)),
    20: ("writev", ("0",)),
    40: ("sendfile", ("0",)),
    74: ("fsync", ("0",)),
    75: ("fdatasync", ("0",)),
    76: ("truncate", ("p0",)),
    77: ("ftruncate", ("0",)),
    82: ("rename", ("p0", "p1")),
    83: ("mkdir", ("p0",)),
    84: ("rmdir", ("p0",)),
    85: ("creat", ("p0",)),
    86: ("link", ("p1",)),
    87: ("unlink", ("p0",)),
    88: ("symlink", ("p1",)),
    257: ("openat", ("d0p1",)),
    258: ("mkdirat", ("d0p1",)),
    263: ("unlinkat", ("d0p1",)),
    264: ("renameat", ("d0p1", "d2p3")),
    265: ("linkat", ("d2p3",)),
    266: ("symlinkat", ("d1p2",)),
    285: ("fallocate", ("0",)),
    296: ("pwritev", ("0",)),
    316: ("renameat2", ("d0p1", "d2p3")),
    326: ("copy_file_range", ("2",)),
    328: ("pwritev2", ("0",)),
}
_OPEN_FLAGS = {"open": 1, "openat": 2}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a traced run went."""

    calls: tuple[str, ...]
    """The storage calls seen, as "fsync NAME", the faulted one included."""
    exit_status: int
    """0 when the action returned, 1 when it raised, -9 when it was killed."""
    error: str | None
    """The exception that ended the action, as "TypeName: text"."""


def count(action: Action, under: Under) -> int:
    """Return how many storage calls the action makes below `under`.

    Raises:
        AssertionError: if the action does not succeed when nothing is broken.
    """
    return len(trace(action, under))


def trace(action: Action, under: Under) -> tuple[str, ...]:
    """Return the storage calls the action makes below `under`, in order."""
    outcome = _run(action, under, _Fault())
    if outcome.exit_status != 0:
        raise AssertionError(f"the action fails without a fault: {outcome.error}")
    return outcome.calls


def kill_at(n: int, action: Action, under: Under) -> bool:
    """Kill the action with SIGKILL instead of its n-th storage call.

    Returns whether the action ended by itself, having made fewer than n calls; a loop over
    n = 1, 2, ... stops there.

    Raises:
        AssertionError: if the action raises before it gets that far.
    """
    outcome = _run(action, under, _Fault(at=n))
    if outcome.exit_status > 0:
        raise AssertionError(f"the action fails without a fault: {outcome.error}")
    return outcome.exit_status == 0


def fail_at(n: int, errno: int, action: Action, under: Under, *, onwards: bool = False) -> Outcome:
    """Answer the n-th storage call of the action with an error, for example ENOSPC.

    Args:
        n: the number of the call, from 1.
        errno: the error.
        action: what to run in the child process.
        under: only calls on files below these directories are counted and broken.
        onwards: break every later call too, as a full disk does.
    """
    return _run(action, under, _Fault(at=n, errno=errno, onwards=onwards))


def why_unavailable() -> str | None:
    """Say why processes cannot be traced here, or return None."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return f"storage faults need Linux on x86_64, not {sys.platform} {platform.machine()}"
    try:
        outcome = _run(lambda: None, Path("/nonexistent"), _Fault())
    except OSError as error:
        return f"ptrace is not permitted here: {error}"
    return None if outcome.exit_status == 0 else f"ptrace does not work here: {outcome.error}"


@pytest.fixture(scope="session")
def ptrace() -> None:
    """Skip where processes cannot be traced; with PNODE_REQUIRE_PTRACE=1 fail instead."""
    reason = why_unavailable()
    if reason and os.environ.get("PNODE_REQUIRE_PTRACE") == "1":
        pytest.fail(reason)
    if reason:
        pytest.skip(f"STORAGE FAULTS NOT TESTED: {reason}")


@dataclass(frozen=True, slots=True)
class _Fault:
    at: int = 0
    errno: int | None = None
    onwards: bool = False

    def applies(self, number: int) -> bool:
        return self.at > 0 and (number == self.at or (self.onwards and number > self.at))


def _run(action: Action, under: Under, fault: _Fault) -> Outcome:
    """Fork a tracer, which forks the action, and wait for the tracer's report."""
    directories = [under] if isinstance(under, Path) else list(under)
    roots = tuple(os.path.realpath(directory) for directory in directories)
    receive, send = os.pipe()
    tracer = _fork()
    if tracer == 0:
        os.close(receive)
        _report(send, lambda: _trace(action, roots, fault))
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        data = pipe.read()
    os.waitpid(tracer, 0)
    report: dict[str, Any] = json.loads(data) if data else {"error": "the tracer died"}
    if "error" in report:
        raise OSError(report["error"])
    value = report["value"]
    return Outcome(tuple(value["calls"]), value["exit_status"], value["error"])


def _fork() -> int:
    # Newer Pythons warn when other threads exist; the children here run one action and leave.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _report(pipe: int, produce: Callable[[], object]) -> NoReturn:
    """Write the result or the exception of `produce` to a pipe and leave without clean-up."""
    report: dict[str, object]
    try:
        report = {"value": produce()}
    except BaseException as error:  # noqa: BLE001 - whatever it was, the parent must hear of it
        report = {"error": f"{type(error).__name__}: {error}"}
    data = json.dumps(report).encode("ascii")
    while data:
        data = data[os.write(pipe, data) :]
    os._exit(1 if "error" in report else 0)


def _trace(action: Action, roots: tuple[str, ...], fault: _Fault) -> dict[str, object]:
    receive, send = os.pipe()
    child = _fork()
    if child == 0:
        os.close(receive)
        _ptrace(_TRACEME, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        _report(send, lambda: (_stop_at_storage_calls(), action(), None)[2])
    os.close(send)
    tracer = _Tracer(child, roots, fault)
    exit_status = tracer.run()
    with os.fdopen(receive, "rb") as pipe:
        data = pipe.read()
    error = json.loads(data).get("error") if data else None
    return {"calls": tracer.calls, "exit_status": exit_status, "error": error}


@dataclass(slots=True)
class _Tracer:
    """Follows one child and its threads and processes from storage call to storage call."""

    child: int
    roots: tuple[str, ...]
    fault: _Fault
    calls: list[str] = field(default_factory=list)
    _known: set[int] = field(default_factory=set)

    def run(self) -> int:
        """Let the child run to its end and return its exit status."""
        _, status = os.waitpid(self.child, _WALL)
        if not os.WIFSTOPPED(status):
            raise OSError("the child could not be stopped")
        _ptrace(_SETOPTIONS, self.child, _OPTIONS)
        self._known.add(self.child)
        _ptrace(_CONT, self.child, 0)
        while True:
            task, status = os.waitpid(-1, _WALL)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                if task == self.child:
                    return os.waitstatus_to_exitcode(status)
                continue
            self._resume(task, self._stopped(task, os.WSTOPSIG(status), status >> 16))

    def _stopped(self, task: int, stop: int, event: int) -> int:
        """Deal with one stop and return the signal to pass on."""
        if event == _SECCOMP_STOP:
            self._system_call(task)
            return 0
        # A new thread or process begins with a stop of its own, which is not for it.
        if event or (stop == signal.SIGSTOP and task not in self._known):
            self._known.add(task)
            return 0
        return stop

    def _resume(self, task: int, passed_on: int) -> None:
        # It may have been killed while stopped; its end is then reported by the next wait.
        with suppress(ProcessLookupError):
            _ptrace(_CONT, task, passed_on)

    def _system_call(self, task: int) -> None:
        # A thread may end with its process before its stop is looked at.
        with suppress(ProcessLookupError), _registers(task) as registers:
            call = _storage_call(task, registers, self.roots)
            if call is None:
                return
            self.calls.append(call)
            if self.fault.applies(len(self.calls)):
                registers[_ORIG_RAX] = 2**64 - 1  # No such call: the kernel does nothing.
                if self.fault.errno is None:
                    os.kill(self.child, signal.SIGKILL)
                else:
                    registers[_RAX] = 2**64 - self.fault.errno


def _stop_at_storage_calls() -> None:
    """Have the kernel stop this process and its children at storage calls, for the tracer."""
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_IF_EQUAL, 1, 0, _X86_64),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for number, (name, _) in _CALLS.items():
        found = [(_RETURN, 0, 0, _TRACE)]
        if name in _OPEN_FLAGS:
            found = [
                (_LOAD, 0, 0, _FIRST_ARGUMENT + 8 * _OPEN_FLAGS[name]),
                (_JUMP_IF_ANY_BIT, 0, 1, _O_CREAT_OR_TRUNC),
                *found,
                (_RETURN, 0, 0, _ALLOW),
            ]
        program += [(_JUMP_IF_EQUAL, 0, len(found), number), *found]
    program.append((_RETURN, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    _prctl(_SET_NO_NEW_PRIVS, 1)
    _prctl(_SET_SECCOMP, _MODE_FILTER, header)


def _storage_call(task: int, registers: list[int], roots: tuple[str, ...]) -> str | None:
    name, places = _CALLS[registers[_ORIG_RAX]]
    arguments = [registers[index] for index in _ARGUMENTS]
    for place in places:
        path = _locate(task, place, arguments)
        if any(path == root or path.startswith(root + "/") for root in roots):
            return f"{name} {os.path.basename(path)}"
    return None


def _locate(task: int, place: str, arguments: list[int]) -> str:
    """Return the absolute path of the file an argument means, or an empty string."""
    try:
        if place.isdigit():
            path = os.readlink(f"/proc/{task}/fd/{_int32(arguments[int(place)])}")
            return path.removesuffix(" (deleted)")
        directory, _, argument = place.rpartition("p")
        path = _text_at(task, arguments[int(argument)])
        if not path.startswith("/"):
            number = _int32(arguments[int(directory[1:])]) if directory else _AT_FDCWD
            base = f"/proc/{task}/cwd" if number == _AT_FDCWD else f"/proc/{task}/fd/{number}"
            path = os.path.join(os.readlink(base), path)
        # The last component may be a link that the call replaces, so only its parent is resolved.
        parent, name = os.path.split(os.path.normpath(path))
        return os.path.join(os.path.realpath(parent), name)
    except OSError:
        return ""


def _text_at(task: int, address: int) -> str:
    with open(f"/proc/{task}/mem", "rb", buffering=0) as memory:
        data = b""
        while b"\0" not in data and len(data) < 4096:
            # Never across a page boundary: the next page may not be mapped.
            start = address + len(data)
            memory.seek(start)
            piece = memory.read(4096 - start % 4096)
            if not piece:
                break
            data += piece
    return os.fsdecode(data.partition(b"\0")[0])


def _int32(value: int) -> int:
    return int(struct.unpack("<i", struct.pack("<I", value & 0xFFFFFFFF))[0])


@contextmanager
def _registers(task: int) -> Iterator[list[int]]:
    """Give the registers of a stopped task and write back what was changed."""
    block = (ctypes.c_ulonglong * _REGISTERS)()
    _ptrace(_GETREGS, task, ctypes.addressof(block))
    before = list(block)
    values = list(before)
    yield values
    if values != before:
        block[:] = values
        # It may just have been killed on purpose.
        with suppress(ProcessLookupError):
            _ptrace(_SETREGS, task, ctypes.addressof(block))


def _ptrace(request: int, task: int, data: int) -> None:
    if _libc().ptrace(request, task, 0, data) == -1:
        number = ctypes.get_errno()
        name = errno_names.errorcode.get(number, "unknown")
        raise OSError(number, f"ptrace request {request:#x}: {name}")


def _prctl(option: int, argument: int, pointed_to: bytes | None = None) -> None:
    if _libc().prctl(option, argument, pointed_to, 0, 0) == -1:
        number = ctypes.get_errno()
        name = errno_names.errorcode.get(number, "unknown")
        raise OSError(number, f"prctl option {option}: {name}")


@cache
def _libc() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    library.ptrace.restype = ctypes.c_long
    library.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, *[ctypes.c_ulong] * 2]
    return library
