"""Overlap of shapes: the score by hand, and bounds that no change of the pixels passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from assay import shelves
from assay.contracts import Images, ThreatModel, TrainingData
from trainables.overlap import Overlap, OverlapBank


def images(count: int, seed: int = 0, channels: int = 1) -> Tensor:
    """Grey blobs: much of them lies on the slope of the step."""
    coarse = torch.rand(count, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (12, 12), mode="bilinear")


def detector(train: Tensor, **parameters: object) -> torch.nn.Module:
    pixels = (train * 255).round().to(torch.uint8).numpy()
    names = tuple(map(str, range(len(train))))
    split = Images(pixels, np.zeros(len(train), np.int64), names, ("normal",) * len(train), names)
    bound = shelves.bind(Overlap, {"side": 6, "level": 0.4, "contrast": 4.0, **parameters})
    return Overlap(TrainingData(split, split, {}), seed=0, **bound).detector()


def test_the_score_is_the_share_that_does_not_overlap() -> None:
    bank = OverlapBank(1, 2, level=0.5, contrast=64, dark=False, k=1)
    bank.bank = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0]])
    shapes = torch.tensor([[[[1.0, 1], [0, 0]]], [[[1, 1], [1, 1]]], [[[0, 0], [1, 0]]], [[[0, 0], [0, 0]]]])
    assert torch.allclose(bank(shapes), torch.tensor([0, 1 - 4 / 6, 1, 1]))
    inverted = OverlapBank(1, 2, level=0.5, contrast=64, dark=True, k=1)
    inverted.bank = bank.bank
    assert torch.equal(inverted(1 - shapes), bank(shapes))


def test_what_has_no_shape_is_like_train_images_without_one() -> None:
    nothing = torch.zeros(1, 1, 12, 12)
    assert detector(nothing)(nothing).item() == 0
    assert detector(images(3))(nothing).item() == 1


@pytest.mark.parametrize("parameters", [{}, {"k": 1}, {"dark": True, "side": 5}, {"level": 0.9, "contrast": 1.5}])
@pytest.mark.parametrize("channels", [1, 3])
def test_no_attack_and_no_corner_passes_the_bounds(parameters: dict[str, object], channels: int) -> None:
    model, some = detector(images(9, 1, channels), **parameters), images(5, 2, channels)
    radii = torch.tensor([0.0, 2 / 255, 0.1, 1.0], dtype=torch.float64)
    lower, upper = model.certify(some, "linf", radii, [], 1)
    clean = model(some).double()
    assert torch.allclose(lower[:, 0], clean, atol=1e-4)
    assert torch.allclose(upper[:, 0], clean, atol=1e-4)
    assert (lower.diff(dim=1) <= 0).all()
    assert (upper.diff(dim=1) >= 0).all()
    for at, radius in enumerate(radii[1:].tolist(), 1):
        for direction in (-1, 1):
            ended = attacked(model, some, radius, direction)
            assert (ended >= lower[:, at]).all()
            assert (ended <= upper[:, at]).all()


def attacked(model: torch.nn.Module, some: Tensor, radius: float, direction: int) -> Tensor:
    """The worst scores of PGD and of both ends of the ball."""
    attack = shelves.load("attacks", "pgd")
    random = [torch.Generator().manual_seed(row) for row in range(len(some))]
    threat, asked = ThreatModel("linf", radius), torch.full((len(some),), direction)
    found = attack(model, some, asked, threat, random, **shelves.bind(attack, {"steps": 20, "restarts": 3}))
    ends = [found.scores.double()]
    ends += [model((some + sign * radius).clamp(0, 1)).double() for sign in (-1, 1)]
    return torch.stack(ends).amax(0) if direction > 0 else torch.stack(ends).amin(0)


def test_the_lower_bound_against_one_train_image_is_reached() -> None:
    """Every pixel as near to the only train image as the ball lets it be; each square is one pixel."""
    train, some, radius = images(1, 3), images(4, 4), 0.05
    model = detector(train, side=12)
    lower, _ = model.certify(some, "linf", torch.tensor([radius], dtype=torch.float64), [], 1)
    whole = (train * 255).round() / 255
    nearest = torch.minimum(torch.maximum(whole, some - radius), some + radius)
    assert torch.allclose(model(nearest).double(), lower[:, 0], atol=1e-4)
