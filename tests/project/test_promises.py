"""The pages about security promise what a test holds: every test that they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PAGES = ("security.md", "sign-and-verify.md")
TESTS = {
    str(path.relative_to(REPO)): set(re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE))
    for path in (REPO / "tests").rglob("test_*.py")
}


def page(name: str) -> str:
    return (REPO / "docs" / name).read_text("utf-8")


def rows(name: str, heading: str) -> list[str]:
    """The rows of the table below a heading, without its head."""
    section = page(name).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


@pytest.mark.parametrize("name", PAGES)
def test_every_test_that_a_page_names_is_there(name):
    text = page(name)
    assert set(re.findall(r"`(tests/[\w/]+\.py)`", text)) <= TESTS.keys()
    for row in text.splitlines():
        file = ""
        for named in re.findall(r"`(tests/[\w/]+\.py|test_\w+)`", row):
            if named in TESTS:
                file = named
            else:
                assert any(named in TESTS[one] for one in ([file] if file else TESTS)), f"{named} of {row}"


@pytest.mark.parametrize("name", PAGES)
def test_every_promise_names_its_test(name):
    promises = rows(name, "What holds, and its test")
    assert len(promises) >= 8
    for row in promises:
        assert re.search(r"`test_\w+`|`python benchmarks/\w+\.py`", row), row


def test_the_threat_model_says_who_is_trusted_with_what():
    people = rows("security.md", "Who is trusted with what")
    for who in ("owner of a store", "sender of a detector", "sender of a store", "user of the cluster", "reader of a"):
        [row] = [row for row in people if row.startswith(f"| {who}")]
        assert re.search(r"`tests/[\w/]+\.py`", row), row
