"""Detectors that state that their score is monotone: what is proven of them, and claims that do not hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from assay import shelves
from assay.attacks.corner import corner
from assay.audits import suite
from assay.audits.checks._context import Context
from assay.contracts import Images, ThreatModel
from assay.errors import DataError, ModelError
from assay.models import certificates
from assay.models.preflight import Unexamined
from assay.norm_balls import streams

CHANNELS, SIDE = 3, 8
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(256, (8, CHANNELS, SIDE, SIDE), generator=GENERATOR).float() / 255


class Sound(nn.Module):
    """Falls with every pixel, and not linearly."""

    MONOTONE = "falling"

    def __init__(self) -> None:
        super().__init__()
        weight = torch.rand(CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) + 0.01
        self.register_buffer("weight", weight)

    def forward(self, images):
        return ((1 - images).square() * self.weight).sum((1, 2, 3))


class Contrast(Sound):
    """How dark the darkest pixel is against the mean: a part that rises and one that falls."""

    MONOTONE = "mixed"

    def decomposed(self, rising, falling):
        return rising.mean((1, 2, 3)) - falling.amin((1, 2, 3))

    def forward(self, images):
        return self.decomposed(images, images)


class OnePixel(Sound):
    def forward(self, images):
        return super().forward(images) + 3 * images[:, 0, 3, 3]


class OneChannel(Sound):
    def forward(self, images):
        return super().forward(images) + 3 * images[:, 1].sum((1, 2))


class NearWhite(Sound):
    def forward(self, images):
        return super().forward(images) + 50 * (images - 0.98).relu().sum((1, 2, 3))


class Normalised(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.norm.weight.data = torch.tensor([1.0, -1.0, 1.0])  # a negative scale turns a channel round
        self.requires_grad_(False)

    def forward(self, images):
        return super().forward(self.norm(images))


class Otherwise(Contrast):
    def forward(self, images):
        return 1.5 * self.decomposed(images, images)


def context(detector: nn.Module) -> Context:
    names = tuple(f"i{number}" for number in range(len(IMAGES)))
    labels = np.arange(len(IMAGES)) % 2
    images = Images((IMAGES * 255).round().byte().numpy(), labels, names, ("x",) * len(IMAGES), names)
    return Context(detector.eval(), images, suite.read("quick"), {}, {}, facts=Unexamined())


def check(detector: nn.Module):
    return shelves.load("checks", "monotone_claim")(context(detector))


@pytest.mark.parametrize("sound", [Sound, Contrast])
def test_a_claim_that_holds_passes(sound):
    assert check(sound()).passed


@pytest.mark.parametrize("false", [OnePixel, OneChannel, NearWhite, Normalised, Otherwise])
def test_a_claim_that_does_not_hold_makes_the_audit_invalid(false):
    found = check(false())
    assert not found.passed
    assert found.required


def test_a_detector_without_a_claim_has_nothing_to_test():
    assert "not applicable" in check(nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * SIDE * SIDE, 1))).evidence


@pytest.mark.parametrize("detector", [Sound(), Contrast()], ids=["falling", "mixed"])
def test_bounds_hold_in_the_box_and_of_one_direction_are_reached(detector):
    radii = torch.tensor([0.0, 2 / 255, 0.3], dtype=torch.float64)
    lower, upper = certificates.bounds(detector, IMAGES, "linf", radii, [], 1)
    assert certificates.norms(detector) == ("linf",)
    for at, radius in enumerate(radii.tolist()):
        for _ in range(20):
            noise = 2 * torch.rand(IMAGES.shape, generator=GENERATOR) - 1
            scores = detector((IMAGES + radius * noise).clamp(0, 1)).double()
            assert ((lower[:, at] <= scores) & (scores <= upper[:, at])).all()
        if detector.MONOTONE == "falling":
            for sign, bound in ((1.0, upper), (-1.0, lower)):
                toward, threat = torch.full((len(IMAGES),), sign), ThreatModel("linf", radius)
                found = corner(detector, IMAGES, toward, threat, streams(GENERATOR, IMAGES)).scores.double()
                torch.testing.assert_close(found, bound[:, at], rtol=1e-4, atol=0)


def test_a_proof_refuses_images_outside_the_box():
    with pytest.raises(DataError, match="outside"):
        certificates.bounds(Sound(), IMAGES + 0.5, "linf", torch.tensor([0.1]), [], 1)


def test_a_claim_that_is_none_is_an_error():
    class Unknown(Sound):
        MONOTONE = "sometimes"

    class Missing(Sound):
        MONOTONE = "mixed"

    for wrong in (Unknown(), Missing()):
        with pytest.raises(ModelError, match="MONOTONE"):
            certificates.norms(wrong)
