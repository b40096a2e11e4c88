"""`POST /push` over HTTP: bounded bodies, few at once, and a status for every refusal.

| status | when |
| 200 | taken over; JSON `{"missing": [CID...], "size": N}` |
| 400 | something in it is malformed, not signed, not proven, or missing |
| 403 | the log is not followed here, or a limit or quota is reached |
| 409 | more of the log, or another tree, is held already |
| 413 | more than MAX_PUSH_BYTES |
| 503 | another push is in the way; try again |
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ledger.errors import PnodeError
from node.home import Home
from node.peering.receiving import Receiver, push_status
from node.peering.upload import MAX_PUSH_BYTES
from node.web.body import BodyError, BodyTooLargeError, read_body

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

MAX_AT_ONCE: Final = 2
BODY_SECONDS: Final = 120.0
_log = logging.getLogger(__name__)


class Pushes:
    """The endpoint of one home. At most MAX_AT_ONCE bodies are in memory."""

    def __init__(self, home: Home) -> None:
        self._receiver = Receiver(home)
        self._slots = MAX_AT_ONCE

    async def push(self, request: Request) -> Response:
        """Answer `POST /push`."""
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import Response

        # Everything up to the first await runs alone: no lock is needed for the count.
        if not self._slots:
            return _refusal(503, "other pushes are being verified")
        self._slots -= 1
        try:
            body = await read_body(request, max_bytes=MAX_PUSH_BYTES, seconds=BODY_SECONDS)
            received = await run_in_threadpool(self._receiver.receive, body)
        except BodyError as error:
            return _refusal(413 if isinstance(error, BodyTooLargeError) else 400, error.message)
        except PnodeError as error:
            status = push_status(error)
            if status != 500:
                return _refusal(status, error.message)
            _log.error("push: %s", error.message)
            return _refusal(500, "this home cannot take pushes now")
        finally:
            self._slots += 1
        headers = {"Cache-Control": "no-store"}
        return Response(bytes(received), media_type="application/json", headers=headers)


def _refusal(status: int, text: str) -> Response:
    from starlette.responses import PlainTextResponse

    headers = {"Cache-Control": "no-store"}
    return PlainTextResponse(text + "\n", status_code=status, headers=headers)
