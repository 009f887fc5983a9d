"""A headless Chromium, driven over a pipe: opens a page at a given width and tells what it did and what it shows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")
FOUND = next(filter(None, map(shutil.which, NAMES)), None)
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
    "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip

OUTSIDE = """(() => {
  const seen = document.documentElement.clientWidth, found = [];
  for (const element of document.querySelectorAll('body *')) {
    const box = element.getBoundingClientRect();
    if (box.width && (box.right > seen + 1 || box.left < -1)) found.push(element.outerHTML.slice(0, 200));
  }
  for (const label of document.querySelectorAll('svg text')) {
    const box = label.getBoundingClientRect(), room = label.ownerSVGElement.getBoundingClientRect();
    if (box.right > room.right + 2 || box.left < room.left - 2) found.push(label.textContent);
  }
  for (const element of document.querySelectorAll('body *:not(svg *)'))
    if (element.clientWidth && element.scrollWidth > element.clientWidth + 1) found.push(element.outerHTML);
  return {seen, wide: document.documentElement.scrollWidth, found};
})()"""
"""A script that tells the width of a page and what is cut off or reaches beyond it."""


class Tab:
    """One page: `call` sends a command of the DevTools protocol, `events` holds what the browser told meanwhile."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._rest, self._number = write, read, b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of a command; an error of the browser is raised."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, page: Path, width: int, height: int = 1000) -> None:
        """Load a file as a screen of that width shows it, and wait until it is there."""
        self.visit(page.as_uri(), width, height)

    def visit(self, address: str, width: int, height: int = 1000) -> None:
        """As `open`, of an address."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.events.clear()
        self.call("Page.navigate", url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression on the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            if not more:
                raise RuntimeError("the browser is gone")
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer


@contextmanager
def browser() -> Iterator[Tab]:
    """A tab of a Chromium of its own, which ends with the block."""
    assert FOUND
    to_browser, ours = os.pipe(), os.pipe()

    def pipes() -> None:  # it listens on descriptor 3 and answers on 4
        read, write = os.dup(to_browser[0]), os.dup(ours[1])
        os.dup2(read, 3)
        os.dup2(write, 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [FOUND, *OPTIONS, f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            command, preexec_fn=pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser[0])
        os.close(ours[1])
        try:
            yield Tab(to_browser[1], ours[0])
        finally:
            process.terminate()
            process.wait(20)
            os.close(to_browser[1])
            os.close(ours[0])
