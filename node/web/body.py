"""Reading what a client sends, bounded in bytes and time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ledger.errors import UsageError

if TYPE_CHECKING:
    from starlette.requests import Request


class BodyError(UsageError):
    """A body that cannot be taken."""


class BodyTooLargeError(BodyError):
    """A body of more bytes than the path takes."""


async def read_body(request: Request, *, max_bytes: int, seconds: float) -> bytes:
    """Return the body of a request.

    Raises:
        BodyTooLargeError: if it has more bytes, or announces more.
        BodyError: if it does not arrive in time.
    """
    from starlette.requests import ClientDisconnect

    too_large = f"the body has more than {max_bytes} bytes"
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced[:20]) > max_bytes:
        raise BodyTooLargeError(too_large)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise BodyTooLargeError(too_large)
    except (TimeoutError, ClientDisconnect):
        raise BodyError("the body did not arrive in time") from None
    return bytes(body)
