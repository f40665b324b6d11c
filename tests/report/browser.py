"""A browser without a window, spoken to over a pipe: Chromium's DevTools protocol, no other package.

Source: Chrome DevTools Protocol, ``--remote-debugging-pipe``: messages in JSON, ended by a zero byte, to descriptor 3
and from descriptor 4.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")

PLACE = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for place, end in zip((3, 4), ends):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Gives two descriptors the numbers that the browser expects, and becomes the browser."""


def find_browser() -> str | None:
    """Path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One tab: opens pages, evaluates scripts, and gathers what goes wrong."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self.to_browser = to_browser
        self.from_browser = os.fdopen(from_browser, "rb")
        self.session: str | None = None
        self.sent = 0
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command and wait for its answer; what comes in between is an event."""
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self.sent:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        read = bytearray()
        while (byte := self.from_browser.read(1)) != b"\0":
            assert byte, "the browser has ended"
            read += byte
        found: dict[str, Any] = json.loads(read)
        return found

    def open(self, page: Path, width: int, height: int = 900) -> None:
        """Open a page in a window of a size, and wait until its scripts have run. A narrow one is a phone's."""
        phone = width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())
        self.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Move the mouse from one place of the window to another with its left button down."""
        steps = 5
        self._mouse("mouseMoved", start)
        self._mouse("mousePressed", start, button="left", buttons=1, clickCount=1)
        for step in range(1, steps + 1):
            x, y = (a + (b - a) * step / steps for a, b in zip(start, end, strict=True))
            self._mouse("mouseMoved", (x, y), button="left", buttons=1)
        self._mouse("mouseReleased", end, button="left", clickCount=1)

    def _mouse(self, kind: str, place: tuple[float, float], **params: object) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], **params)

    def value(self, script: str) -> Any:
        """What an expression of JavaScript gives, or the promise that it gives."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression of JavaScript is true, at most two seconds."""
        tries = "for (let i = 0; i < 100 && !done(); i++) await new Promise((next) => setTimeout(next, 20));"
        assert self.value(f"(async () => {{ const done = () => {script}; {tries} return done(); }})()"), script

    def problems(self) -> list[str]:
        """Exceptions, warnings and errors of the console since the page was opened, without those of a driver."""
        self.value("1")
        found = []
        for event in self.events:
            kind, params = event["method"], event["params"]
            if kind == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif kind == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(str(params["args"]))
            elif kind == "Log.entryAdded" and params["entry"]["source"] != "rendering":
                found.append(str(params["entry"]))
        return found

    def requests(self) -> list[str]:
        """Addresses that were asked for since the page was opened, without data within it."""
        asked = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [address for address in asked if not address.startswith(("data:", "blob:"))]

    def screenshot(self, path: Path) -> None:
        """A picture of the whole page."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def open_tab(browser: str) -> Iterator[Tab]:
    """A tab of a browser that ends with the block."""
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [sys.executable, "-c", PLACE, str(in_read), str(out_write), browser, *OPTIONS]
        running = subprocess.Popen(
            [*command, "--remote-debugging-pipe", f"--user-data-dir={profile}"],
            pass_fds=(in_read, out_write), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(in_read)
        os.close(out_write)
        try:
            yield Tab(in_write, out_read)
        finally:
            running.terminate()
            running.wait(10)
            os.close(in_write)
