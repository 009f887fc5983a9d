"""The files and commands of docs/onnx.md, run in their order on a small detector and small images."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn
from torch.nn import functional

from assay.approval.policy import EXIT_CODES
from assay.cli import main
from assay.models import model_folder
from assay.store.audit_reader import Audit
from assay.store.references import folder as folder_of
from assay.store.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^assay (.*)", PAGE, re.MULTILINE)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


class Brightest(nn.Module):
    """Images (B, 3, H, W) -> how bright their brightest part is, after a resize of its own: (B,)."""

    def forward(self, images):
        small = functional.interpolate(images, (16, 16), mode="bilinear", antialias=False)
        return torch.logsumexp(20 * functional.avg_pool2d(small.mean(1, keepdim=True), 2).flatten(1), 1) / 20


@pytest.fixture
def place(tmp_path, own_cache, monkeypatch) -> Path:
    """The folder of the commands: images, the files of the page, and the detector in both forms."""
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is an extra")
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for kind in ("good", "scratch"):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for number in range(45):
            pixels = random.integers(60, 110, (40, 40, 3), dtype=np.uint8)
            pixels[8:20, 10:16] = 170 if kind == "scratch" else pixels[8:20, 10:16]
            Image.fromarray(pixels).save(tmp_path / "images" / kind / f"{number:03d}.png")
    for block in blocks("yaml"):
        (tmp_path / block.split()[1]).write_text(block)
    [code] = blocks("python")
    exec(compile(code, "docs/onnx.md", "exec"), {"detector": Brightest()})
    return tmp_path


def test_every_command_of_the_page_runs_in_its_order(place):
    assert len(COMMANDS) == 6
    for command in COMMANDS:
        done = CliRunner().invoke(main, command.split())
        known = EXIT_CODES.values() if command.startswith("approve") else (0,)
        assert done.exit_code in known, f"{command}: {done.output}"
    store = Store(place / "assay-store")
    audits = [Audit(folder_of(store, name)) for name in store.names("audits")]
    alone, twin = sorted(audits, key=lambda audit: "deployed" in audit.info)
    assert (alone.info["attacked_as"], twin.info["attacked_as"]) == ("black box", "white box")
    assert model_folder.read_manifest(store, twin.info["model"])["deployed"]["kind"] == "onnx"
    rows = zip(twin.checks["check"], twin.checks["passed"], strict=True)
    assert dict(rows)["deployed_equal"]
    verdict = twin.verdict or {}
    assert [gate["decision"] for gate in verdict["gates"]] == ["PASS", "PASS", "PASS"], verdict["reasons"]
