"""`assay ls` and `assay show`: what there is, and what a YAML file may set of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from assay import shelves
from assay.cli import main


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "support"))


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_all_shelves_are_listed():
    assert json.loads(run("ls", "--json")) == {shelf: shelves.names(shelf) for shelf in shelves.PACKAGES}
    assert [line.split()[0] for line in run("ls").splitlines() if line[0] != " "] == sorted(shelves.PACKAGES)


def test_a_shelf_is_listed_with_first_lines():
    listed = json.loads(run("ls", "attacks", "--json"))
    assert list(listed) == shelves.names("attacks")
    assert listed["pgd"] == shelves.load("attacks", "pgd").__doc__.splitlines()[0]
    assert listed["pgd"] in run("ls", "attacks")


@pytest.mark.parametrize("verb", [["ls", "atacks"], ["show", "atacks", "pgd"], ["show", "atacks", "toy_trainable:Toy"]])
def test_an_unknown_shelf_is_named_with_the_nearest(verb):
    result = CliRunner().invoke(main, verb)
    assert result.exit_code == 2
    assert "did you mean 'attacks'?" in result.output


def test_an_unknown_item_is_named_with_the_nearest():
    result = CliRunner().invoke(main, ["show", "attacks", "gpd"])
    assert result.exit_code == 2
    assert "did you mean 'pgd'?" in result.output


def test_an_item_is_shown_with_limits_in_words():
    lines = {
        line.split()[0]: " ".join(line.split()[1:])
        for line in run("show", "trainables", "toy_trainable:Toy").splitlines()
        if line
    }
    assert lines["epochs"] == "20 whole number, at least 1"
    assert lines["optimizer"] == "adam adam or sgd"
    assert lines["widths"] == "null list of whole number or null"
    assert lines["backbone"] == "small_resnet name on shelf backbones"
    assert lines["adversary.epsilon"] == "2/255 epsilon in pixel scale (2/255), 0 to 1"
    assert lines["loss.classification"] == "1.0 number, more than 0"
    assert "seed" not in lines


def test_a_required_parameter_is_said_to_be():
    [rank] = json.loads(run("show", "trainables", "toy_trainable:Needy", "--json"))["parameters"]
    assert rank == {"name": "rank", "limits": "whole number, at least 1", "required": True, "default": None}


def test_machines_get_the_same():
    shown = json.loads(run("show", "attacks", "pgd", "--json"))
    assert (shown["shelf"], shown["name"]) == ("attacks", "pgd")
    assert [parameter["name"] for parameter in shown["parameters"]] == list(
        shelves.fields(shelves.load("attacks", "pgd"))
    )


@pytest.mark.parametrize("shelf", sorted(shelves.PACKAGES))
def test_every_item_there_is_can_be_shown(shelf):
    for name in shelves.names(shelf):
        assert name in run("show", shelf, name)


@pytest.fixture
def picture(tmp_path):
    """A grey and a colour image with something in it, oblong and larger than a sheet shows."""
    rows = np.linspace(40, 200, 300)[:, None] + 20 * np.sin(np.arange(400) / 9)
    Image.fromarray(rows.astype(np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([rows, rows / 2, 255 - rows], axis=-1).astype(np.uint8)).save(tmp_path / "colour.png")
    return tmp_path


def fails(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code in (1, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.output


@pytest.mark.parametrize(("file", "mode"), [("grey.png", "L"), ("colour.png", "RGB")])
def test_a_contact_sheet_shows_eight_draws_and_their_masks(picture, file, mode):
    sheet = picture / "sheet.png"
    shown = run("show", "pseudo_anomalies", "cutout", "--image", str(picture / file), "--output", str(sheet))
    assert str(sheet) in shown
    image = Image.open(sheet)
    height, width = 192, 256
    assert image.size == (9 * (width + 4) - 4, 2 * (height + 4) - 4)
    assert image.mode == mode
    pixels = np.asarray(image.convert("L"))
    tiles = [pixels[:height, (width + 4) * i :][:, :width] for i in range(9)]
    masks = [pixels[height + 4 :, (width + 4) * i :][:, :width] for i in range(1, 9)]
    for tile, mask in zip(tiles[1:], masks, strict=True):
        assert np.array_equal(tile == 0, mask == 255)
    assert len({mask.tobytes() for mask in masks}) == 8


def test_a_sheet_is_drawn_from_the_seed_with_the_parameters_given(picture):
    def sheet(*more: str) -> bytes:
        options = ["--image", str(picture / "grey.png"), "--output", str(picture / "sheet.png"), *more]
        run("show", "pseudo_anomalies", "cutpaste", *options)
        return (picture / "sheet.png").read_bytes()

    assert sheet() == sheet("--seed", "0")
    assert sheet() != sheet("--seed", "1")
    assert sheet() != sheet("--set", "area=0.4")


def test_a_sheet_of_a_mixture_and_of_a_corruption(picture):
    options = ["--image", str(picture / "colour.png"), "--output", str(picture / "sheet.png")]
    run("show", "pseudo_anomalies", "mixture", *options, "--set", "of.hole.item=cutout")
    assert Image.open(picture / "sheet.png").height == 2 * 196 - 4
    run("show", "corruptions", "contrast", *options)
    assert Image.open(picture / "sheet.png").size == (6 * 260 - 4, 192)


def test_what_cannot_be_drawn_is_said(picture):
    grey, sheet = picture / "grey.png", picture / "sheet.png"
    (picture / "text.png").write_text("no image")
    to = ["--output", sheet]
    cutpaste = ["show", "pseudo_anomalies", "cutpaste"]
    assert "no such file" in fails(*cutpaste, "--image", picture / "none.png", *to)
    bad = fails(*cutpaste, "--image", picture / "text.png", *to)
    assert "text.png: cannot be decoded" in bad
    assert "give --image another file" in bad
    assert "nowhere" in fails(*cutpaste, "--image", grey, "--output", picture / "nowhere" / "sheet.png")
    assert "sheet.png" in fails(*cutpaste, "--image", grey, "--output", picture / "sheet.whatever")
    assert "needs both" in fails(*cutpaste, "--image", grey)
    assert "--set is for" in fails(*cutpaste, "--set", "area=0.1")
    assert "at most 0.5" in fails(*cutpaste, "--image", grey, *to, "--set", "area=0.9")
    assert "did you mean 'area'" in fails(*cutpaste, "--image", grey, *to, "--set", "aera=0.1")
    assert "dotted.path=value" in fails(*cutpaste, "--image", grey, *to, "--set", "area")
    assert "attacks cannot be shown on an image" in fails("show", "attacks", "pgd", "--image", grey, *to)
    assert "works on features" in fails("show", "pseudo_anomalies", "feature_noise", "--image", grey, *to)
    assert "at least 10 normals" in fails("show", "pseudo_anomalies", "acceptance", "--image", grey, *to)
    assert "turns square images" in fails("show", "pseudo_anomalies", "rotation", "--image", grey, *to)
    assert not sheet.exists()


def test_what_is_missing_is_listed():
    assert "the shelves are attacks, backbones" in fails("show")
    assert "there is classification, cobra" in fails("show", "losses")
    assert "did you mean 'losses'" in fails("show", "loses")
