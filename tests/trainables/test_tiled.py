"""Large images in tiles: what is cut, what is trained on, and what an attack on the whole image finds."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_audit
from PIL import Image
from torch import Tensor, nn

from assay import shelves
from assay.audits import audit, explanations, suite
from assay.contracts import Images, ThreatModel, TrainingData
from assay.data import splits
from assay.data.images import pixel_hash
from assay.data.reduced import take
from assay.datasets.mvtec import mvtec
from assay.errors import InputError
from assay.models import model_folder, scoring
from assay.runtime.provenance import environment
from assay.store import parquet
from assay.store.audit_reader import Audit, ThreatBudget
from assay.store.schemas import LOCALISATION
from assay.store.store import Store
from trainables.tiled import Tiled, TiledDetector, cut, places

SIDES = (40, 56)
DEFECT = slice(33, 37), slice(48, 52)
"""Rows and columns of the defect in anomalies."""


class Brightest(nn.Module):
    """Tiles -> the brightness of their brightest pixel, and every pixel of it as the map."""

    def forward(self, tiles: Tensor) -> Tensor:
        return self.score_and_map(tiles)[0]

    def score_and_map(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        return tiles.amax(dim=(1, 2, 3)), tiles.amax(dim=1)


class Mean(nn.Module):
    """Tiles -> their mean brightness; it has no map."""

    def forward(self, tiles: Tensor) -> Tensor:
        return tiles.mean(dim=(1, 2, 3))


@pytest.mark.parametrize(("side", "tile", "overlap"), [(16, 16, 0.25), (17, 16, 0.25), (40, 16, 0), (100, 16, 0.9)])
def test_tiles_cover_the_image_and_overlap_as_told(side: int, tile: int, overlap: float) -> None:
    there = places(side, 16, tile, overlap)
    covered = np.zeros(side, int)
    for top, left in there:
        assert left == 0
        assert 0 <= top <= side - tile
        covered[top : top + tile] += 1
    assert covered.min() >= 1
    tops = [top for top, _ in there]
    assert all(0 < low - high <= max(1, tile * (1 - overlap)) for high, low in itertools.pairwise(tops))


def test_the_score_is_the_highest_of_all_tiles_with_and_without_a_gradient() -> None:
    images = torch.rand(3, 1, *SIDES, generator=torch.Generator().manual_seed(0))
    detector = TiledDetector(Mean(), 16, 0.25)
    every = torch.stack([images[:, :, y : y + 16, x : x + 16].mean((1, 2, 3)) for y, x in places(*SIDES, 16, 0.25)])
    assert torch.allclose(detector(images), every.amax(0))
    asked = images.clone().requires_grad_(True)
    assert torch.equal(detector(asked), detector(images))
    assert torch.equal(detector(images[1:2]), detector(images)[1:2])
    (gradient,) = torch.autograd.grad(detector(asked).sum(), asked)
    for row, one in enumerate(gradient[:, 0]):
        y, x = places(*SIDES, 16, 0.25)[int(every[:, row].argmax())]
        assert (one[y : y + 16, x : x + 16] > 0).all(), "the highest tile is moved"
        assert (one > 0).float().mean() > 0.3, "others are moved along"
    few = TiledDetector(Mean(), 40, 0)
    (gradient,) = torch.autograd.grad(few(asked).sum(), asked)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("highest", [2, 10, 100])
def test_the_score_may_be_the_mean_of_the_highest_tiles(highest: int) -> None:
    images = torch.rand(3, 1, *SIDES, generator=torch.Generator().manual_seed(0))
    detector = TiledDetector(Mean(), 16, 0.25, highest)
    every = torch.stack([images[:, :, y : y + 16, x : x + 16].mean((1, 2, 3)) for y, x in places(*SIDES, 16, 0.25)])
    wanted = every.sort(dim=0, descending=True).values[:highest].mean(0)
    assert torch.allclose(detector(images), wanted)
    assert torch.equal(detector.score_and_map(images)[0], detector(images))
    asked = images.clone().requires_grad_(True)
    assert torch.equal(detector(asked), detector(images))
    (gradient,) = torch.autograd.grad(detector(asked).sum(), asked)
    moved = [(gradient[0, 0, y : y + 16, x : x + 16] > 0).all() for y, x in places(*SIDES, 16, 0.25)]
    assert all(moved[int(at)] for at in every[:, 0].topk(min(highest, len(every))).indices)


@pytest.mark.parametrize("highest", [1, 3])
def test_an_attack_lowers_all_tiles_at_once(highest: int) -> None:
    """Of many tiles that are alike, lowering one at a time would not be done in so few steps."""
    images = (
        torch.full((1, 1, *SIDES), 0.5) + torch.rand(1, 1, *SIDES, generator=torch.Generator().manual_seed(0)) / 100
    )
    detector = TiledDetector(Mean(), 16, 0, highest)
    attack = shelves.load("attacks", "pgd")
    threat, random = ThreatModel("linf", 0.1), [torch.Generator().manual_seed(0)]
    found = attack(detector, images, torch.tensor([-1]), threat, random, **shelves.bind(attack, {"steps": 20}))
    assert found.scores.item() < detector(images).item() - 0.09


def test_maps_are_put_together_again() -> None:
    images = torch.rand(2, 1, *SIDES, generator=torch.Generator().manual_seed(0))
    score, whole = TiledDetector(Brightest(), 16, 0.5).score_and_map(images)
    assert torch.equal(whole, images[:, 0])
    assert torch.equal(score, images.amax((1, 2, 3)))
    spot = torch.zeros(1, 1, *SIDES)
    spot[0, 0][DEFECT] = 1
    score, whole = TiledDetector(Mean(), 16, 0).score_and_map(spot)
    assert whole.max() == score
    assert (whole[0][DEFECT] == score).all()
    assert whole[0, 0, 0] == 0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large images of one size with a small defect in a corner, in MVTec layout with masks."""
    folder, random = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    for kind, count in (("train/good", 8), ("test/good", 6), ("test/spot", 9)):
        for number in range(count):
            pixels = random.integers(90, 110, SIDES, dtype=np.uint8)
            drawn = np.zeros(SIDES, np.uint8)
            if kind == "test/spot":
                pixels[DEFECT], drawn[DEFECT] = 140, 255
            for place, image in ((kind, pixels), ("ground_truth/spot", drawn)):
                file = folder / place / f"{number:03}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                if place != "ground_truth/spot" or kind == "test/spot":
                    Image.fromarray(image).save(file)
    return folder


@pytest.fixture(scope="module")
def data(root: Path, own_cache: Path) -> TrainingData:
    return splits.training_data(mvtec(root=str(root), image_size="native", channels=1))


def arguments(**values: object) -> dict[str, object]:
    inner = {"name": "neighbours", "backbone": {"name": "pixels", "side": 8}}
    return shelves.bind(Tiled, {"of": inner, "tile": 16, **values})


def test_a_small_defect_in_a_large_image_is_found_and_shown(root: Path, data: TrainingData) -> None:
    assert data.description["image_size"] == list(SIDES)
    detector = model_folder.freeze(Tiled(data, seed=0, **arguments()).detector())
    test = splits.test_images(mvtec(root=str(root), image_size="native", channels=1))
    scores = scoring.clean_scores(detector, test)
    assert scores[test.labels == 1].min() > scores[test.labels == 0].max()
    _, whole = detector.score_and_map(scoring.pixels(test, 0, len(test)))
    for one, label in zip(whole, test.labels, strict=True):
        if label:
            row, column = divmod(int(one.argmax()), SIDES[1])
            assert DEFECT[0].start - 16 < row < DEFECT[0].stop + 16
            assert DEFECT[1].start - 16 < column < DEFECT[1].stop + 16
    built = Tiled.build(channels=1, image_size=list(SIDES), **arguments())
    model_folder.fit_buffers(built, detector.state_dict())
    built.load_state_dict(detector.state_dict())
    pixels = scoring.pixels(test, 0, 3)
    assert torch.equal(built.eval()(pixels), detector(pixels))


def test_tiles_share_label_and_group_and_are_drawn_by_seed(data: TrainingData) -> None:
    rows = np.arange(len(data.train))
    some = cut(data.train, rows, 16, 0.25, 20, 0)
    assert some.pixels.shape == (20, 1, 16, 16)
    assert some.ids == cut(data.train, rows, 16, 0.25, 20, 0).ids != cut(data.train, rows, 16, 0.25, 20, 1).ids
    every = cut(data.validation, np.arange(len(data.validation)), 16, 0.25, 10**6, 0)
    assert len(every) == len(data.validation) * len(places(*SIDES, 16, 0.25))
    for id_, label, group, pixels, hashed in zip(
        every.ids, every.labels, every.groups, every.pixels, every.hashes, strict=True
    ):
        image, _, place = id_.partition("#")
        row, (top, left) = data.validation.ids.index(image), map(int, place.split(","))
        assert group == image
        assert label == data.validation.labels[row]
        assert np.array_equal(pixels, data.validation.pixels[row, :, top : top + 16, left : left + 16])
        assert hashed == pixel_hash(pixels)


def test_what_cannot_be_cut_is_refused(data: TrainingData) -> None:
    with pytest.raises(
        InputError, match=r"a tile of 64 pixels is larger than the images, 40 x 56; set a smaller `tile`"
    ):
        Tiled(data, seed=0, **arguments(tile=64))
    labelled = replace(data, labelled=take(data.validation, np.flatnonzero(data.validation.labels)))
    with pytest.raises(InputError, match="anomalies"):
        Tiled(labelled, seed=0, **arguments(of={"name": "devnet"}))  # which learns from these alone


def test_batches_of_large_images_are_small_and_of_small_ones_as_ever() -> None:
    def sizes(channels: int, side: int, count: int = 100) -> list[int]:
        names = ("x",) * count
        shape = np.broadcast_to(np.uint8(0), (count, channels, side, side))
        images = Images(shape, np.zeros(count, np.int64), names, names, names)
        return sorted({last - first for first, last in scoring.batches(images)})

    assert sizes(3, 512) == sizes(1, 64) == [36, 64]
    assert sizes(3, 1024) == [4, 16]
    assert sizes(3, 4096) == [1]


def test_what_moves_the_score_lies_in_the_highest_tiles(data: TrainingData) -> None:
    detector = model_folder.freeze(Tiled(data, seed=0, **arguments()).detector())
    anomalies = np.flatnonzero(data.validation.labels)
    maps = explanations.explain(detector, scoring.pixels(take(data.validation, anomalies), 0, len(anomalies)))
    near = maps[:, 24:, 40:].mean((1, 2))
    assert (near > 2 * maps.mean((1, 2))).all()


def test_an_audit_attacks_the_whole_images_and_places_their_defects(
    root: Path, data: TrainingData, tmp_path: Path
) -> None:
    item = {"name": "mvtec", "root": str(root), "image_size": "native", "channels": 1}
    inner = {"neighbours": {"backbone": {"pixels": {"side": 8}}}}
    detector = model_folder.freeze(Tiled(data, seed=0, **arguments()).detector())
    clean = scoring.clean_scores(detector, data.validation)
    manifest = {
        "trainable": "tiled",
        "parameters": {"of": inner, "tile": 16},
        "channels": 1,
        "image_size": data.description["image_size"],
        "seed": 0,
        "dataset": {"item": item, **data.description},
        "sweep": {"name": "no-sweep", "trial": 0, "epoch": 1},
        "threshold": scoring.threshold_of(data.validation.labels, clean, 0.2),
        "normal_scores": scoring.normal_scores(data.validation.labels, clean),
        "figures": {"split": "validation", "clean_auroc": 1.0, "robust_auroc": 1.0},
        "evaluation": {"attack": "pgd", "epsilon": 2 / 255, "steps": 5},
        "environment": environment(),
        "documentation": "A test.",
    }
    store = Store(tmp_path / "store")
    name = model_folder.write(store, detector, manifest)
    made = audit.run(store, name, suite.read(toy_audit.write_suite(tmp_path / "tiny.yaml")))
    read = Audit(store.below(f"audits/{made}"))
    assert read.clean("auroc").value == 1
    assert read.attacked("auroc", ThreatBudget("linf", 8 / 255)).value < 1
    failed = [check for check, ok in zip(read.checks["check"], read.checks["passed"], strict=True) if ok is False]
    assert not failed, failed
    places = parquet.load(read.folder, "localisation.parquet", LOCALISATION).to_pylist()
    assert max(row["value"] for row in places if row["metric"] == "pixel_auroc") > 0.9
