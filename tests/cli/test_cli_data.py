"""`assay data`: what was read of a dataset, what it lacks with the key that helps, and the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

import assay
from assay.cli import main
from assay.data.missing import missing
from assay.datasets.folder import folder
from assay.datasets.mvtec import mvtec
from assay.errors import DataError


def picture(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)).save(path)
    return path


def layout(root: Path, tested: int = 22, kinds: tuple[str, ...] = ("dent", "scratch")) -> Path:
    for number in range(24):
        picture(root / f"train/good/{number:03}.png", number)
    for number in range(tested):
        picture(root / f"test/good/{number:03}.png", 100 + number)
    for place, kind in enumerate(kinds):
        for number in range(18):
            picture(root / f"test/{kind}/{number:03}.png", 1000 * (place + 1) + number)
            marked = np.zeros((40, 30), np.uint8)
            marked[10:20, 5:20] = 255
            path = root / f"ground_truth/{kind}/{number:03}_mask.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(marked).save(path)
    return root


def card(folder: Path, **dataset: object) -> str:
    file = folder / "card.yaml"
    about = {"name": "mvtec", "root": "images", "image_size": 32, "channels": 1, **dataset}
    file.write_text(yaml.safe_dump({"detector": "not there yet.onnx", "threshold": 0.5, "dataset": about}))
    return str(file)


@pytest.fixture
def said(own_cache):
    """A function: words -> what `assay data` printed, and how it ended."""

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["data", *words], env={"COLUMNS": "300"})
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.output

    return run


def test_it_says_what_was_read(said, tmp_path) -> None:
    layout(tmp_path / "images")
    picture(tmp_path / "images/test/dent/000.png", 7, (50, 60))
    Image.fromarray(np.ones((50, 60), np.uint8) * 255).save(tmp_path / "images/ground_truth/dent/000_mask.png")
    (tmp_path / "images/ground_truth/dent/001_mask.png").unlink()
    shutil.copy(tmp_path / "images/train/good/000.png", tmp_path / "images/train/good/099.png")
    lines = said(card(tmp_path)).splitlines()
    assert lines[0] == "dataset images: read as 32 x 32, grey, stretch, bilinear; licence: unknown"
    assert [line.split() for line in lines[1:6]] == [
        ["train", "validation", "test"],
        ["normal", "20", "5", "22"],
        ["dent", "-", "6", "12"],
        ["scratch", "-", "6", "12"],
        ["all", "20", "17", "46"],
    ]
    rest = "\n".join(lines[6:])
    assert "sizes (height x width): 82 of 40 x 30, 1 of 50 x 60" in rest
    assert "files: 83 of PNG, L, 8 bit" in rest
    [masks] = [line for line in lines if line.startswith("masks: ")]
    assert masks.endswith("is marked: 12.5 to 100.0 % of an image, median 12.5 %")
    assert "35 anomalies have one, 1 none; 0 mark nothing; a pixel above 127" in masks
    assert "repeats: 1 images (each counts once in every interval)" in rest
    assert "nearly the same in two splits: 0" in rest
    assert "train/good/000.png = train/good/099.png" in rest
    assert "missing" not in rest
    assert "no sweep" not in rest


def test_as_json_and_in_python(said, tmp_path) -> None:
    layout(tmp_path / "images")
    found = json.loads(said(card(tmp_path, group_pattern=r"(.*/\d\d\d)"), "--json"))
    assert found["counts"]["test"].keys() == {"normal", "dent", "scratch"}
    assert set(found["groups"]) == {"train", "validation", "test"}
    same = assay.read_data(card(tmp_path, group_pattern=r"(.*/\d\d\d)")).summary
    assert json.loads(json.dumps(same.plain())) == found


def test_the_page_shows_pictures_with_their_masks(said, tmp_path) -> None:
    layout(tmp_path / "images")
    page = tmp_path / "page.html"
    assert f"page: {page}" in said(card(tmp_path), "--output", str(page))
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 41, "six of each kind in each split, or all five"
    assert "12.5% marked" in text
    assert "http:" not in text
    assert "https:" not in text
    alone = assay.read_data(card(tmp_path)).html()
    assert alone == text


def test_no_sweep_would_start_and_why(said, tmp_path) -> None:
    layout(tmp_path / "images", tested=0)
    text = said(card(tmp_path), code=1)
    assert "missing: no test normals: `test_fraction: 0.2` takes a share of the published train normals" in text
    assert "no sweep would start: images: the test split has only one class (0 normals, 24 anomalies)" in text
    helped = said(card(tmp_path, test_fraction=0.2))
    assert "missing: 5 test normals only" in helped
    assert "no sweep" not in helped


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"kinds": ("dent",)}, "one kind of anomalies only (dent)"),
        ({"validation_anomaly_fraction": 0}, "no validation anomalies: `validation_anomalies: pseudo` makes some"),
        ({"validation_fraction": 0}, "no validation normals: `validation_fraction: 0.2` sets some aside"),
        ({"kinds": ()}, "no anomalies at all"),
    ],
)
def test_what_is_missing_comes_with_a_key(tmp_path, words, says) -> None:
    kinds = words.pop("kinds", ("dent", "scratch"))
    found = missing(mvtec(root=str(layout(tmp_path, kinds=kinds)), **words))
    assert any(line.startswith(says) for line in found), found


def test_a_folder_without_normals_left_to_train_on(tmp_path) -> None:
    root = str(layout(tmp_path))
    names = {"root": root, "normal": "train/good", "anomalous": ["test/dent", "test/scratch"]}
    assert missing(folder(**names, validation_fraction=0.0)) == [
        "no validation normals: `validation_fraction: 0.2` sets some aside",
        "10 test normals only: every interval is wide; a smaller share for validation leaves more",
    ]


def test_what_cannot_be_read_is_one_line(said, tmp_path) -> None:
    layout(tmp_path / "images")
    (tmp_path / "images/test/dent/003.png").write_bytes(b"no image")
    assert "003.png: cannot be decoded" in said(card(tmp_path), code=1)
    assert "no folder train" in said(card(tmp_path, root="images/test"), code=1)
    assert "dataset.image_size" in said(card(tmp_path, image_size=3), code=2)
    assert "is required" in said(str(_written(tmp_path / "none.yaml", {"name": "x"})), code=2)
    assert "did you mean 'mvtec'" in said(str(_written(tmp_path / "near.yaml", {"dataset": "mvtek"})), code=2)
    with pytest.raises(DataError, match="no folder train"):
        assay.read_data({"dataset": {"name": "mvtec", "root": str(tmp_path)}})


def _written(file: Path, values: object) -> Path:
    file.write_text(yaml.safe_dump(values))
    return file
