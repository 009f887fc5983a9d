"""A first folder: what is written is sound, and nobody's file is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from assay.api.init import init
from assay.approval import policy
from assay.cli import main
from assay.config import reader
from assay.errors import InputError


def test_each_file_is_read_without_a_fault(tmp_path: Path) -> None:
    space, rules, workflow = init(tmp_path / "new")
    assert reader.read(space).name == "demo"
    assert policy.read(rules).gates
    steps = yaml.safe_load(workflow.read_text())["jobs"]["audit"]["steps"]
    commands = [step["run"].split()[:3] for step in steps if step.get("run", "").startswith("assay")]
    assert commands == [
        ["assay", "validate", "search-space.yaml"],
        ["assay", "sweep", "search-space.yaml"],
        ["assay", "audit", "demo:best"],
    ]
    assert "search_spaces/" not in space.read_text()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("mine")
    with pytest.raises(InputError, match=r"policy\.yaml: already there; nothing was written"):
        init(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["policy.yaml"]
    assert (tmp_path / "policy.yaml").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(main, ["init", str(tmp_path / "file" / "below")])
    assert result.exit_code == 2
    assert "cannot be written (Not a directory)" in result.output
