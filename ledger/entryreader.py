"""Reading many entries of one log: verified as `Entry.parse` does it, kept as outlines."""

from __future__ import annotations

from ledger.dsse import Envelope
from ledger.entry import NOT_THE_AUTHOR
from ledger.errors import SignatureError
from ledger.keys import PublicKey
from ledger.layout import Layouts
from ledger.outline import Outline
from ledger.quickverify import quick_verifier


class EntryReader:
    """Verifies entries as `Entry.parse` does and keeps nothing of them but their outlines.

    It is made for many entries of one log, whose layouts it learns.
    """

    def __init__(self) -> None:
        self._layouts = Layouts()
        self._quick = quick_verifier()

    def read(self, body: bytes) -> Outline:
        """Verify the bytes of an entry.

        Raises:
            MalformedError, SignatureError: as `Entry.parse` does.
        """
        envelope = Envelope.parse(body)
        envelope.verify(self._quick)
        return self._outline(envelope)

    def read_verified(self, body: bytes) -> Outline:
        """Read an entry whose signature is known to be right; everything else is checked."""
        return self._outline(Envelope.parse(body))

    def _outline(self, envelope: Envelope) -> Outline:
        outline = self._layouts.read(envelope.payload)
        author = PublicKey.from_did(outline.author)
        # Usually one object, because keys are cached by their text.
        if author is not envelope.key and author != envelope.key:
            raise SignatureError(NOT_THE_AUTHOR)
        return outline
