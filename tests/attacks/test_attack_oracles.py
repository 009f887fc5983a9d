"""The attacks against answers known from elsewhere: closed forms, foolbox, ART, and the order of their strengths."""

from __future__ import annotations

import foolbox
import numpy as np
import pytest
import torch
from art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch import (
    ProjectedGradientDescentPyTorch,
)
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from assay import shelves
from assay.attacks import _runs
from assay.attacks.apgd import apgd, checkpoints
from assay.attacks.fab import fab
from assay.attacks.fgsm import fgsm
from assay.attacks.fmn import fmn
from assay.attacks.mim import mim
from assay.attacks.noise import noise
from assay.attacks.pgd import pgd
from assay.contracts import ThreatModel
from assay.norm_balls import size, streams

LINF, L2, L1 = ThreatModel("linf", 8 / 255), ThreatModel("l2", 0.5), ThreatModel("l1", 0.4)
every_norm = pytest.mark.parametrize("threat", [LINF, L2, L1], ids=lambda threat: threat.norm)
both_norms = pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# A linear detector: the furthest shift of its score is epsilon times the dual norm of its weights.

WHITE_BOX = [
    name
    for name in shelves.names("attacks")
    if shelves.stated(shelves.load("attacks", name), "KNOWLEDGE", "") == "white-box"
]
DUAL = {"linf": 1, "l2": 2, "l1": torch.inf}
BALLS = {"linf": LINF, "l2": L2, "l1": L1}


def balls(name: str) -> list[ThreatModel]:
    """The threat models of an attack that have a ball; fails for an attack on the list that has none of its own."""
    return [BALLS[norm] for norm in shelves.stated(shelves.load("attacks", name), "NORMS", ()) if norm in BALLS]


def needs_nothing(name: str) -> None:
    """Skips the test for an attack that asks for more than a differentiable score."""
    if needs := shelves.stated(shelves.load("attacks", name), "NEEDS", None):
        pytest.skip(f"{name} needs {needs}, which a linear score has not")


LINEAR = [(name, threat) for name in WHITE_BOX for threat in balls(name)]
WITHOUT_A_BALL = [name for name in WHITE_BOX if not balls(name)]


def test_only_attacks_without_a_ball_are_left_out_below():
    assert {"apgd", "fab", "fgsm", "fmn", "mim", "pgd"} <= {name for name, _ in LINEAR}
    for name in WITHOUT_A_BALL:
        assert set(shelves.stated(shelves.load("attacks", name), "NORMS", ())) <= {"patch", "spatial"}


@pytest.mark.parametrize(("name", "threat"), LINEAR, ids=lambda value: getattr(value, "norm", value))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (3, 5, 7)], ids=str)
def test_optimum_of_a_linear_detector(name, threat, shape):
    needs_nothing(name)
    weights = torch.randn(shape, generator=generator(3))
    optimum = threat.epsilon * torch.linalg.vector_norm(weights, ord=DUAL[threat.norm])

    def score(batch: Tensor) -> Tensor:
        return (batch * weights).sum((1, 2, 3))

    for count in (1, 3, 8):
        images, direction = torch.full((count, *shape), 0.5), torch.tensor([1.0, -1.0]).repeat(4)[:count]
        result = shelves.load("attacks", name)(score, images, direction, threat, streams(generator(), images))
        shift = direction * (result.scores - score(images))
        assert (shift >= 0.999 * optimum).all()
        assert (shift <= 1.0001 * optimum).all()


@pytest.mark.parametrize("name", [name for name, threat in LINEAR if threat.norm == "linf"])
def test_optimum_where_the_box_binds(name):
    needs_nothing(name)
    images = torch.tensor([0.0, 1.0, 0.01, 0.5]).reshape(1, 1, 2, 2)
    weights = torch.tensor([-1.0, 1.0, -1.0, 1.0]).reshape(1, 2, 2)

    def score(batch: Tensor) -> Tensor:
        return (batch * weights).sum((1, 2, 3))

    result = shelves.load("attacks", name)(score, images, torch.ones(1), LINF, streams(generator(), images))
    torch.testing.assert_close(result.images.flatten(), torch.tensor([0.0, 1.0, 0.0, 0.5 + 8 / 255]))


# Foolbox, iterate for iterate.


class Smooth(nn.Module):
    """A curved detector with scores of moderate size."""

    def __init__(self, channels: int = 3, width: int = 8, seed: int = 0, scale: float = 0.5) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.Tanh(), nn.Conv2d(width, width, 3, stride=2), nn.Tanh()
        )
        self.head = nn.Linear(width, 1)
        draw = generator(seed)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=draw) * scale
            parameter.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.net(images).mean((2, 3))).squeeze(1)


class TwoLogits(nn.Module):
    """The detector as a two-class classifier whose cross-entropy rises and falls with the score."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach().clone())
        scores = self.detector(images)
        return torch.stack([-scores / 2, scores / 2], dim=1)


@both_norms
def test_pgd_equals_foolbox_iterate_for_iterate(threat):
    steps, step = 10, 0.2 * threat.epsilon
    detector = Smooth()
    images = torch.rand(6, 3, 8, 8, generator=generator(1)).round(decimals=1)  # some pixels at the edge of the box
    direction = torch.tensor([1.0, -1.0] * 3)

    rival = foolbox.attacks.LinfPGD if threat.norm == "linf" else foolbox.attacks.L2PGD
    wrapped = TwoLogits(detector).eval()
    criterion = foolbox.Misclassification((direction < 0).long())  # away from 0: raise; away from 1: lower
    model = foolbox.PyTorchModel(wrapped, bounds=(0, 1), device="cpu")
    wrapped.seen.clear()
    last = rival(abs_stepsize=step, steps=steps, random_start=False).run(
        model, images, criterion, epsilon=threat.epsilon
    )
    theirs = [*wrapped.seen[-steps:], last]

    ours: list[Tensor] = []

    def score(batch: Tensor) -> Tensor:
        ours.append(batch.detach().clone())
        return detector(batch)

    result = pgd(
        score,
        images,
        direction,
        threat,
        streams(generator(), images),
        steps=steps,
        step_size=steps * step / threat.epsilon,
        random_start=False,
    )
    iterates = ours[1 : steps + 2]  # the first call scores the clean images, a last one may re-score the best
    assert len(iterates) == len(theirs)
    for mine, other in zip(iterates, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=0)
    reached = direction * (detector(theirs[-1]) - detector(images))
    assert (direction * (result.scores - detector(images)) >= reached - 1e-6).all()


@both_norms
def test_pgd_equals_art(threat):
    steps, step = 10, 0.2 * threat.epsilon
    detector = Smooth()
    images = torch.rand(6, 3, 8, 8, generator=generator(1)).round(decimals=1)
    if threat.norm == "l2":  # ART goes into the box before the ball
        images = 0.3 + 0.4 * images
    direction = torch.tensor([1.0, -1.0] * 3)
    classifier = PyTorchClassifier(
        TwoLogits(detector).eval(), torch.nn.CrossEntropyLoss(), (3, 8, 8), 2, clip_values=(0.0, 1.0), device_type="cpu"
    )
    rival = ProjectedGradientDescentPyTorch(
        classifier,
        norm="inf" if threat.norm == "linf" else 2,
        eps=threat.epsilon,
        eps_step=step,
        max_iter=steps,
        num_random_init=0,
        verbose=False,
    )
    labels = (direction < 0).long().numpy()  # away from 0: raise; away from 1: lower
    theirs = torch.from_numpy(rival.generate(images.numpy(), y=np.eye(2)[labels]))

    ours: list[Tensor] = []

    def score(batch: Tensor) -> Tensor:
        ours.append(batch.detach().clone())
        return detector(batch)

    parameters = {"steps": steps, "step_size": steps * step / threat.epsilon, "random_start": False}
    pgd(score, images, direction, threat, streams(generator(), images), **parameters)
    torch.testing.assert_close(ours[steps + 1], theirs, atol=1e-6, rtol=0)


# The order of strengths.


def mean_shift(result, score, images: Tensor, direction: Tensor) -> float:
    return float((direction * (result.scores - score(images))).mean())


@both_norms
def test_pgd_is_stronger_than_fgsm_and_fgsm_than_noise(threat):
    detector = Smooth(scale=1.0)
    images = torch.rand(32, 3, 12, 12, generator=generator(1))
    direction = torch.tensor([1.0, -1.0] * 16)
    by_noise, by_fgsm, by_pgd = (
        mean_shift(
            attack(detector, images, direction, threat, streams(generator(), images)), detector, images, direction
        )
        for attack in (noise, fgsm, pgd)
    )
    assert by_pgd > 1.01 * by_fgsm
    assert by_fgsm > 1.5 * by_noise
    assert by_noise > 0


@pytest.mark.parametrize("threat", [ThreatModel("linf", 24 / 255), ThreatModel("l2", 3.0)], ids=lambda t: t.norm)
def test_apgd_reaches_what_pgd_reaches_in_the_same_passes(threat):
    images = torch.rand(32, 3, 12, 12, generator=generator(1))
    direction = torch.tensor([1.0, -1.0] * 16)
    ours = theirs = 0.0
    for seed in range(3):
        detector = Smooth(scale=2.0, seed=seed)
        adaptive = apgd(detector, images, direction, threat, streams(generator(), images), steps=40)
        plain = pgd(detector, images, direction, threat, streams(generator(), images), steps=40)
        assert torch.equal(adaptive.forwards, plain.forwards)
        assert torch.equal(adaptive.backwards, plain.backwards)
        ours += mean_shift(adaptive, detector, images, direction)
        theirs += mean_shift(plain, detector, images, direction)
    assert ours >= theirs


def test_checkpoints_are_those_of_the_paper():
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]


def auto_pgd_of_one_image(score, clean: Tensor, start: Tensor, threat: ThreatModel, steps: int) -> list[Tensor]:
    """Algorithm 1 of Croce & Hein (2020) for one image, written down as lists over the iterations."""

    def gradient(image: Tensor) -> Tensor:
        pixels = image.clone().requires_grad_()
        return torch.autograd.grad(score(pixels), pixels)[0]

    def into(image: Tensor) -> Tensor:
        moved = image - clean
        if threat.norm == "linf":
            moved = moved.clamp(-threat.epsilon, threat.epsilon)
        else:
            moved = moved * min(1.0, threat.epsilon / float(moved.norm()))
        return (clean + moved).clamp(0, 1)

    x, f, asked = [start], [float(score(start).float())], [start]
    eta, best = [2 * threat.epsilon], [(f[0], start)]
    marks = sorted(checkpoints(steps))
    for k in range(steps):
        g = gradient(x[k])
        z = into(x[k] + eta[k] * (g.sign() if threat.norm == "linf" else g / g.norm()))
        x.append(z if k == 0 else into(x[k] + 0.75 * (z - x[k]) + 0.25 * (x[k] - x[k - 1])))
        asked.append(x[-1])
        f.append(float(score(x[-1]).float()))
        best.append(max(best[-1], (f[-1], x[-1]), key=lambda pair: pair[0]))
        eta.append(eta[-1])
        if k + 1 in marks:
            w = k + 1
            before = max([0, *(mark for mark in marks if mark < w)])
            rises = sum(f[i + 1] > f[i] for i in range(before, w))
            unchanged = before == 0 or eta[before] == eta[before - 1]  # not halved at the last checkpoint
            if rises < 0.75 * (w - before) or (unchanged and best[before][0] == best[w][0]):
                eta[w] /= 2
                f[w], x[w] = best[w]
    return asked


@pytest.mark.parametrize(
    ("threat", "scale"),
    [(LINF, 1.0), (ThreatModel("linf", 24 / 255), 2.0), (L2, 1.0)],
    ids=["linf", "linf-wild", "l2"],  # on a wild detector the first l2 steps blow rounding up fivefold each
)
def test_apgd_follows_the_algorithm_of_the_paper(threat, scale):
    steps, detector = 40, Smooth(scale=scale).double()
    for clean in torch.rand(12, 1, 3, 12, 12, generator=generator(1)).double():
        ours: list[Tensor] = []

        def score(batch: Tensor, asked: list[Tensor] = ours) -> Tensor:
            asked.append(batch.detach().clone())
            return detector(batch)

        apgd(score, clean, torch.ones(1), threat, streams(generator(), clean), start=clean, steps=steps)
        expected = auto_pgd_of_one_image(detector, clean, clean, threat, steps)
        iterates = ours[2 : steps + 3]  # the first calls score the clean image and start, a last one may re-score
        assert len(iterates) == len(expected)
        for mine, other in zip(iterates, expected, strict=True):
            torch.testing.assert_close(mine, other, atol=1e-5, rtol=0)


def test_restarts_add_up():
    detector = Smooth(scale=2.0)
    images, direction = torch.rand(8, 3, 12, 12, generator=generator(1)), torch.ones(8)
    for attack in (pgd, apgd):
        once = attack(detector, images, direction, LINF, streams(generator(), images), steps=5)
        thrice = attack(detector, images, direction, LINF, streams(generator(), images), steps=5, restarts=3)
        assert (thrice.scores >= once.scores).all()
        assert (thrice.scores > once.scores).any()
        assert (thrice.backwards == 3 * once.backwards).all()
    once = pgd(detector, images, direction, LINF, streams(generator(), images), steps=5, random_start=False)
    thrice = pgd(
        detector, images, direction, LINF, streams(generator(), images), steps=5, random_start=False, restarts=3
    )
    assert (thrice.scores > once.scores).any()


def test_a_saturated_margin_still_moves():
    """The cross-entropy of two logits has no gradient past a margin of 100; the raw score keeps it whole."""
    small = Smooth(scale=1.0)
    images, direction = torch.rand(8, 3, 12, 12, generator=generator(1)), torch.ones(8)

    def large(batch: Tensor) -> Tensor:
        return 256 * small(batch) + 128

    for attack in (fgsm, pgd, apgd):
        plain = attack(small, images, direction, L2, streams(generator(), images))
        scaled = attack(large, images, direction, L2, streams(generator(), images))
        torch.testing.assert_close(scaled.scores, 256 * plain.scores + 128, rtol=1e-3, atol=1e-2)


# Momentum, minimal norms, restarts side by side, warm starts, low precision.


def test_mim_adds_up_gradients_divided_by_their_l1_norm():
    detector, clean, steps = Smooth().double(), torch.full((2, 3, 8, 8), 0.5).double(), 6
    at, total = clean, torch.zeros_like(clean)
    for _ in range(steps):
        pixels = at.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(detector(pixels).sum(), pixels)
        total = 0.7 * total + gradient / gradient.abs().sum((1, 2, 3), keepdim=True)
        at = (at + LINF.epsilon / steps * total.sign()).clamp(clean - LINF.epsilon, clean + LINF.epsilon)
    found = mim(
        detector, clean, torch.ones(2), LINF, streams(generator(), clean), steps=steps, step_size=1.0, decay=0.7
    )
    torch.testing.assert_close(found.images, at, atol=1e-9, rtol=0)


@every_norm
def test_mim_that_forgets_is_pgd(threat):
    detector, images, direction = Smooth(), torch.rand(6, 3, 8, 8, generator=generator(1)), torch.ones(6)
    ours = mim(detector, images, direction, threat, streams(generator(), images), decay=0.0)
    theirs = pgd(detector, images, direction, threat, streams(generator(), images), random_start=False)
    torch.testing.assert_close(ours.scores, theirs.scores)


@every_norm
@pytest.mark.parametrize("attack", [fab, fmn])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_minimal_norms_find_the_nearest_crossing_of_a_linear_detector(attack, threat, sign):
    weights = torch.randn(3, 8, 8, generator=generator(3)).double()
    images = torch.full((2, 3, 8, 8), 0.5).double()
    dual = torch.linalg.vector_norm(weights, ord=DUAL[threat.norm])
    at = float((images[0] * weights).sum() + sign * 0.4 * threat.epsilon * dual)
    crossing = [threat.epsilon]

    def score(batch: Tensor) -> Tensor:
        scores = (batch * weights).sum((1, 2, 3))
        if ((scores > at) == (sign > 0)).all():
            crossing.append(float(size(batch.detach() - images, threat.norm).max()))
        return scores

    aimed = ThreatModel(threat.norm, threat.epsilon, threshold=at)
    found = attack(score, images, torch.full((2,), sign), aimed, streams(generator(), images), steps=40)
    assert 0.4 * threat.epsilon <= min(crossing) < 0.45 * threat.epsilon
    assert (found.broken_at > 1).all()
    shift = sign * (found.scores - (images * weights).sum((1, 2, 3)))
    assert (shift >= 0.99 * threat.epsilon * dual).all()  # and carried on, all of epsilon is used


@every_norm
@pytest.mark.parametrize("attack", [pgd, apgd])
def test_restarts_side_by_side_are_those_one_after_the_other(attack, threat, monkeypatch):
    detector = Smooth(scale=2.0).double()
    images, direction = torch.rand(4, 3, 8, 8, generator=generator(1)).double(), torch.tensor([1.0, -1.0] * 2)
    results = []
    for at_once in (2**21, 2 * images.numel(), 1):
        monkeypatch.setattr(_runs, "AT_ONCE", at_once)
        results.append(
            attack(detector, images, direction, threat, streams(generator(), images), start=images, steps=8, restarts=5)
        )
    for other in results[1:]:
        torch.testing.assert_close(other.images, results[0].images)
        torch.testing.assert_close(other.scores, results[0].scores)
        assert torch.equal(other.backwards, results[0].backwards)
    assert results[0].backwards.tolist() == [40] * 4


def test_no_more_images_at_once_than_fit(monkeypatch):
    images, sizes = torch.rand(2, 3, 8, 8, generator=generator(1)), []
    monkeypatch.setattr(_runs, "AT_ONCE", 5 * images[0].numel())

    def score(batch: Tensor) -> Tensor:
        sizes.append(len(batch))
        return batch.mean((1, 2, 3))

    pgd(score, images, torch.ones(2), LINF, streams(generator(), images), steps=1, restarts=3)
    assert sizes == [2, 4, 4, 2, 2, 2]


@every_norm
@pytest.mark.parametrize("attack", [pgd, apgd, mim])
def test_a_warm_start_needs_few_steps(attack, threat):
    detector = Smooth(scale=1.0)
    images, direction = torch.rand(16, 3, 12, 12, generator=generator(1)), torch.tensor([1.0, -1.0] * 8)
    smaller = ThreatModel(threat.norm, 7 / 8 * threat.epsilon)
    before = attack(detector, images, direction, smaller, streams(generator(), images), steps=20)
    warm = attack(
        detector, images, direction, threat, streams(generator(), images), steps=20, start=before.images, warm_steps=4
    )
    cold = attack(detector, images, direction, threat, streams(generator(), images), steps=20)
    assert warm.backwards.tolist() == [4] * 16
    assert mean_shift(warm, detector, images, direction) > 0.98 * mean_shift(cold, detector, images, direction)
    assert mean_shift(warm, detector, images, direction) > 1.05 * mean_shift(before, detector, images, direction)
    without = attack(detector, images, direction, threat, streams(generator(), images), steps=20, warm_steps=4)
    assert torch.equal(without.images, cold.images)


@every_norm
@pytest.mark.parametrize("attack", [pgd, apgd, mim])
def test_bfloat16_reaches_what_float32_reaches_and_says_it_in_float32(attack, threat):
    detector = Smooth(scale=1.0)
    images, direction = torch.rand(16, 3, 12, 12, generator=generator(1)), torch.tensor([1.0, -1.0] * 8)
    rough = attack(detector, images, direction, threat, streams(generator(), images), precision="bfloat16")
    full = attack(detector, images, direction, threat, streams(generator(), images))
    assert rough.scores.dtype == torch.float32
    assert torch.equal(rough.scores, detector(rough.images))
    assert (direction * (rough.scores - detector(images)) >= 0).all()
    assert mean_shift(rough, detector, images, direction) > 0.97 * mean_shift(full, detector, images, direction)
