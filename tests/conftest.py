"""Fixtures that several test files use."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

REPORT = runpy.run_path(str(Path(__file__).with_name("report_fixture.py")))


@pytest.fixture(scope="session")
def pristine_audit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undecided audit with hostile names in it: 60 samples, 3 attacks x 2 norms x 3 epsilons. Not to be changed."""
    return REPORT["build"](tmp_path_factory.mktemp("audit"))


@pytest.fixture
def audit_folder(pristine_audit_folder: Path, tmp_path: Path) -> Path:
    """A copy of that audit, for one test to change."""
    return Path(shutil.copytree(pristine_audit_folder, tmp_path / "audit"))


@pytest.fixture
def verdict_of():
    """A function PASS | FAIL | INVALID | INCONCLUSIVE -> the `verdict.json` for `audit_folder`, as a dictionary."""
    return REPORT["verdict"]
