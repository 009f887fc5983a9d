"""The files, code and commands of docs/anomalib.md run in their order, on small images."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import toy_anomalib
from click.testing import CliRunner

from assay.cli import main
from assay.interop.backbone_weights import backbone_weights
from assay.store.audit_reader import Audit
from assay.store.references import folder as folder_of
from assay.store.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "anomalib.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the commands: images, a checkpoint, the files that anomalib exports, and those of the page."""
    images = toy_anomalib.write_images(tmp_path / "toy")
    _, _, checkpoint = toy_anomalib.trained("Padim", images, tmp_path)
    checkpoint.rename(tmp_path / "model.ckpt")
    shutil.copytree(images / "square", tmp_path / "images" / "scratch")
    shutil.copytree(images / "train", tmp_path / "images" / "good")
    monkeypatch.chdir(tmp_path)
    [code] = blocks("python")
    with backbone_weights("random"):  # no pretrained ones can be fetched here; the checkpoint holds its own
        exec(compile(code, "docs/anomalib.md", "exec", dont_inherit=True), {})
    for block in blocks("yaml"):
        (tmp_path / block.split()[1]).write_text(block)
    return tmp_path


def test_every_command_of_the_page_runs_in_its_order(place: Path) -> None:
    commands = re.findall(r"^assay (.*)", PAGE, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        done = CliRunner().invoke(main, command.split(), catch_exceptions=False)
        assert done.exit_code == 0, f"{command}: {done.output}"
    store = Store(place / "assay-store")
    audits = [Audit(folder_of(store, name)) for name in store.names("audits")]
    assert sorted(audit.info["attacked_as"] for audit in audits) == ["black box", "white box", "white box"]
