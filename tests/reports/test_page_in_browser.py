"""The report in a real browser: it says nothing, asks for nothing, its links work, and it fits every screen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
import report_fixture

from assay.reports import page as report

WIDTHS = (360, 800, 1400)
BETWEEN = (320, 401, 600, 769, 865)  # just above each width at which tables become cards, among others
DEAD = """[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))
  .filter(to => !to.startsWith('#') || !document.getElementById(to.slice(1)))"""
SMALL = """(() => {
  const sizes = [];
  for (const element of document.querySelectorAll('body *:not(title, desc, style, script)')) {
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    const turned = element.getScreenCTM ? element.getScreenCTM() : {a: 1, b: 0};
    sizes.push(parseFloat(getComputedStyle(element).fontSize) * Math.hypot(turned.a, turned.b));
  }
  return Math.min(...sizes);
})()"""

pytestmark = pytest.mark.skipif(not chromium.FOUND, reason=f"no browser is installed ({', '.join(chromium.NAMES)})")


@pytest.fixture(scope="module")
def page(pristine_audit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on a decided audit with hostile names in it."""
    folder = shutil.copytree(pristine_audit_folder, tmp_path_factory.mktemp("page") / "audit")
    (folder / "verdict.json").write_text(json.dumps(report_fixture.verdict("INCONCLUSIVE")))
    return Path(report.write(folder))


@pytest.fixture(scope="module")
def tab() -> Iterator[chromium.Tab]:
    with chromium.browser() as tab:
        yield tab


@pytest.mark.parametrize("width", [*WIDTHS, *BETWEEN])
def test_nothing_is_wider_than_the_page(tab, page, width):
    tab.open(page, width)
    told = tab.evaluate(chromium.OUTSIDE)
    assert told == {"seen": width, "wide": width, "found": []}


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_is_too_small_to_read(tab, page, width):
    tab.open(page, width)
    assert tab.evaluate(SMALL) >= 10.5


def test_page_says_nothing_and_asks_for_nothing(tab, page):
    tab.open(page, 800)
    told = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert [event for event in tab.events if event["method"] in told] == []
    asked = [
        event["params"]["request"]["url"] for event in tab.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]


def test_every_link_leads_somewhere(tab, page):
    tab.open(page, 800)
    assert tab.evaluate("document.querySelectorAll('a').length") > 20
    assert tab.evaluate(DEAD) == []


def test_a_page_that_is_too_wide_speaks_or_fetches_is_found_out(tab, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<div style='width: 500px'>wide</div><a href='#nowhere'>x</a><img src='gone.png'>"
        "<p style='font-size: 5px'>tiny</p><script>console.log('hello')</script>"
    )
    tab.open(bad, 360)
    told = tab.evaluate(chromium.OUTSIDE)
    assert (told["seen"], told["wide"]) == (360, 508)
    assert len(told["found"]) >= 1
    assert tab.evaluate(DEAD) == ["#nowhere"]
    assert tab.evaluate(SMALL) == 5
    methods = [event["method"] for event in tab.events]
    assert "Runtime.consoleAPICalled" in methods
    assert methods.count("Network.requestWillBeSent") == 2
