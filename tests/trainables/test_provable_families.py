"""What the families with a proof make of odd input: one train image, constant pixels, colour, images that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from assay.contracts import Images, TrainingData
from assay.errors import DataError
from assay.models import certificates
from trainables.ensemble import Ensemble
from trainables.lipschitz import Lipschitz
from trainables.local_pixels import LocalPixels
from trainables.monotone import Monotone
from trainables.overlap import Overlap

SHORT = {"epochs": 1, "steps_per_epoch": 2, "batch_size": 8}
FAMILIES = {
    "local_pixels": (LocalPixels, {}),
    "monotone": (Monotone, {**SHORT, "width": 4}),
    "lipschitz": (Lipschitz, {**SHORT, "depth": 2}),
    "ensemble": (Ensemble, {}),
    "overlap": (Overlap, {"side": 8, "level": 0.55}),
}
RADII = torch.tensor([2 / 255], dtype=torch.float64)


def split(count: int, channels: int = 1, constant: bool = False) -> Images:
    pixels = np.random.default_rng(0).normal(150, 12, (count, channels, 16, 16)).clip(0, 255).astype(np.uint8)
    if constant:
        pixels[:] = 100
    names = tuple(map(str, range(count)))
    return Images(pixels, np.zeros(count, np.int64), names, ("normal",) * count, names)


def detector(family: str, train: Images, **parameters) -> nn.Module:
    trainable, given = FAMILIES[family]
    run = trainable(TrainingData(train, train, {}), seed=0, **{**given, **parameters})
    for _ in range(min(1, run.epochs)):
        run.train_epoch()
    return run.detector()


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.mark.parametrize(("count", "channels", "constant"), [(1, 1, False), (8, 1, True), (1, 3, True), (8, 3, False)])
def test_scores_gradients_and_bounds_are_finite_and_in_order(family, count, channels, constant):
    train = split(count, channels, constant)
    made = detector(family, train)
    images = torch.cat([torch.from_numpy(train.pixels[:1].copy()).float() / 255, torch.rand(2, channels, 16, 16)])
    images.requires_grad_(True)
    scores = made(images)
    (gradient,) = torch.autograd.grad(scores.sum(), images)
    assert scores.isfinite().all()
    assert gradient.isfinite().all()
    lower, upper = certificates.bounds(made, images.detach(), "linf", RADII, [], 1)
    assert lower.isfinite().all()
    assert upper.isfinite().all()
    assert (lower[:, 0] <= scores.detach().double()).all()
    assert (scores.detach().double() <= upper[:, 0]).all()


@pytest.mark.parametrize("wrong", [1.2, -0.1, float("nan")])
def test_images_outside_the_box_have_no_proof(family, wrong):
    made, images = detector(family, split(8)), torch.rand(2, 1, 16, 16)
    images[1, 0, 3, 3] = wrong
    with pytest.raises(DataError, match=r"outside \[0, 1\]"):
        certificates.bounds(made, images, "linf", RADII, [], 1)


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("value", [0.05, 0.98])
@pytest.mark.parametrize("name", ["local_pixels", "monotone"])
def test_with_both_polarities_every_channel_counts_in_both_directions(name, channel, value):
    made, normal = detector(name, split(20, 3), polarity="both"), torch.full((1, 3, 16, 16), 150 / 255)
    marked = normal.clone()
    marked[0, channel, 5:8, 5:8] = value
    assert made(marked) > made(normal)


@pytest.mark.parametrize(("polarity", "seen"), [("dark", 0.05), ("bright", 0.98)])
@pytest.mark.parametrize("channel", [0, 2])
@pytest.mark.parametrize("name", ["local_pixels", "monotone"])
def test_one_polarity_holds_for_every_channel(name, channel, polarity, seen):
    parameters = {"patches": 0.0} if name == "local_pixels" else {"surroundings": 0.0}
    made, normal = detector(name, split(20, 3), polarity=polarity, **parameters), torch.full((1, 3, 16, 16), 150 / 255)
    marked, other = normal.clone(), normal.clone()
    marked[0, channel, 5:8, 5:8], other[0, channel, 5:8, 5:8] = seen, 1.03 - seen
    assert made(marked) > made(normal) >= made(other)
