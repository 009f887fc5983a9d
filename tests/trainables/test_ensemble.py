"""The ensemble: a weighted sum of standardised scores, and bounds that are the sums of its members'."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from assay.contracts import Images, TrainingData
from assay.errors import InputError
from assay.models import certificates
from assay.shelves import Item
from trainables._proofs import bounds
from trainables.ensemble import Ensemble, Member, Sum

RADII = torch.tensor([2 / 255, 4 / 255], dtype=torch.float64)


class Mean(nn.Module):
    """The mean brightness, which rises, with no proof of its own."""

    MONOTONE = "rising"

    def forward(self, images):
        return images.mean((1, 2, 3))


class Contrast(nn.Module):
    """The brightest pixel less the mean."""

    MONOTONE = "mixed"

    def forward(self, images):
        return self.decomposed(images, images)

    def decomposed(self, rising, falling):
        return rising.flatten(1).amax(1) - falling.mean((1, 2, 3))


def split(count: int, label: int = 0) -> Images:
    pixels = np.random.default_rng(count).normal(150, 12, (count, 1, 16, 16)).clip(0, 255).astype(np.uint8)
    names = tuple(map(str, range(count)))
    return Images(pixels, np.full(count, label), names, ("normal",) * count, names)


def some() -> torch.Tensor:
    return torch.from_numpy(split(6).pixels.copy()).float() / 255


def start(data: TrainingData | None = None, **weights: float) -> Ensemble:
    items = {
        "net": Item("trainables", "monotone", {"epochs": 2, "steps_per_epoch": 2, "width": 4, "polarity": "dark"}),
        "pixels": Item("trainables", "local_pixels", {"polarity": "dark"}),
    }
    of = {name: Member(item=item, weight=weights.get(name, 1.0)) for name, item in items.items()}
    return Ensemble(data or TrainingData(split(20), split(30), {}), seed=0, of=of)


@pytest.mark.parametrize("detector", [Mean(), Contrast()])
def test_bounds_of_a_monotone_member_are_those_that_an_audit_uses(detector):
    for one, other in zip(
        bounds(detector, some(), "linf", RADII, [], 1),
        certificates.bounds(detector, some(), "linf", RADII, [], 1),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_members_with_the_same_parameters_are_trained_with_seeds_of_their_own():
    item = Item("trainables", "monotone", {"epochs": 1, "steps_per_epoch": 1, "width": 4})
    data = TrainingData(split(20), split(30), {})
    first, second = (
        run.detector()(some()) for run in Ensemble(data, seed=0, of=dict.fromkeys("ab", Member(item=item))).runs
    )
    assert not torch.equal(first, second)


def test_a_score_is_the_weighted_sum_of_standardised_ones():
    run = start(net=2.0, pixels=0.5)
    run.train_epoch()
    detector, images = run.detector(), some()
    expected = torch.zeros(len(images))
    for weight, one in zip((2.0, 0.5), run.runs, strict=True):
        member = one.detector()
        normals = member(torch.from_numpy(split(30).pixels.copy()).float() / 255)
        expected += weight * (member(images) - normals.mean()) / normals.std(correction=0)
    torch.testing.assert_close(detector(images), expected, atol=1e-4, rtol=1e-4)


def test_bounds_are_the_sums_of_bounds_and_hold():
    run = start()
    run.train_epoch()
    detector, images = run.detector(), some()
    assert detector.CERTIFIES == ("linf",)  # local pixels prove more, the monotone network does not
    lower, upper = detector.certify(images, "linf", RADII, [], 1)
    parts = [bounds(member, images, "linf", RADII, [], 1) for member in detector.members]
    width = sum((high - low) * scale for (low, high), scale in zip(parts, detector.scales.double(), strict=True))
    torch.testing.assert_close(upper - lower, width, atol=1e-3, rtol=1e-3)
    generator = torch.Generator().manual_seed(0)
    for at, radius in enumerate(RADII.tolist()):
        for _ in range(20):
            moved = (images + radius * (2 * torch.rand(images.shape, generator=generator) - 1)).clamp(0, 1)
            scores = detector(moved).double()
            assert ((lower[:, at] <= scores) & (scores <= upper[:, at])).all()


def test_only_what_every_member_proves_is_proven():
    assert Sum([Mean(), Contrast()]).CERTIFIES == ("linf",)
    assert Sum([Mean(), nn.Identity()]).CERTIFIES == ()


def test_members_end_when_they_end():
    run = start()
    assert run.epochs == 2
    assert set(run.train_epoch()) == {"0.margin"}
    run.train_epoch()
    assert run.done == 2


def test_without_validation_normals_there_is_nothing_to_standardise_by():
    with pytest.raises(InputError, match="validation normals"):
        start(TrainingData(split(20), split(5, label=1), {}))
