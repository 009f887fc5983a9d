"""The attacks against answers known from elsewhere: closed forms, foolbox, and the order of their strengths."""

from __future__ import annotations

import foolbox
import pytest
import torch
from torch import Tensor, nn

from assay import shelves
from assay.attacks.apgd import apgd, checkpoints
from assay.attacks.fgsm import fgsm
from assay.attacks.noise import noise
from assay.attacks.pgd import pgd
from assay.contracts import ThreatModel

LINF, L2 = ThreatModel("linf", 8 / 255), ThreatModel("l2", 0.5)
both_norms = pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# A linear detector: the furthest shift of its score is epsilon times the dual norm of its weights.

LINEAR = [
    pytest.param("fgsm", {}, id="fgsm"),
    pytest.param("pgd", {"random_start": False}, id="pgd"),
    pytest.param("pgd", {"step_size": 6}, id="pgd-random-start"),
    pytest.param("apgd", {"steps": 30}, id="apgd"),
]


@pytest.mark.parametrize(("name", "parameters"), LINEAR)
@both_norms
@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (3, 5, 7)], ids=str)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_optimum_of_a_linear_detector(name, parameters, threat, count, shape, sign):
    weights = torch.randn(shape, generator=generator(3))
    images = torch.full((count, *shape), 0.5)
    direction = torch.full((count,), sign)
    optimum = threat.epsilon * torch.linalg.vector_norm(weights, ord=1 if threat.norm == "linf" else 2)

    def score(batch: Tensor) -> Tensor:
        return (batch * weights).sum((1, 2, 3))

    item = shelves.load("attacks", name)
    result = item(score, images, direction, threat, generator(), **parameters)
    shift = direction * (result.scores - score(images))
    assert (shift >= 0.999 * optimum).all()
    assert (shift <= 1.0001 * optimum).all()


def test_default_pgd_from_a_random_point_of_an_l2_sphere_stops_a_little_short():
    """Why the case above takes a longer path: 2.5 radii from a point at right angles leave tan(angle / 2) = e^-2.5."""
    weights = torch.randn(3, 32, 32, generator=generator(3))
    images = torch.full((4, 3, 32, 32), 0.5)

    def score(batch: Tensor) -> Tensor:
        return (batch * weights).sum((1, 2, 3))

    result = pgd(score, images, torch.ones(4), L2, generator(), steps=200)
    reached = (result.scores - score(images)) / (L2.epsilon * weights.norm())
    torch.testing.assert_close(reached, torch.full((4,), 0.9866), atol=5e-3, rtol=0)


def test_optimum_where_the_box_binds():
    images = torch.tensor([0.0, 1.0, 0.01, 0.5]).reshape(1, 1, 2, 2)
    weights = torch.tensor([-1.0, 1.0, -1.0, 1.0]).reshape(1, 2, 2)

    def score(batch: Tensor) -> Tensor:
        return (batch * weights).sum((1, 2, 3))

    for attack in (fgsm, pgd, apgd):
        result = attack(score, images, torch.ones(1), LINF, generator())
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
        generator(),
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


# The order of strengths.


def mean_shift(result, score, images: Tensor, direction: Tensor) -> float:
    return float((direction * (result.scores - score(images))).mean())


@both_norms
def test_pgd_is_stronger_than_fgsm_and_fgsm_than_noise(threat):
    detector = Smooth(scale=1.0)
    images = torch.rand(32, 3, 12, 12, generator=generator(1))
    direction = torch.tensor([1.0, -1.0] * 16)
    by_noise, by_fgsm, by_pgd = (
        mean_shift(attack(detector, images, direction, threat, generator()), detector, images, direction)
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
        adaptive = apgd(detector, images, direction, threat, generator(), steps=40)
        plain = pgd(detector, images, direction, threat, generator(), steps=40)
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

        apgd(score, clean, torch.ones(1), threat, generator(), start=clean, steps=steps)
        expected = auto_pgd_of_one_image(detector, clean, clean, threat, steps)
        iterates = ours[2 : steps + 3]  # the first calls score the clean image and start, a last one may re-score
        assert len(iterates) == len(expected)
        for mine, other in zip(iterates, expected, strict=True):
            torch.testing.assert_close(mine, other, atol=1e-5, rtol=0)


def test_restarts_add_up():
    detector = Smooth(scale=2.0)
    images, direction = torch.rand(8, 3, 12, 12, generator=generator(1)), torch.ones(8)
    for attack in (pgd, apgd):
        once = attack(detector, images, direction, LINF, generator(), steps=5)
        thrice = attack(detector, images, direction, LINF, generator(), steps=5, restarts=3)
        assert (thrice.scores >= once.scores).all()
        assert (thrice.scores > once.scores).any()
        assert (thrice.backwards == 3 * once.backwards).all()
    once = pgd(detector, images, direction, LINF, generator(), steps=5, random_start=False)
    thrice = pgd(detector, images, direction, LINF, generator(), steps=5, random_start=False, restarts=3)
    assert (thrice.scores > once.scores).any()


def test_a_saturated_margin_still_moves():
    """The cross-entropy of two logits has no gradient past a margin of 100; the raw score keeps it whole."""
    small = Smooth(scale=1.0)
    images, direction = torch.rand(8, 3, 12, 12, generator=generator(1)), torch.ones(8)

    def large(batch: Tensor) -> Tensor:
        return 256 * small(batch) + 128

    for attack in (fgsm, pgd, apgd):
        plain = attack(small, images, direction, L2, generator())
        scaled = attack(large, images, direction, L2, generator())
        torch.testing.assert_close(scaled.scores, 256 * plain.scores + 128, rtol=1e-3, atol=1e-2)
