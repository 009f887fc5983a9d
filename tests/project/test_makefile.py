"""The Makefile, with stubs for what it calls: what it installs, and which verdicts end the demo well."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPO = Path(__file__).parents[2]

OUTER = {"ASSAY_STORE", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHON", "VENV"}
STUB = """#!/bin/sh
echo {name} "$@" "store=$ASSAY_STORE" >> calls
[ "$1" != --version ] || echo Python 3.99.1
[ "$3" != freeze ] || cat frozen || exit
[ "$1" != approve ] || exit $VERDICT
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def place(tmp_path):
    """A folder with the Makefile and an environment whose programs only note that they were called."""
    shutil.copy(REPO / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "assay", "pytest", "ruff", "mypy"):
        stub = tmp_path / ".venv" / "bin" / name
        stub.write_text(STUB.format(name=name))
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
@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_target_installs_its_extra_in_tested_versions_once_for_every_change(place, target, extra, changed):
    def installed() -> list[str]:
        return [call for call in make(place, target)[1] if call.startswith("python")]

    [call] = installed()
    assert call.startswith(f"python -m pip install --no-compile -c constraints.txt -e .[{extra}]")
    assert installed() == []
    later = (place / ".venv" / f".installed-{extra}").stat().st_mtime + 10
    os.utime(place / changed, (later, later))
    assert len(installed()) == 1


def test_constraints_are_what_is_installed_without_labels_of_builds_and_without_what_lies_on_this_machine(place):
    frozen = "torch==2.13.0+cpu\nArpeggio==2.0\n# Editable install\n-e /here\nmine @ file:///here\nray==2.60.0\n_x==1\n"
    (place / "frozen").write_text(frozen)
    code, calls = make(place, "constraints")
    assert code == 0
    assert calls[1].startswith("python -m pip freeze --all --exclude-editable --exclude assay --exclude pip ")
    head, command, *lines = (place / "constraints.txt").read_text().splitlines()
    assert head == "# What make and clusters install, tested with Python 3.99."
    assert command == "# Written by: make constraints"
    assert lines == ["Arpeggio==2.0", "ray==2.60.0", "torch==2.13.0", "_x==1"]
    assert make(place, "lint")[1][0].startswith("ruff")  # these are installed already


def test_constraints_stay_where_what_is_installed_cannot_be_listed(place):
    (place / "constraints.txt").write_text("torch==2.13.0\n")
    assert make(place, "constraints")[0] != 0
    assert (place / "constraints.txt").read_text() == "torch==2.13.0\n"


def test_constraints_name_a_version_that_the_project_accepts_for_all_it_asks_for():
    lines = (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert lines[2:] == sorted(map(str, pins), key=str.upper)
    assert all(re.fullmatch(r"==[^+*]+", str(pin.specifier)) and not pin.url and not pin.extras for pin in pins)
    pinned = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    # These need torchvision, which is built for one version of PyTorch, and have an environment of their own.
    of_torchvision = {*extras["anomalib"], *extras["timm"]}
    for text in [*project["dependencies"], *(one for extra in extras.values() for one in extra)]:
        if text in of_torchvision:
            continue
        asked = Requirement(text)
        if asked.name != project["name"]:
            assert asked.specifier.contains(pinned[canonicalize_name(asked.name)]), text


def test_lint_checks_the_format_too(place):
    _, calls = make(place, "lint")
    assert [call.split(" store")[0] for call in calls[1:]] == ["ruff check", "ruff format --check"]


def test_a_missing_environment_is_made(place):
    shutil.rmtree(place / ".venv")
    told = run(place, "-n", "test", "PYTHON=python9.9").stdout
    assert "python9.9 -m venv .venv" in told


@pytest.mark.parametrize("failing", ["", "lint", "types", "docs", "dependencies", "test"])
def test_ci_runs_every_target_and_fails_with_any(tmp_path, failing):
    shutil.copytree(REPO / ".ci", tmp_path / ".ci")
    (tmp_path / "bin").mkdir()
    each = f'case $word in -*) ;; *) echo "made $word"; [ $word != "{failing}" ] || exit 2;; esac'
    for name, code in {"make": f"for word; do {each}; done", "apt-get": "exit 0"}.items():
        (tmp_path / "bin" / name).write_text(f"#!/usr/bin/env bash\n{code}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run([tmp_path / ".ci" / "run"], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == (2 if failing else 0), done.stderr
    made = ["lint"] if failing == "lint" else ["lint", "test", "types", "docs", "dependencies"]
    if failing in ("types", "docs"):
        made = made[: made.index(failing) + 1]  # the stand-in takes its targets one after the other
    assert done.stdout.split() == [word for target in made for word in ("made", target)]
