"""The error tree shared by every package.

    PnodeError                  1  failure
    |- UsageError               2  usage
    |- EvidenceError            3  bad-evidence
    |  |- MalformedError        3  malformed        bytes that are not in the one accepted form
    |  |  `- DuplicateKeyError  3  malformed
    |  |- SignatureError        3  bad-signature
    |  |- DigestError           3  bad-digest       bytes do not hash to what was promised
    |  `- ProofError            3  bad-proof        inclusion, consistency or a tile
    |- IdentityError            4  no-identity
    |- NotFoundError            5  not-found
    |- UnavailableError         6  unavailable
    |- PolicyError              7  refused
    |- EquivocationError        8  equivocation
    |- IncompleteError          9  incomplete
    `- StorageError             1  storage          the disk or the home, not the data
       |- HomeBusyError         1  home-busy
       `- LogFrozenError        1  log-frozen       signing would risk a fork

`code` is stable and machine-readable, `exit_code` follows the interface, `hint` says what to
do next. The command line and the HTTP server map errors in one place by these attributes. An error
may say more in its code, after a dot: `unfit-adapter.link`.
"""

from __future__ import annotations

from typing import ClassVar, Self


class PnodeError(Exception):
    """Anything pnode refuses or fails to do, phrased for the person at the keyboard."""

    code: str = "failure"
    exit_code: ClassVar[int] = 1
    default_hint: ClassVar[str] = "run again with --debug and report what it prints"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is not None else self.default_hint

    def about(self, what: str, *, hint: str | None = None) -> Self:
        """Say what larger thing this is about, and perhaps what else to do; returns itself."""
        self.message = f"{what}: {self.message}"
        self.args = (self.message,)
        self.hint = hint if hint is not None else self.hint
        return self


class UsageError(PnodeError):
    """The command, its arguments or a recipe do not make sense."""

    code = "usage"
    exit_code = 2
    default_hint = "see 'pnode COMMAND --help'"


class EvidenceError(PnodeError):
    """Something that was signed, hashed or proven does not check out."""

    code = "bad-evidence"
    exit_code = 3
    default_hint = "do not rely on it; ask its publisher for the original bytes"


class MalformedError(EvidenceError):
    """Bytes that are not in the one accepted form."""

    code = "malformed"


class DuplicateKeyError(MalformedError):
    """A JSON object that says two things under one key."""


class SignatureError(EvidenceError):
    """A signature that is missing, not canonical or wrong."""

    code = "bad-signature"


class DigestError(EvidenceError):
    """Bytes that do not hash to the digest or CID that names them."""

    code = "bad-digest"
    default_hint = "the copy is damaged or forged; fetch it again from another peer"


class ProofError(EvidenceError):
    """An inclusion proof, consistency proof or tile that does not lead to the root."""

    code = "bad-proof"


class IdentityError(PnodeError):
    """No home or no key where one is needed."""

    code = "no-identity"
    exit_code = 4
    default_hint = "create one with 'pnode init', or name another home with --home DIR"


class NotFoundError(PnodeError):
    """An id, file or name that does not exist here."""

    code = "not-found"
    exit_code = 5
    default_hint = "see 'pnode list' for what is known here, or run 'pnode sync' first"


class UnavailableError(PnodeError):
    """A peer, a daemon or the network does not answer."""

    code = "unavailable"
    exit_code = 6
    default_hint = "check the address and try again later"


class PolicyError(PnodeError):
    """Refused on purpose: licence, consent, an unsafe or unfit artifact, a withdrawn member."""

    code = "refused"
    exit_code = 7
    default_hint = "correct what is named and publish again"


class UnsafeNameError(PolicyError):
    """A file name in an artifact that is a path, hidden or impossible on some system."""

    code = "unsafe-name"
    default_hint = "do not use this artifact; its author has to rename the file and publish again"


class EquivocationError(PnodeError):
    """Two signed checkpoints of one log that cannot both be true.

    `evidence` is the file that proves it to others (`ledger.evidence`), where one could be made.
    """

    code = "equivocation"
    exit_code = 8
    default_hint = "stop relying on this log; keep the evidence"

    def __init__(
        self, message: str, *, hint: str | None = None, evidence: bytes | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.evidence = evidence


class IncompleteError(PnodeError):
    """Something needed for a verdict is missing; never shown as a pass."""

    code = "incomplete"
    exit_code = 9
    default_hint = (
        "run 'pnode sync' to bring the missing bytes, or 'pnode sync --repair' if they were here "
        "before, then try again"
    )


class StorageError(PnodeError):
    """The disk or the home cannot take the write; nothing was half-written."""

    code = "storage"
    default_hint = "free some space or make the home writable, then run the same command again"


class HomeBusyError(StorageError):
    """Another process is writing to this home."""

    code = "home-busy"
    default_hint = "wait for the other pnode command to finish, then run this one again"


class LogFrozenError(StorageError):
    """Signing now could fork the log, so the home stays read-only."""

    code = "log-frozen"
    default_hint = (
        "this home was probably restored or copied: run 'pnode recover', see docs/how-to/restore.md"
    )
