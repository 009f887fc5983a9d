"""`assay ui` in a real browser: it fits every screen, follows the store without being reloaded, and breaks no rule."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
import toy_log
from toy_log import asked, ended, reported

from assay.store.store import Store

ASSAY = str(Path(sys.executable).with_name("assay"))
STORES = Path(__file__).parents[1] / "stores"

pytestmark = pytest.mark.skipif(not chromium.FOUND, reason=f"no browser is installed ({', '.join(chromium.NAMES)})")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = shutil.copytree(sorted(STORES.iterdir())[0] / "store", tmp_path_factory.mktemp("ui") / "store")
    store = Store(folder)
    events = [{"event": "spent", "cpu_hours": 1.0, "gpu_hours": 0.0}]
    for number in range(30):
        events += [asked(number), {"event": "begin", "trial": number}]
        events += [{**reported(number, number % 5 + 1), "epochs": 5}, ended(number)]
    toy_log.write(store, *events, search={"trials": 40}, budget={"cpu_hours": 3})
    return store


@pytest.fixture(scope="module")
def address(store: Store) -> Iterator[str]:
    """Of the page that a process of its own serves; Ctrl-C ends it."""
    command = [ASSAY, "ui", "--store", store.root]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield re.findall(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", process.stdout.readline())[0]
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[1] == ""
        assert process.returncode == 0


@pytest.fixture(scope="module")
def tab() -> Iterator[chromium.Tab]:
    with chromium.browser() as tab:
        yield tab


@pytest.mark.parametrize("width", [360, 480, 1280])
def test_every_page_fits_the_screen_and_breaks_no_rule(tab, address, store, width):
    [audit] = store.names("audits")
    for page in ("", "sweeps/toy", f"audits/{audit}"):
        tab.visit(address + page, width)
        assert tab.evaluate(chromium.OUTSIDE) == {"seen": width, "wide": width, "found": []}, page
        told = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")  # also what the policy refuses
        faults = [event for event in tab.events if event["method"] in told]
        assert [fault for fault in faults if "favicon" not in str(fault)] == [], page
        asked_for = [e["params"]["request"]["url"] for e in tab.events if e["method"] == "Network.requestWillBeSent"]
        assert [url for url in asked_for if not url.startswith(address)] == []
        assert tab.evaluate("getComputedStyle(document.querySelector('main')).fontFamily").startswith('"Helvetica')


def test_the_page_follows_the_sweep_without_being_reloaded(tab, address, store):
    tab.visit(f"{address}sweeps/toy", 1280)
    tab.evaluate("window.mark = 1; setInterval(look, 200); 0")
    assert "30 complete" in tab.evaluate("document.querySelector('#state').innerText")
    toy_log.write(store, asked(30), reported(30, 5), ended(30))
    until = time.monotonic() + 30
    while "31 complete" not in tab.evaluate("document.querySelector('#state').innerText"):
        assert time.monotonic() < until
        time.sleep(0.2)
    assert tab.evaluate("window.mark") == 1
    assert tab.evaluate("document.querySelector('#gone').hidden")


def test_the_report_opens_and_its_own_rules_hold(tab, address, store):
    [audit] = store.names("audits")
    tab.visit(f"{address}audits/{audit}/report.html", 1280)
    assert "PASS" in tab.evaluate("document.querySelector('h1').dataset.word")
    assert tab.evaluate("getComputedStyle(document.querySelector('main')).fontFamily").startswith('"Helvetica')
