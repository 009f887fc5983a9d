"""The documentation's site, in a browser: nothing is fetched from elsewhere, wide or narrow, and its search finds."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import FOUND, NAMES, Tab, browser

REPO = Path(__file__).parents[2]
ZENSICAL = Path(sys.executable).with_name("zensical")
PATIENCE = 30.0

pytestmark = [
    pytest.mark.skipif(not FOUND, reason=f"no browser is installed ({', '.join(NAMES)})"),
    pytest.mark.skipif(not ZENSICAL.exists(), reason="needs the extra docs"),
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Writes no log."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the site is served, built strictly from a copy."""
    copy = tmp_path_factory.mktemp("docs")
    for name in ("docs", "platform"):
        shutil.copytree(REPO / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "zensical.toml", copy)
    subprocess.run([ZENSICAL, "build", "--strict"], cwd=copy, check=True, timeout=300, stdout=subprocess.DEVNULL)
    handler = functools.partial(Quiet, directory=str(copy / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browser() as opened:
        yield opened


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("page", ["", "gpu/", "functions/", "command-line/"])
def test_a_page_fits_the_screen_and_all_of_it_comes_from_here(tab, address, page, width):
    tab.visit(address + page, width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    told = [event["params"] for event in tab.events]
    assert [one["response"]["url"] for one in told if one.get("response", {}).get("status", 200) >= 400] == []
    asked = [one["request"]["url"] for one in told if "request" in one]
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert not any(event["method"] == "Runtime.exceptionThrown" for event in tab.events)


def test_the_search_finds(tab, address):
    tab.visit(address, 1280)
    until = time.monotonic() + PATIENCE
    found = ""
    while "On a GPU" not in found and time.monotonic() < until:
        tab.evaluate("document.querySelector('.md-search__button').click()")
        time.sleep(1)
        tab.call("Input.insertText", text="TF32")
        time.sleep(1)
        found = tab.evaluate(SHOWN)
    assert "On a GPU" in found
    assert "result" in found


SHOWN = """(() => {
  const parts = [];
  const walk = (root) => {
    for (const one of root.querySelectorAll('*')) if (one.shadowRoot) {
      parts.push(...[...one.shadowRoot.children].filter(c => c.tagName != 'STYLE').map(c => c.innerText));
      walk(one.shadowRoot);
    }
  };
  walk(document);
  return parts.join(' ');
})()"""
"""The text of what the search draws, which is no part of the page's own."""
