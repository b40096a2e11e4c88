"""Entries: the exact bytes of a signed statement, as a log holds them.

An entry is a DSSE envelope, stored and hashed as received, at most 65,535 bytes. Its id is the
CIDv1 (raw, sha2-256) of those bytes. An `Entry` object exists only if its form, its signature and
its statement are valid and the key that signed is the author the statement names.
"""

from __future__ import annotations

from typing import NamedTuple

from ledger.cid import Cid
from ledger.dsse import Envelope
from ledger.errors import MalformedError, SignatureError
from ledger.keys import PrivateKey
from ledger.merkle import MAX_ENTRY_BYTES, leaf_hash
from ledger.statement import Statement

NOT_THE_AUTHOR = "the key that signed is not the author the statement names"


class Entry(NamedTuple):
    """A valid entry and what it says."""

    body: bytes
    id: str
    statement: Statement

    @classmethod
    def parse(cls, body: bytes) -> Entry:
        """Parse and verify the bytes of an entry.

        Raises:
            MalformedError: if the envelope or the statement is not in the accepted form.
            SignatureError: if its author did not sign it.
        """
        return cls._parse(body, verify=True)

    @classmethod
    def stored(cls, body: bytes) -> Entry:
        """Parse the bytes of an entry that was verified before this node stored it.

        Everything but the signature is checked again; `audit` repeats that too.
        """
        return cls._parse(body, verify=False)

    @classmethod
    def _parse(cls, body: bytes, *, verify: bool) -> Entry:
        envelope = Envelope.parse(body)
        if verify:
            envelope.verify()
        statement = Statement.parse(envelope.payload)
        if statement.author != envelope.key:
            raise SignatureError(NOT_THE_AUTHOR)
        return cls(body, entry_id(body), statement)

    @classmethod
    def sign(cls, statement: Statement, key: PrivateKey) -> Entry:
        """Sign a statement as its author. The same statement always gives the same bytes."""
        if statement.author != key.public:
            raise SignatureError("the statement names another author than the signing key")
        body = bytes(Envelope.sign(statement.encode(), key))
        if len(body) > MAX_ENTRY_BYTES:
            raise MalformedError(
                f"the {statement.kind} entry would have {len(body)} bytes, "
                f"a log takes at most {MAX_ENTRY_BYTES}"
            )
        return cls(body, entry_id(body), statement)

    @property
    def kind(self) -> str:
        """The kind of statement."""
        return self.statement.kind

    @property
    def author(self) -> str:
        """The author's did:key."""
        return str(self.statement.predicate["author"])

    @property
    def leaf_hash(self) -> bytes:
        """The leaf hash of the entry in any log."""
        return leaf_hash(self.body)


def entry_id(body: bytes) -> str:
    """Return the id of an entry: the raw CID of its bytes."""
    return str(Cid.of(body))
