"""A home served over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from node.home import Home
from node.web.serve import create_server


@contextmanager
def served(home: Home) -> Iterator[str]:
    """Serve a home on a free port, and yield its URL."""
    server, bound = create_server(home, port=0)
    thread = threading.Thread(target=server.run, args=([bound],))
    with bound:
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=60)
    assert not thread.is_alive()
