"""Local pixels: its proofs hold in the ball, its scores do not tie, and bad input is an error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.contracts import Images, ThreatModel, TrainingData
from assay.errors import InputError
from assay.models import certificates
from assay.norm_balls import project, random_point, steepest, streams
from trainables.local_pixels import LocalPixels

GENERATOR = torch.Generator().manual_seed(0)


def split(count: int, channels: int = 1) -> Images:
    generator = np.random.default_rng(count)
    pixels = generator.normal(150, 12, (count, channels, 16, 16)).clip(0, 255).astype(np.uint8)
    names = tuple(map(str, range(count)))
    return Images(pixels, np.zeros(count, np.int64), names, ("normal",) * count, names)


def run(count: int = 20, channels: int = 1, **parameters):
    images = split(count, channels)
    return LocalPixels(TrainingData(images, images, {}), seed=0, **parameters).detector()


def some(channels: int = 1) -> torch.Tensor:
    return torch.from_numpy(split(6, channels).pixels).float() / 255


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("places", ["same", "shared"])
@pytest.mark.parametrize("polarity", ["dark", "bright", "both"])
def test_no_image_of_the_ball_leaves_its_bounds(norm, places, polarity):
    detector, images = run(places=places, polarity=polarity, channels=3), some(3)
    radius = {"linf": 4 / 255, "l2": 0.3, "l1": 1.0}[norm]
    lower, upper = detector.certify(images, norm, torch.tensor([radius], dtype=torch.float64), [], 1)
    images.requires_grad_(True)
    for sign in (1.0, -1.0):
        at = images
        for _ in range(15):
            (gradient,) = torch.autograd.grad(detector(at).sum(), at)
            step = sign * radius / 4 * steepest(gradient, norm)
            at = project((at + step).detach(), images.detach(), ThreatModel(norm, radius)).requires_grad_(True)
            scores = detector(at).detach().double()
            assert ((lower[:, 0] <= scores) & (scores <= upper[:, 0])).all()
    around = random_point(images.detach(), ThreatModel(norm, radius), streams(GENERATOR, images))
    assert (detector(around).double() <= upper[:, 0]).all()


def test_the_extremes_alone_are_certified_exactly():
    detector, images, radius = run(patches=0.0, polarity="dark"), some(), 2 / 255
    lower, upper = detector.certify(images, "linf", torch.tensor([radius], dtype=torch.float64), [], 1)
    torch.testing.assert_close(upper[:, 0].float(), detector(images - radius), atol=1e-4, rtol=0)
    torch.testing.assert_close(lower[:, 0].float(), detector(images + radius), atol=1e-4, rtol=0)


def test_polarity_decides_which_spots_count():
    dark, bright = some(), some()
    dark[:, :, 5, 5], bright[:, :, 5, 5] = 0.1, 1.0
    for polarity, seen, ignored in (("dark", dark, bright), ("bright", bright, dark)):
        detector = run(patches=0.0, polarity=polarity)
        assert (detector(seen) > detector(ignored)).all()
    both = run(patches=0.0, polarity="both")
    assert (both(dark) > both(some())).all()
    assert (both(bright) > both(some())).all()


def test_scores_do_not_tie_at_the_lowest():
    detector = run(polarity="dark")
    scores = detector(torch.from_numpy(split(50).pixels).float() / 255)
    assert len(scores.unique()) == len(scores)


def test_constant_pixels_are_no_trouble():
    images = split(5)
    images.pixels[:] = 100
    detector = LocalPixels(TrainingData(images, images, {}), seed=0).detector()
    at = torch.full((1, 1, 16, 16), 100 / 255, requires_grad=True)
    (gradient,) = torch.autograd.grad(detector(at).sum(), at)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("count", "wrong", "words"),
    [
        (5, {"size": 32}, "larger than the images"),
        (5, {"patches": 0.0, "extremes": 0.0}, "both 0"),
    ],
)
def test_bad_input_is_an_error(count, wrong, words):
    with pytest.raises(InputError, match=words):
        run(count, **wrong)


def test_a_bank_that_does_not_fit_is_an_error(monkeypatch):
    monkeypatch.setattr("trainables.local_pixels.BYTES", 4 * 16 * 16 * 10)
    with pytest.raises(InputError, match=r"set `bank` to 0.50"):
        run(20)
    assert run(20, bank=0.5).bank.shape[1] == 10


@pytest.mark.parametrize("polarity", ["dark", "bright", "both"])
def test_the_extremes_alone_are_monotone_and_patches_are_not(polarity):
    detector, images = run(patches=0.0, polarity=polarity), some()
    radii = torch.tensor([2 / 255], dtype=torch.float64)
    own = detector.certify(images, "linf", radii, [], 1)
    assert certificates.monotone(detector) == {"dark": "falling", "bright": "rising", "both": "mixed"}[polarity]
    detector.CERTIFIES = ()
    for one, other in zip(own, certificates.bounds(detector, images, "linf", radii, [], 1), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    torch.testing.assert_close(detector.decomposed(images, images), detector(images))
    assert certificates.monotone(run()) is None
