"""The monotone network: monotone in every pixel, its bounds hold, and it is trained on what is proven of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay import shelves
from assay.audits import suite
from assay.audits.checks._context import Context
from assay.contracts import Images, ThreatModel, TrainingData
from assay.models import certificates
from assay.models.preflight import Unexamined
from assay.norm_balls import ends, project, random_point, steepest, streams
from assay.shelves import Item
from trainables.monotone import Monotone

RADII = torch.tensor([2 / 255, 8 / 255], dtype=torch.float64)
POLARITIES = ["dark", "bright", "both"]


def split(count: int, channels: int = 1) -> Images:
    generator = np.random.default_rng(count)
    pixels = generator.normal(150, 12, (count, channels, 16, 16)).clip(0, 255).astype(np.uint8)
    names = tuple(map(str, range(count)))
    return Images(pixels, np.zeros(count, np.int64), names, ("normal",) * count, names)


def start(count: int = 20, channels: int = 1, **parameters) -> Monotone:
    images = split(count, channels)
    parameters = {"epochs": 2, "steps_per_epoch": 5, "batch_size": 8, "width": 4, "average": 0.5} | parameters
    return Monotone(TrainingData(images, images, {}), seed=0, **parameters)


def trained(**parameters) -> torch.nn.Module:
    run = start(**parameters)
    run.train_epoch()
    return run.detector()


def some(channels: int = 1) -> torch.Tensor:
    return torch.from_numpy(split(6, channels).pixels.copy()).float() / 255


@pytest.mark.parametrize("surroundings", [0.0, 0.5])
@pytest.mark.parametrize("polarity", POLARITIES)
def test_no_image_of_the_ball_leaves_its_bounds(polarity, surroundings):
    detector, images = trained(polarity=polarity, surroundings=surroundings, channels=3), some(3)
    lower, upper = certificates.bounds(detector, images, "linf", RADII, [], 1)
    for at, radius in enumerate(RADII.tolist()):
        threat = ThreatModel("linf", radius)
        tried = [random_point(images, threat, streams(torch.Generator().manual_seed(0), images))]
        for sign in (1.0, -1.0):
            moved = images
            for _ in range(8):
                moved = moved.detach().requires_grad_(True)
                (gradient,) = torch.autograd.grad(detector(moved).sum(), moved)
                moved = project(moved + sign * radius / 2 * steepest(gradient, "linf"), images, threat)
            tried.append(moved.detach())
        for found in tried:
            scores = detector(found).double()
            assert ((lower[:, at] <= scores) & (scores <= upper[:, at])).all()


@pytest.mark.parametrize("polarity", POLARITIES)
def test_a_score_rises_with_one_argument_and_falls_with_the_other(polarity):
    detector, (dark, bright) = trained(polarity=polarity), ends(some(), 0.2)
    middle = some()
    assert (detector.decomposed(bright, middle) >= detector.decomposed(middle, middle)).all()
    assert (detector.decomposed(middle, dark) >= detector.decomposed(middle, middle)).all()
    torch.testing.assert_close(detector.decomposed(middle, middle), detector(middle))


@pytest.mark.parametrize(("polarity", "claim"), [("dark", "falling"), ("bright", "rising"), ("both", "mixed")])
def test_without_surroundings_one_direction_is_exact(polarity, claim):
    detector, images = trained(polarity=polarity, surroundings=0.0), some()
    assert certificates.monotone(detector) == claim
    assert certificates.monotone(trained(polarity=polarity)) == "mixed"
    if claim != "mixed":
        lower, upper = certificates.bounds(detector, images, "linf", RADII[:1], [], 1)
        scores = torch.stack([detector(end) for end in ends(images, float(RADII[0]))]).double()
        torch.testing.assert_close(lower[:, 0], scores.amin(0), atol=1e-4, rtol=0)
        torch.testing.assert_close(upper[:, 0], scores.amax(0), atol=1e-4, rtol=0)


def test_a_train_image_is_compared_with_the_others_alone():
    run = start(quantile=0.9)
    images = run.normals
    for left_out in range(4):
        others = torch.cat([images[:left_out], images[left_out + 1 :]])
        expected = run.network.seen(others, others).topk(2, dim=0).values[-1]
        torch.testing.assert_close(run.usual_of_others(images[left_out : left_out + 1])[0], expected)


def test_training_raises_the_proven_margin():
    shade = Item("pseudo_anomalies", "shade", {"strength": 0.3})
    run = start(40, polarity="dark", learning_rate=5e-3, steps_per_epoch=10, batch_size=16, pseudo_anomaly=shade)
    normals, usual = run.normals, run.usual_of_others(run.normals)
    anomalies = run.one_sided(normals)
    before = float(run.proven_margin(normals, anomalies, usual, 2 / 255).detach())
    run.train_epoch()
    run.train_epoch()
    assert float(run.proven_margin(normals, anomalies, usual, 2 / 255).detach()) < 0.85 * before


@pytest.mark.parametrize(("polarity", "sign"), [("dark", -1), ("bright", 1)])
@pytest.mark.parametrize("item", ["shade", "cutpaste"])
def test_pseudo_anomalies_are_of_the_polarity(polarity, sign, item):
    parameters = {"polarity": "both"} if item == "shade" else {}
    run = start(polarity=polarity, pseudo_anomaly=Item("pseudo_anomalies", item, parameters))
    assert (sign * (run.one_sided(run.normals) - run.normals) >= 0).all()
    change = (start(polarity=polarity).one_sided(run.normals) - run.normals) * sign
    assert (change >= 0).all()
    assert (change.flatten(1).amax(1) > 0.02).all()


def test_an_adversary_in_l2_takes_part():
    with_it, without = start(l2=0.5), start()
    assert with_it.train_epoch()["margin"] > without.train_epoch()["margin"]


@pytest.mark.parametrize("count", [1, 2])
def test_few_train_images_and_constant_pixels_are_no_trouble(count):
    images = split(count)
    images.pixels[:] = 100
    run = Monotone(TrainingData(images, images, {}), seed=0, epochs=1, steps_per_epoch=2, width=4)
    run.train_epoch()
    at = torch.full((1, 1, 16, 16), 100 / 255, requires_grad=True)
    (gradient,) = torch.autograd.grad(run.detector()(at).sum(), at)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(("polarity", "surroundings"), [("dark", 0.0), ("bright", 0.5), ("both", 0.5)])
def test_an_audit_finds_the_claim_to_hold(polarity, surroundings):
    detector, images = trained(polarity=polarity, surroundings=surroundings, channels=3), split(8, 3)
    context = Context(detector, images, suite.read("quick"), {}, {}, facts=Unexamined())
    found = shelves.load("checks", "monotone_claim")(context)
    assert found.passed, found.evidence
    assert "not applicable" not in found.evidence
