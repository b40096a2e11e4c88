"""A real browser for tests: Debian's Chromium without a window, driven over its debugging pipe.

The DevTools protocol travels as JSON texts, each ended by a zero byte, over file descriptors 3
and 4 of the browser. No driver program and no library are needed.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--disable-sync",
    "--mute-audio",
    "--hide-scrollbars",
    "--lang=en",
)
SECONDS = 60.0


def find() -> str | None:
    """Return the path of a Chromium, or None if there is none here."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@dataclass
class Browser:
    """A running browser with one page; `console` and `failures` collect what it complains of."""

    process: subprocess.Popen[bytes]
    send_to: int
    read_from: int
    session: str = ""
    console: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _events: list[dict[str, Any]] = field(default_factory=list)
    _buffer: bytes = b""
    _last: int = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.send_to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def wait_for(self, method: str) -> dict[str, Any]:
        """Return the next event of a kind, also one that has already arrived."""
        while True:
            for event in self._events:
                if event["method"] == method:
                    self._events.remove(event)
                    return event
            self._receive()

    def show(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Set the size of the window, in CSS pixels, and the colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self._events.clear()
        result = self.call("Page.navigate", url=url)
        assert not result.get("errorText"), result
        self.wait_for("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of ours in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def dom(self) -> str:
        """Return the document as the browser understood it."""
        node = self.call("DOM.getDocument", depth=-1)["root"]["nodeId"]
        return str(self.call("DOM.getOuterHTML", nodeId=node)["outerHTML"])

    def screenshot(self, path: Path) -> bytes:
        """Write the whole page as a PNG and return its bytes."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        data = base64.b64decode(shot["data"])
        path.write_bytes(data)
        return data

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self.read_from, 1 << 20)
            assert part, f"the browser ended, exit code {self.process.poll()}"
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self._note(message["method"], message["params"])
            self._events.append(message)
        return message

    def _note(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Log.entryAdded":
            self.console.append(parameters["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.console.append(str(parameters["args"]))
        elif method == "Network.loadingFailed":
            self.failures.append(str(parameters))
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])


@contextmanager
def browser(executable: str, profile: Path) -> Iterator[Browser]:
    """Run a browser with a fresh profile and one empty page."""
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    command = [executable, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{from_write}', "bash", *command, "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(to_read, from_write),
        env={**os.environ, "HOME": str(profile), "XDG_RUNTIME_DIR": str(profile)},
    )
    os.close(to_read)
    os.close(from_write)
    driven = Browser(process, to_write, from_read)
    try:
        target = driven.call("Target.createTarget", url="about:blank")["targetId"]
        attached = driven.call("Target.attachToTarget", targetId=target, flatten=True)
        driven.session = attached["sessionId"]
        for domain in ("Page", "DOM", "Log", "Runtime", "Network", "Accessibility"):
            driven.call(f"{domain}.enable")
        yield driven
    finally:
        os.close(to_write)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(from_read)
