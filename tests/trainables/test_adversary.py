"""The training adversary: every method inside its ball, budgets, views, and the guard against overfitting."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from trainables._adversary import Adversary
from trainables._overfitting import Guard


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def brightness(pixels: Tensor) -> Tensor:
    return (pixels**2).sum()


def lengths(moved: Tensor) -> Tensor:
    return (moved - images()).flatten(1).norm(dim=1)


@pytest.mark.parametrize("start", ["random", "zero"])
@pytest.mark.parametrize("method", ["pgd", "fgsm_rs"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_images_stay_in_ball_and_box_and_the_loss_is_raised(norm, method, start):
    epsilon = {"linf": 0.1, "l2": 1.5}[norm]
    attack = Adversary(norm=norm, epsilon=epsilon, method=method, start=start, steps=5)
    found = attack.worst(brightness, images(), seeded())
    size = (found - images()).abs().amax((1, 2, 3)) if norm == "linf" else lengths(found)
    assert (size <= epsilon + 1e-6).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert brightness(found) > brightness(images())
    assert not found.requires_grad


def test_from_zero_nothing_is_drawn_and_one_full_step_is_fgsm():
    random = seeded()
    found = Adversary(epsilon=0.1, steps=1, step_size=1.0, start="zero").worst(brightness, images(), random)
    assert torch.allclose(found, (images() + 0.1 * (images() > 0)).clamp(0, 1))
    assert torch.equal(random.get_state(), seeded().get_state())


def test_fgsm_rs_is_one_step_of_a_quarter_more_than_epsilon():
    calls = []

    def loss(pixels: Tensor) -> Tensor:
        calls.append(pixels.detach())
        return pixels.sum()

    found = Adversary(epsilon=0.1, method="fgsm_rs", steps=7).worst(loss, images(), seeded())
    [start] = calls
    assert torch.allclose(found, torch.minimum(start + 0.125, (images() + 0.1).clamp(max=1)))


def test_n_fgsm_steps_from_noise_and_is_not_cut_to_the_ball():
    clean = torch.full((4, 1, 8, 8), 0.5)
    found = Adversary(epsilon=0.1, method="n_fgsm").worst(lambda pixels: pixels.sum(), clean, seeded())
    assert (found - clean).max() > 0.2
    assert (found - clean).max() <= 0.3 + 1e-6
    assert (found - clean).min() >= -0.1 - 1e-6


def test_n_fgsm_is_refused_for_l2():
    with pytest.raises(ValidationError, match="for norm linf only"):
        Adversary(method="n_fgsm", norm="l2")


def test_an_l2_epsilon_may_be_more_than_one_and_a_linf_one_not():
    assert Adversary(norm="l2", epsilon=3).epsilon == 3
    with pytest.raises(ValidationError, match="did you mean 3/255"):
        Adversary(epsilon=3)


def test_budgets():
    random = seeded()
    assert Adversary(epsilon=0.1, budget="ramped").now(0.25, random).epsilon == pytest.approx(0.025)
    assert Adversary(epsilon=0.1, budget="fixed").now(0.25, random).epsilon == 0.1
    assert torch.equal(random.get_state(), seeded().get_state())
    drawn = [Adversary(epsilon=0.1, budget="sampled").now(0.25, random).epsilon for _ in range(50)]
    assert 0 <= min(drawn) < 0.02 < 0.08 < max(drawn) <= 0.1


@pytest.mark.parametrize(
    ("views", "head", "pairs"),
    [("both", True, True), ("classification", True, False), ("contrastive", False, True), ("negative", False, True)],
)
def test_which_views_are_attacked(views, head, pairs):
    attack = Adversary(views=views)
    assert (attack.attacks("classification"), attack.attacks("contrastive")) == (head, pairs)
    assert not Adversary(views=views, epsilon=0).attacks("classification")
    assert not Adversary(views=views, epsilon=0).attacks("contrastive")


class TestGuard:
    """Images of one grey; the detectors below are robust, or only seem so along the gradient at the clean image."""

    batch = torch.cat([torch.full((8, 1, 4, 4), 0.3), torch.full((8, 1, 4, 4), 0.7)])
    anomalous = torch.arange(16) >= 8

    def look(self, logits) -> dict[str, float]:
        return Guard(self.batch, self.anomalous, 0).look(logits, Adversary(epsilon=0.1))

    def test_a_robust_detector_is_not_overfitted(self):
        seen = self.look(lambda x: x.mean((1, 2, 3)) - 0.5)
        assert seen == {"fgsm_accuracy": 1.0, "pgd_accuracy": 1.0, "overfitted": 0.0}

    def test_a_detector_that_is_plainly_broken_is_not_overfitted(self):
        seen = self.look(lambda x: x.mean((1, 2, 3)) - 0.65)
        assert seen == {"fgsm_accuracy": 0.5, "pgd_accuracy": 0.5, "overfitted": 0.0}

    def test_a_detector_that_withstands_one_step_alone_is_overfitted(self):
        def logits(x: Tensor) -> Tensor:
            """Right at the image and at the far corner of the ball, wrong between them."""
            side = torch.where(self.anomalous, 1.0, -1.0)
            away = (x - self.batch).abs().mean((1, 2, 3))
            return side * ((away - 0.06).abs() - 0.03)

        seen = self.look(logits)
        assert seen["fgsm_accuracy"] == 1.0
        assert seen["pgd_accuracy"] < 0.5
        assert seen["overfitted"] == 1.0

    def test_it_looks_the_same_twice_and_leaves_no_draw_behind(self):
        state = torch.random.get_rng_state()

        def logits(x: Tensor) -> Tensor:
            return (x * torch.linspace(-1, 1, 16).view(4, 4)).sum((1, 2, 3))

        assert self.look(logits) == self.look(logits)
        assert torch.equal(torch.random.get_rng_state(), state)
