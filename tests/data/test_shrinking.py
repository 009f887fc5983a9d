"""Images of any shape at the detector's size: what of them is used, by which filter, and that masks follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from assay import shelves
from assay.contracts import Dataset, Sample
from assay.data import masks, splits
from assay.data.images import decode, resized
from assay.data.shrinking import Place, Rule, place, rule_of
from assay.datasets.folder import folder
from assay.datasets.mvtec import mvtec
from assay.deploy import export
from assay.deploy.score_files import Scored, score
from assay.errors import InputError
from assay.metrics import localisation
from assay.models import model_folder
from assay.models.model_folder import Model
from assay.store.store import Store


@pytest.mark.parametrize(
    ("native", "size", "fit", "expected"),
    [
        ((40, 60), (20, 20), "stretch", Place((0, 0, 60, 40), (0, 0, 20, 20))),
        ((40, 60), (20, 20), "letterbox", Place((0, 0, 60, 40), (0, 3, 20, 16))),
        ((60, 40), (20, 20), "letterbox", Place((0, 0, 40, 60), (3, 0, 16, 20))),
        ((40, 60), (20, 20), "crop", Place((10, 0, 50, 40), (0, 0, 20, 20))),
        ((40, 60), (20, 40), "crop", Place((0, 5, 60, 35), (0, 0, 40, 20))),
        ((40, 40), (20, 20), "letterbox", Place((0, 0, 40, 40), (0, 0, 20, 20))),
        ((1, 4000), (16, 16), "letterbox", Place((0, 0, 4000, 1), (0, 7, 16, 8))),
        ((1, 4000), (16, 16), "crop", Place((1999, 0, 2000, 1), (0, 0, 16, 16))),
    ],
)
def test_what_is_used_and_what_it_fills(native, size, fit, expected) -> None:
    assert place(native, size, fit) == expected


def test_a_letterbox_is_the_image_between_black_bars() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(1, 256, (40, 80), dtype=np.uint8))
    pixels = resized(image, size=32, channels=1, rule=Rule("letterbox"))
    assert not pixels[0, :8].any()
    assert not pixels[0, 24:].any()
    assert np.array_equal(pixels[:, 8:24], resized(image, size=[16, 32], channels=1))


def test_a_crop_is_the_middle_of_the_image() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 80), dtype=np.uint8))
    pixels = resized(image, size=32, channels=3, rule=Rule("crop"))
    assert np.array_equal(pixels, resized(image.crop((20, 0, 60, 40)), size=32, channels=3))


def test_filters_differ_and_the_usual_one_is_bilinear(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)).save(path)
    made = {name: decode(path, size=16, channels=1, rule=Rule("stretch", name)).tobytes() for name in
            ("bilinear", "bicubic", "lanczos", "box", "nearest")}  # fmt: skip
    assert len(set(made.values())) == 5
    assert made["bilinear"] == decode(path, size=16, channels=1).tobytes()


def images(root: Path) -> dict[str, object]:
    random = np.random.default_rng(0)
    for name, count in (("good", 12), ("bad", 6)):
        for number in range(count):
            path = root / name / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (24, 48), dtype=np.uint8)).save(path)
            if name == "bad":
                marked = np.zeros((24, 48), np.uint8)
                marked[:4, 22:26] = 255
                mask = root / "masks/bad" / path.name
                mask.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(marked).save(mask)
    return {"root": str(root), "normal": "good", "anomalous": "bad", "masks": "masks", "image_size": 24, "channels": 1}


def test_rule_and_filter_are_keys_that_change_the_data_hash(tmp_path: Path) -> None:
    words, cache = images(tmp_path / "images"), tmp_path / "cache"
    found = {}
    for more in ({}, {"fit": "letterbox"}, {"fit": "crop"}, {"filter": "box"}, {"fit": "crop", "filter": "box"}):
        description = splits.training_data(folder(**words | {"image_size": 16}, **more), cache=cache).description
        found[description["hash"]] = rule_of(description)
        assert ("shrinking" in description) == bool(more), "stores of before say nothing"
    assert list(found.values()) == [
        Rule(), Rule("letterbox"), Rule("crop"), Rule("stretch", "box"), Rule("crop", "box")
    ]  # fmt: skip


def test_tiles_are_not_a_way_to_shrink_and_the_error_says_what_is(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"images in tiles: set `trainable: tiled` .*`image_size: native` here"):
        shelves.bind(mvtec, {"root": str(tmp_path), "fit": "tiles"})


def test_masks_follow(tmp_path: Path) -> None:
    words = images(tmp_path / "images")

    def marked(fit: str) -> list[list[int]]:
        dataset = folder(**words, fit=fit)
        ids = [sample.id for sample in dataset.samples if sample.label]
        places = np.argwhere(localisation.masks(dataset, ids)[0])
        return [places.min(0).tolist(), places.max(0).tolist()]

    assert marked("stretch") == [[0, 11], [3, 12]]
    assert marked("letterbox") == [[6, 11], [7, 12]]
    assert marked("crop") == [[0, 10], [3, 13]]


def test_a_mask_of_half_the_size_follows_too(tmp_path: Path) -> None:
    Image.new("L", (48, 24)).save(tmp_path / "image.png")
    drawn = np.zeros((12, 24), np.uint8)
    drawn[:2, :2] = 255
    Image.fromarray(drawn).save(tmp_path / "mask.png")
    sample = Sample("a", tmp_path / "image.png", 1, "test", "dent", masks=(tmp_path / "mask.png",))
    assert np.argwhere(masks.mask(sample, (24, 24), 127, "letterbox")).tolist() == [[6, 0], [6, 1], [7, 0], [7, 1]]
    assert not masks.mask(sample, (24, 24), 127, "crop").any(), "it lies where the image is cut off"


def test_a_dataset_of_before_is_stretched() -> None:
    assert (Dataset("a", (), 16, 1, "pseudo").fit, rule_of({"name": "a"})) == ("stretch", Rule())


def changed(store: Store, **dataset: object) -> Model:
    """The toy model of a store as if its images had been read otherwise."""
    model = model_folder.load(store, store.names("models")[0])
    manifest = model.manifest
    item = {**manifest["dataset"]["item"], "bit_depth": dataset.pop("bit_depth", None)}
    return replace(model, manifest={**manifest, "dataset": {**manifest["dataset"], **dataset, "item": item}})


def test_files_are_scored_as_the_dataset_reads_them(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    deep = np.random.default_rng(0).integers(0, 4096, (30, 90)).astype(np.uint16)
    Image.fromarray(deep).save(path)
    size, channels = 16, 1
    [one] = score(changed(store, shrinking={"fit": "letterbox", "filter": "box"}, bit_depth=12), [("a", path)])
    assert isinstance(one, Scored)
    rule = Rule("letterbox", "box")
    assert np.array_equal(one.pixels, decode(path, size=size, channels=channels, rule=rule, bit_depth=12))
    assert one.pixels.max() > 16 > decode(path, size=size, channels=channels, rule=rule).max(), "as 16 bits it is black"
    [usual] = score(changed(store, bit_depth=12), [("a", path)])
    assert isinstance(usual, Scored)
    assert np.array_equal(usual.pixels, decode(path, size=size, channels=channels, bit_depth=12))


def test_what_an_exported_file_cannot_do_is_refused(store: Store, tmp_path: Path) -> None:
    model = changed(store, shrinking={"fit": "crop", "filter": "bilinear"})
    with pytest.raises(InputError, match=r"`fit: crop`, `filter: bilinear`, and an exported file can only stretch"):
        export.export(store, model, "onnx", tmp_path / "a.onnx", None, None)
