"""The attack on nearest-neighbour scores, and the smoother scores that its detectors offer."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from assay.attacks._smoother import Smoother, soft_minimum, targets
from assay.attacks.neighbours import neighbours
from assay.attacks.pgd import pgd
from assay.contracts import ThreatModel
from assay.errors import InputError
from assay.norm_balls import size, streams
from assay.shelves import Item
from trainables._head_and_neighbours import HeadAndNeighbours, ScoreWeights
from trainables.neighbours import NeighbourBank

LINF, L2 = ThreatModel("linf", 16 / 255), ThreatModel("l2", 0.5)
both_norms = pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)


class Bank(nn.Module):
    """Mean distance to the two nearest of 40 stored rows, in 12 curved features."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(12, 48, generator=generator) / 2
        self.bank = self.features(torch.rand(40, 3, 4, 4, generator=generator))

    def features(self, images: Tensor) -> Tensor:
        return (images.flatten(1) @ self.weight.T).sin()

    def forward(self, images: Tensor) -> Tensor:
        return self.score_with(images, lambda distances: distances.topk(2, largest=False).values.mean(1))

    def score_with(self, images: Tensor, pool) -> Tensor:
        return pool((self.features(images)[:, None] - self.bank[None]).square().sum(2).add(1e-9).sqrt())


def inputs(count: int = 6) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return images, torch.tensor([1.0, -1.0]).repeat(count)[:count]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestScoreWith:
    """What the trainables' own detectors answer for another pooling of the distances."""

    def bank(self, distance: str) -> NeighbourBank:
        detector = NeighbourBank(Item("backbones", "pixels", {"side": 4}), 3, 3, distance).eval()
        detector.bank = detector.features(torch.rand(20, 3, 8, 8, generator=seeded()))
        return detector

    def heads(self, **weights: float) -> HeadAndNeighbours:
        with torch.random.fork_rng():
            torch.default_generator.manual_seed(0)
            detector = HeadAndNeighbours(Item("backbones", "small_resnet", {"width": 4}), 3, ScoreWeights(**weights))
        detector.eval().fit(torch.rand(20, 3, 32, 32, generator=seeded()))
        return detector

    @pytest.mark.parametrize("distance", ["euclidean", "cosine"])
    def test_bank_with_its_own_pooling_is_the_score(self, distance):
        detector, images = self.bank(distance), torch.rand(5, 3, 8, 8, generator=seeded(1))
        own = detector.score_with(images, lambda of: of.topk(3, largest=False).values.mean(1))
        assert torch.equal(own, detector(images))
        assert (detector.score_with(images, lambda of: of.mean(1)) > own).all()

    def test_bank_of_one_row_that_is_the_image(self):
        detector, images = self.bank("euclidean"), torch.rand(5, 3, 8, 8, generator=seeded(1))
        detector.bank = detector.features(images)[2:3]
        distances = detector.score_with(images, lambda of: of[:, 0])
        assert distances[2] == 0
        assert (distances[[0, 1, 3, 4]] > 0).all()

    def test_heads_pool_both_banks(self):
        detector, images = self.heads(pixels=1.0), torch.rand(5, 3, 32, 32, generator=seeded(1))
        shapes = []

        def mean(distances: Tensor) -> Tensor:
            shapes.append(distances.shape)
            return distances.mean(1)

        own = detector.score_with(images, lambda of: of.topk(3, largest=False).values.mean(1))
        with torch.no_grad():
            torch.testing.assert_close(own, detector(images))
            assert (detector.score_with(images, mean) > own).all()
        assert shapes == [(5, 20), (5, 20)]

    def test_heads_without_neighbours_do_not_see_the_pooling(self):
        detector, images = self.heads(neighbours=0.0), torch.rand(5, 3, 32, 32, generator=seeded(1))
        with torch.no_grad():
            assert torch.equal(detector.score_with(images, lambda of: of.mean(1)), detector(images))


class TestPools:
    def test_soft_minimum_goes_from_the_nearest_to_the_mean(self):
        distances = torch.tensor([[1.0, 2.0, 4.0], [3.0, 3.5, 9.0]])

        def weights(temperature: float) -> Tensor:
            at = distances.clone().requires_grad_()
            (found,) = torch.autograd.grad(soft_minimum(temperature)(at).sum(), at)
            return found

        torch.testing.assert_close(weights(0.001), torch.tensor([[1.0, 0.0, 0.0]] * 2))
        torch.testing.assert_close(weights(1000.0), torch.full((2, 3), 1 / 3), atol=1e-2, rtol=0)
        torch.testing.assert_close(soft_minimum(0.001)(distances), torch.tensor([1.0, 3.0]), atol=1e-2, rtol=0)

    def test_soft_minimum_of_equal_distances_is_finite(self):
        assert soft_minimum(0.1)(torch.ones(2, 1)).isfinite().all()

    def test_targets_stay_while_the_nearest_change(self):
        model, (images, _) = Bank(), inputs()
        pool = targets(Smoother(model), images)
        nearest = model.score_with(images, lambda of: of.topk(3, largest=False).values.mean(1))
        torch.testing.assert_close(model.score_with(images, pool), nearest)
        moved = images.flip(0)
        assert (
            model.score_with(moved, pool) >= model.score_with(moved, lambda of: of.topk(3, largest=False)[0].mean(1))
        ).all()

    def test_smoother_has_the_value_of_the_score_and_the_gradient_of_the_pool(self):
        model, (images, _) = Bank(), inputs()
        smoother = Smoother(model)
        smoother.pool = soft_minimum(0.5)
        images.requires_grad_()
        value = smoother(images)
        assert torch.equal(value, model(images))
        (found,) = torch.autograd.grad(value.sum(), images)
        (expected,) = torch.autograd.grad(model.score_with(images, soft_minimum(0.5)).sum(), images)
        torch.testing.assert_close(found, expected)


class TestAttack:
    @both_norms
    def test_moves_the_score_further_than_pgd_of_as_many_gradients(self, threat):
        model, (images, direction) = Bank(), inputs(40)
        found = neighbours(model, images, direction, threat, streams(seeded(), images), steps=60)
        plain = pgd(model, images, direction, threat, streams(seeded(), images), steps=60)
        assert (found.backwards == plain.backwards).all()
        gain, least = (direction * (of.scores - model(images)) for of in (found, plain))
        assert gain.mean() > 1.02 * least.mean()

    @both_norms
    def test_stays_in_ball_and_box_and_is_no_worse_than_clean_and_start(self, threat):
        model, (images, direction) = Bank(), inputs()
        start = pgd(model, images, direction, threat, streams(seeded(), images), steps=20).images
        found = neighbours(model, images, direction, threat, streams(seeded(), images), start=start, steps=6)
        assert found.images.min() >= 0
        assert found.images.max() <= 1
        assert (size(found.images - images, threat.norm) <= threat.epsilon + 1e-6).all()
        assert torch.equal(found.scores, model(found.images))
        assert (direction * (found.scores - model(start)) >= 0).all()

    @pytest.mark.parametrize("steps", [1, 3, 30])
    def test_counts_every_pass(self, steps):
        model, (images, direction) = Bank(), inputs()
        calls = []

        class Counted(Bank):
            def score_with(self, images: Tensor, pool) -> Tensor:
                calls.append(images.requires_grad)
                return super().score_with(images, pool)

        threat = ThreatModel("linf", 0.1, threshold=float(model(images).mean()))
        found = neighbours(Counted(), images, direction, threat, streams(seeded(), images), steps=steps)
        assert int(found.forwards[0]) == len(calls)
        assert int(found.backwards[0]) == sum(calls) == steps
        assert (found.broken_at <= found.forwards).all()

    @both_norms
    def test_a_seed_decides_and_batches_do_not(self, threat):
        model, (images, direction) = Bank(), inputs()
        whole = neighbours(model, images, direction, threat, streams(seeded(), images), steps=10)
        random = streams(seeded(), images)
        parts = [
            neighbours(model, images[a:b], direction[a:b], threat, random[a:b], steps=10)
            for a, b in itertools.pairwise([0, 1, 6])
        ]
        torch.testing.assert_close(torch.cat([part.scores for part in parts]), whole.scores, atol=2e-3, rtol=1e-3)
        again = neighbours(model, images, direction, threat, streams(seeded(), images), steps=10)
        assert torch.equal(again.images, whole.images)

    def test_epsilon_zero_is_the_clean_image(self):
        model, (images, direction) = Bank(), inputs()
        found = neighbours(model, images, direction, ThreatModel("linf", 0.0), streams(seeded(), images), steps=6)
        assert torch.equal(found.images, images)

    def test_a_detector_without_neighbours_is_refused(self):
        with pytest.raises(InputError, match=r"score_with\(images, pool\); this detector has none, use apgd"):
            neighbours(lambda batch: batch.mean((1, 2, 3)), *inputs(), LINF, seeded())
