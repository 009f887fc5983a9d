"""The Makefile, with stubs for what it calls: what it installs, and which verdicts end the demo well."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]

OUTER = {"ASSAY_STORE", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHON", "VENV"}
STUB = """#!/bin/sh
echo {name} "$@" "store=$ASSAY_STORE" >> calls
[ "$1" != approve ] || exit $VERDICT
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def place(tmp_path):
    """A folder with the Makefile and an environment whose programs only note that they were called."""
    shutil.copy(REPO / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "assay", "pytest", "ruff", "mypy"):
        stub = tmp_path / ".venv" / "bin" / name
        stub.write_text(
            f'#!/bin/sh\necho {name} "$@" "store=$ASSAY_STORE" >> calls\n[ "$1" != approve ] || exit $VERDICT\n'
        )
        stub.chmod(0o755)
    return tmp_path


def run(place: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`make`, without what a `make` around the tests has set."""
    environment = {key: value for key, value in os.environ.items() if key not in OUTER} | variables
    return subprocess.run(["make", *arguments], cwd=place, env=environment, capture_output=True, text=True, timeout=60)


def make(place: Path, target: str, verdict: int = 0) -> tuple[int, list[str]]:
    """The exit code of a target, and the calls it made."""
    (place / "calls").unlink(missing_ok=True)
    done = run(place, target, VERDICT=str(verdict))
    calls = place / "calls"
    return done.returncode, calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.parametrize(
    ("verdict", "ends_well"), [(0, True), (3, True), (5, True), (1, False), (2, False), (4, False)]
)
def test_a_verdict_is_a_result_of_the_demo_and_an_invalid_audit_is_not(place, verdict, ends_well):
    code, calls = make(place, "demo", verdict)
    assert (code == 0) is ends_well
    assert calls[-1] == "assay approve latest --policy demo store=demo-store"


def test_the_demo_begins_with_an_empty_store_of_its_own(place):
    (place / "demo-store").mkdir()
    (place / "assay-store").mkdir()
    code, calls = make(place, "demo")
    assert code == 0
    assert not (place / "demo-store").exists()
    assert (place / "assay-store").exists()
    assert [call.split()[1] for call in calls if call.startswith("assay")] == ["sweep", "audit", "trials", "approve"]


@pytest.mark.parametrize(("target", "extra"), [("demo", "demo"), ("test", "test"), ("lint", "test"), ("types", "test")])
def test_a_target_installs_its_extra_once_for_every_change_of_the_project(place, target, extra):
    def installed() -> list[str]:
        return [call for call in make(place, target)[1] if call.startswith("python")]

    [call] = installed()
    assert call.startswith(f"python -m pip install -e .[{extra}]")
    assert installed() == []
    later = (place / ".venv" / f".installed-{extra}").stat().st_mtime + 10
    os.utime(place / "pyproject.toml", (later, later))
    assert len(installed()) == 1


def test_lint_checks_the_format_too(place):
    _, calls = make(place, "lint")
    assert [call.split(" store")[0] for call in calls[1:]] == ["ruff check", "ruff format --check"]


def test_a_missing_environment_is_made(place):
    shutil.rmtree(place / ".venv")
    told = run(place, "-n", "test", "PYTHON=python9.9").stdout
    assert "python9.9 -m venv .venv" in told


def test_ci_runs_the_same_targets_and_stops_at_the_first_that_fails():
    script = (REPO / ".ci" / "run").read_text(encoding="utf-8")
    assert "set -euo pipefail" in script
    assert [line for line in script.splitlines() if line.startswith("make")] == [
        "make lint",
        "make types",
        "make dependencies",
        "make test",
    ]
