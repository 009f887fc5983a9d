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
    space, rules, workflow = init(tmp_path / "Line 9")
    assert reader.read(space).name == policy.read(rules).name == "line-9"
    changed = rules.read_text().replace("at_least: 0.60", "at_least: 0.70")
    rules.write_text(changed)
    assert policy.read(rules).gates, "its limits may be changed, as its name is that of no shipped policy"
    own = (
        space.read_text()
        .replace("\ndataset: {name: elpv", "\n# dataset: {name: elpv")
        .replace("# dataset: {name: folder", "dataset: {name: folder")
    )
    space.write_text(own)
    assert reader.read(space).dataset.name == "folder", "the line for own images is sound"
    steps = yaml.safe_load(workflow.read_text())["jobs"]["audit"]["steps"]
    commands = [step["run"].split()[:3] for step in steps if step.get("run", "").startswith("assay")]
    assert commands == [
        ["assay", "validate", "search-space.yaml"],
        ["assay", "sweep", "search-space.yaml"],
        ["assay", "audit", "line-9:best"],
    ]
    assert "search_spaces/" not in space.read_text()
    assert any("[demo]" in step.get("run", "") for step in steps), "the images of the example come with it"


@pytest.mark.parametrize(("folder", "name"), [("demo", "my-demo"), ("default", "my-default"), ("...", "first")])
def test_no_file_gets_the_name_of_a_shipped_one(tmp_path: Path, folder: str, name: str) -> None:
    space, rules, _ = init(tmp_path / folder)
    assert reader.read(space).name == policy.read(rules).name == name


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
