"""The commands and files of docs/backbones.md run, with random weights in place of downloaded ones and small images."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

PAGE = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text(encoding="utf-8")
SMALLER = {
    "pretrained=True": "pretrained=False",
    'weights="IMAGENET1K_V1"': "weights=None",
    "image_size: 224": "image_size: 28",
    "steps: 10": "steps: 1",
}


def blocks(language: str) -> list[str]:
    """The fenced blocks of the page in a language, with what a test cannot afford replaced."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for big, small in SMALLER.items():
        found = [block.replace(big, small) for block in found]
    return found


def assay(command: str, folder: Path) -> str:
    words = [str(Path(sys.executable).parent / "assay"), *command.split()[1:]]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, the files of weights as the page makes them, and its search spaces."""
    place = tmp_path_factory.mktemp("page")
    random = np.random.default_rng(0)
    for kind in ("good", "scratch"):
        (place / "images" / kind).mkdir(parents=True)
        for number in range(20):
            pixels = random.integers(90, 160, (28, 28, 3), dtype=np.uint8)
            pixels[:, 10:14] = 255 if kind == "scratch" else pixels[:, 10:14]
            Image.fromarray(pixels).save(place / "images" / kind / f"{number}.png")
    for block in blocks("python"):
        subprocess.run([sys.executable, "-c", block], cwd=place, check=True, timeout=120)
    for block in blocks("yaml"):
        (place / f"{yaml.safe_load(block)['name']}.yaml").write_text(block, encoding="utf-8")
    return place


def test_everything_that_is_replaced_is_on_the_page() -> None:
    assert all(big in PAGE for big in SMALLER)


@pytest.mark.parametrize("command", re.findall(r"^assay .*", PAGE, re.MULTILINE))
def test_a_command_of_the_page_runs(command: str, folder: Path) -> None:
    shown = assay(command, folder)
    if command.startswith("assay sweep"):
        name = command.split()[-1].removesuffix(".yaml")
        assert " failed" not in shown.replace("0 failed", "")
        assert "without an audit" in assay("assay models", folder)
        assert "robust" in assay(f"assay trials {name}", folder)
