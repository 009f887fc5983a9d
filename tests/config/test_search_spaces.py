"""Every file that ships is right: search spaces, suites and policies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from assay.cli import main

REPO = Path(__file__).parents[2]
SPACES = sorted((REPO / "search_spaces").rglob("*.y*ml"))
SUITES = sorted((REPO / "platform" / "assay" / "audits" / "suites").rglob("*.y*ml"))
POLICIES = sorted((REPO / "platform" / "assay" / "approval" / "policies").rglob("*.y*ml"))


def name(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


def head(path: Path) -> str:
    """The comment lines at the top of a file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = lines[: next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))]
    return "\n".join(comment)


def test_something_ships():
    assert {path.stem for path in SPACES} >= {"demo"}
    assert {path.stem for path in SUITES} >= {"quick", "standard"}
    assert {path.stem for path in POLICIES} >= {"default", "demo"}


@pytest.mark.parametrize("path", [*SPACES, *SUITES, *POLICIES], ids=name)
def test_a_shipped_file_is_valid(path):
    result = CliRunner().invoke(main, ["validate", str(path)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("path", SPACES, ids=name)
def test_the_head_of_a_search_space_says_how_to_run_it(path):
    assert f"assay sweep {name(path)}" in head(path)


@pytest.mark.parametrize(("paths", "verb"), [(SUITES, "audit"), (POLICIES, "approve")], ids=["suites", "policies"])
def test_the_head_of_a_suite_or_policy_says_how_to_use_it(paths, verb):
    option = {"audit": "suite", "approve": "policy"}[verb]
    for path in paths:
        line = next((line for line in head(path).splitlines() if f"assay {verb} " in line), "")
        assert f"--{option} {path.stem}" in line, path


@pytest.mark.parametrize("path", SPACES, ids=name)
def test_a_search_space_is_called_as_its_file(path):
    from assay.config import reader

    assert reader.read(path).name.replace("-", "_") == path.stem


def test_the_search_space_for_models_of_anomalib_lacks_nothing_but_the_library(tmp_path):
    """Its page runs where anomalib is installed (tests/anomalib); here at least its keys are checked."""
    page = (REPO / "docs" / "anomalib.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```yaml\n(# sweep\.yaml\n.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "sweep.yaml").write_text(block)
    result = CliRunner().invoke(main, ["validate", str(tmp_path / "sweep.yaml")])
    keys = re.findall(r"^  ([\w.]+): ", result.output, re.MULTILINE)
    assert all(key.partition(".")[0] in ("space", "model") for key in keys), result.output
    assert result.exit_code == 0 or "anomalib is not installed" in result.output
