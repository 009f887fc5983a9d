"""The Lipschitz network: no image moves its score further than it is moved in l2, and training raises that margin."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.contracts import Images, ThreatModel, TrainingData
from assay.norm_balls import project, random_point, steepest, streams
from assay.shelves import Item
from trainables.lipschitz import Lipschitz


def split(count: int, channels: int = 1, side: int = 16) -> Images:
    pixels = np.random.default_rng(count).normal(150, 12, (count, channels, side, side)).clip(0, 255).astype(np.uint8)
    names = tuple(map(str, range(count)))
    return Images(pixels, np.zeros(count, np.int64), names, ("normal",) * count, names)


def start(channels: int = 1, side: int = 16, **parameters) -> Lipschitz:
    images = split(20, channels, side)
    parameters = {"epochs": 2, "steps_per_epoch": 4, "batch_size": 8, "depth": 2} | parameters
    return Lipschitz(TrainingData(images, images, {}), seed=0, **parameters)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize(("channels", "side"), [(1, 16), (3, 16), (1, 21)])
def test_no_image_of_the_ball_leaves_its_bounds(norm, channels, side):
    run = start(channels, side)
    run.train_epoch()
    detector, images = run.detector(), torch.from_numpy(split(4, channels, side).pixels.copy()).float() / 255
    radius = {"linf": 4 / 255, "l2": 0.3, "l1": 0.3}[norm]
    threat = ThreatModel(norm, radius)
    lower, upper = detector.certify(images, norm, torch.tensor([radius], dtype=torch.float64), [], 1)
    tried = [random_point(images, threat, streams(torch.Generator().manual_seed(0), images))]
    for sign in (1.0, -1.0):
        moved = images
        for _ in range(10):
            moved = moved.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(detector(moved).sum(), moved)
            moved = project(moved + sign * radius / 2 * steepest(gradient, norm), images, threat)
        tried.append(moved.detach())
    for found in tried:
        scores = detector(found).double()
        assert ((lower[:, 0] <= scores) & (scores <= upper[:, 0])).all()


def test_a_score_moves_by_no_more_than_the_image_however_far():
    run = start()
    run.train_epoch()
    detector, generator = run.detector(), torch.Generator().manual_seed(0)
    one, other = (torch.rand(64, 1, 16, 16, generator=generator) for _ in range(2))
    distance = (one - other).flatten(1).norm(dim=1)
    assert ((detector(one) - detector(other)).abs() <= distance * (1 + 1e-4)).all()


def test_the_matrices_are_orthogonal_and_a_detector_keeps_those_of_now():
    run = start()
    run.train_epoch()
    for own, kept in zip(run.network.stages, run.detector().stages, strict=True):
        torch.testing.assert_close(kept.matrix @ kept.matrix.T, torch.eye(len(kept.matrix)), atol=1e-5, rtol=0)
        torch.testing.assert_close(kept.matrix, own.current().detach())


def test_training_raises_the_proven_margin():
    shade = Item("pseudo_anomalies", "shade", {"polarity": "dark"})
    run = start(steps_per_epoch=40, learning_rate=0.01, radius=0.1, pseudo_anomaly=shade)
    anomalies = run.make_anomalous(run.normals, run.generator).images
    before = float(run.proven_margin(run.normals, anomalies, 0.1).detach())
    run.train_epoch()
    assert float(run.proven_margin(run.normals, anomalies, 0.1).detach()) < 0.8 * before
