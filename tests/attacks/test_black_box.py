"""Attacks that see scores, decisions, another detector or the mean of many answers, on detectors with known optima."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from assay import shelves
from assay.attacks._decisions import Decisions
from assay.attacks.boundary import boundary
from assay.attacks.eot import eot
from assay.attacks.nes import nes
from assay.attacks.pgd import pgd
from assay.attacks.spsa import spsa
from assay.attacks.square import square
from assay.attacks.transfer import transfer
from assay.contracts import Attacked, ThreatModel
from assay.errors import DataError, InputError
from assay.norm_balls import furthest, size, streams
from assay.shelves import Item

LINF, L2, L1 = ThreatModel("linf", 8 / 255), ThreatModel("l2", 0.4), ThreatModel("l1", 3.0)
BY_SCORE = [(square, LINF), (square, L2), (square, L1), (nes, LINF), (nes, L2), (spsa, LINF), (spsa, L2)]
by_score = pytest.mark.parametrize(("item", "threat"), BY_SCORE, ids=lambda value: getattr(value, "__name__", None))
QUICK = {"square": {"queries": 30}, "nes": {"steps": 2, "pairs": 4}, "spsa": {"steps": 2, "pairs": 4}}
ENOUGH = {"square": {"queries": 800}, "nes": {"steps": 20, "pairs": 20}, "spsa": {"steps": 20, "pairs": 20}}
SHAPE = (3, 6, 6)
WEIGHTS = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def linear(batch: Tensor) -> Tensor:
    return (batch * WEIGHTS.to(batch)).sum((1, 2, 3))


def inputs(count: int = 4) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    return images, torch.tensor([1.0, -1.0]).repeat(count)[:count]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def share_of_optimum(found: Attacked, images: Tensor, direction: Tensor, threat: ThreatModel) -> Tensor:
    """(B,) the shift of a linear score over the largest that the ball allows."""
    gradient = direction.reshape(-1, 1, 1, 1) * WEIGHTS
    best = linear(furthest(gradient, images, threat)) - linear(images)
    return (found.scores - linear(images)) / best


@by_score
def test_comes_near_the_optimum_of_a_linear_score(item, threat):
    images, direction = inputs()
    found = item(linear, images, direction, threat, streams(seeded(), images), **ENOUGH[item.__name__])
    least = {"linf": 0.8, "l2": 0.6 if item is square else 0.8, "l1": 0.4}[threat.norm]
    assert (share_of_optimum(found, images, direction, threat) > least).all()
    assert (found.backwards == 0).all()


@by_score
def test_stays_in_ball_and_box_and_returns_its_own_score(item, threat):
    images, direction = inputs()
    images = (images * 3 - 1).clamp(0, 1)  # most pixels at the edge of the box
    found = item(linear, images, direction, threat, streams(seeded(), images), **QUICK[item.__name__])
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert (size(found.images - images, threat.norm) <= threat.epsilon + 1e-6).all()
    assert torch.equal(found.scores, linear(found.images))


@by_score
def test_a_stream_per_image(item, threat):
    """Results depend on the generator and not on the batches, nor on how the generator of PyTorch stands."""
    images, direction = inputs()
    arguments, random, state = QUICK[item.__name__], streams(seeded(), images), torch.get_rng_state()
    whole = item(linear, images, direction, threat, streams(seeded(), images), **arguments)
    parts = [
        item(linear, images[a:b], direction[a:b], threat, random[a:b], **arguments)
        for a, b in itertools.pairwise([0, 1, 4])
    ]
    torch.testing.assert_close(torch.cat([part.images for part in parts]), whole.images)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(
        item(linear, images, direction, threat, streams(seeded(1), images), **arguments).images, whole.images
    )


@by_score
def test_epsilon_zero_is_the_clean_image(item, threat):
    images, direction = inputs()
    found = item(
        linear, images, direction, ThreatModel(threat.norm, 0.0), streams(seeded(), images), **QUICK[item.__name__]
    )
    assert torch.equal(found.images, images)


@by_score
def test_goes_on_from_a_start(item, threat):
    images, direction = inputs()
    best = furthest(direction.reshape(-1, 1, 1, 1) * WEIGHTS, images, threat)
    found = item(linear, images, direction, threat, streams(seeded(), images), start=best, **QUICK[item.__name__])
    assert (direction * (found.scores - linear(best)) >= 0).all()
    half = images + (best - images) / 2
    found = item(linear, images, direction, threat, streams(seeded(), images), start=half, **QUICK[item.__name__])
    assert (direction * (found.scores - linear(half)) > 0).all()


def test_square_asks_as_often_as_it_says():
    images, direction = inputs()
    calls = []
    found = square(
        lambda batch: calls.append(len(batch)) or linear(batch),
        images,
        direction,
        LINF,
        streams(seeded(), images),
        queries=30,
    )
    assert sum(calls) == int(found.forwards.sum())
    assert 30 <= len(calls) <= 33


@pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)
def test_square_breaks_a_score_without_gradient(threat):
    """A score rounded down to few levels has a gradient of 0 everywhere: steps along it stand still, squares do not."""
    images, direction = inputs()

    def levels(batch: Tensor) -> Tensor:
        return (linear(batch) * 4 + 0 * batch.sum((1, 2, 3))).floor() / 4

    gradient = pgd(levels, images, direction, threat, streams(seeded(), images), steps=20)
    searched = square(levels, images, direction, threat, streams(seeded(), images), queries=600)
    assert (direction * (searched.scores - gradient.scores) > 0.5).all()
    assert (direction * (searched.scores - levels(images))).mean() > 0.4 * linear_optimum(images, direction, threat)


def linear_optimum(images: Tensor, direction: Tensor, threat: ThreatModel) -> Tensor:
    best = furthest(direction.reshape(-1, 1, 1, 1) * WEIGHTS, images, threat)
    return (direction * (linear(best) - linear(images))).mean()


class TestBoundary:
    def setup_method(self):
        self.images, _ = inputs(6)
        self.scores = linear(self.images)
        self.threshold = float(self.scores.median())
        self.direction = torch.where(self.scores > self.threshold, -1.0, 1.0)
        self.margin = (self.threshold - self.scores) * self.direction

    def run(self, threat, score=linear, **arguments):
        threat = ThreatModel(threat.norm, threat.epsilon, self.threshold)
        return boundary(score, self.images, self.direction, threat, streams(seeded(), self.images), **arguments)

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_finds_a_boundary_little_further_than_the_nearest(self, norm):
        """Of a linear score the nearest image of the other decision is known."""
        slope = WEIGHTS.abs().sum() if norm == "linf" else WEIGHTS.norm()
        needed = float((self.margin / slope).max())
        found = self.run(ThreatModel(norm, 1.5 * needed), steps=10)
        assert torch.equal(found.scores > self.threshold, self.direction > 0)
        assert ((found.broken_at > 1) & (found.broken_at < found.forwards)).all()

    @pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)
    def test_sees_the_decision_and_nothing_else(self, threat):
        asked: dict[str, list[Tensor]] = {"score": [], "bit": []}

        def told(batch: Tensor) -> Tensor:
            asked["score"].append(batch)
            return linear(batch)

        def bit(batch: Tensor) -> Tensor:
            asked["bit"].append(batch)
            return torch.where(linear(batch) > self.threshold, 1.0, -1.0) + self.threshold

        by_score, by_bit = self.run(threat, told, steps=3), self.run(threat, bit, steps=3)
        searched = len(asked["bit"]) - 3  # the last are of the result, which the score may judge
        pairs = zip(asked["score"][:searched], asked["bit"][:searched], strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
        crossed = by_bit.scores.gt(self.threshold) == (self.direction > 0)
        assert crossed.any()
        assert torch.equal(by_score.images[crossed], by_bit.images[crossed])

    @pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)
    def test_out_of_reach_the_way_there_is_returned(self, threat):
        near = ThreatModel(threat.norm, threat.epsilon / 100)
        found = self.run(near, steps=5)
        away = size(found.images - self.images, near.norm)
        assert (away <= near.epsilon + 1e-6).all()
        assert (away >= 0.9 * near.epsilon).any()
        assert (self.direction * (found.scores - self.scores) >= 0).all()
        assert (found.broken_at == -1).any()

    def test_an_image_already_decided_so_stays_so(self):
        self.direction = -self.direction
        found = self.run(LINF, steps=2)
        assert (found.broken_at == 1).all()
        assert (self.direction * (found.scores - self.scores) >= 0).all()

    def test_without_any_image_of_the_other_decision_the_clean_one_is_returned(self):
        self.threshold, self.direction = 1e6, torch.ones(6)
        found = self.run(LINF, steps=2)
        assert torch.equal(found.images, self.images)

    def test_where_nothing_made_up_is_decided_so_the_nearest_image_of_the_batch_is_used(self):
        """Only photographs pass: what is like none of them is flagged."""
        kept = self.images.clone()

        def strange(batch: Tensor) -> Tensor:
            return torch.cdist(batch.flatten(1), kept[:3].flatten(1)).amin(1)

        self.direction, self.threshold = -torch.ones(6), 0.5
        found = self.run(ThreatModel("l2", 8.0), strange, steps=2)
        assert (found.scores <= 0.5).all()

    @pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)
    def test_only_images_whose_answer_matters_are_asked_about(self, threat, monkeypatch):
        sizes: list[int] = []

        def seen(batch: Tensor) -> Tensor:
            sizes.append(len(batch))
            return linear(batch)

        found = self.run(threat, seen, steps=3)
        assert min(sizes) < len(self.images) == max(sizes)
        assert int(found.forwards.sum()) == sum(sizes)
        asked_all = Decisions.wanted

        def wanted(self: Decisions, images: Tensor, among: Tensor | None = None) -> Tensor:
            return asked_all(self, images) & (torch.tensor(True) if among is None else among)

        monkeypatch.setattr(Decisions, "wanted", wanted)
        every = self.run(threat, steps=3)
        assert torch.equal(found.images, every.images)
        assert (found.forwards < every.forwards).any()
        assert (found.broken_at <= every.broken_at).all()

    def test_needs_a_threshold(self):
        with pytest.raises(InputError, match="needs a threshold"):
            boundary(linear, self.images, self.direction, LINF, streams(seeded(), self.images))


class TestTransfer:
    def test_a_like_surrogate_does_as_well_as_the_detector(self):
        images, direction = inputs()
        found = transfer(
            linear, images, direction, LINF, streams(seeded(), images), surrogate=lambda batch: 3 * linear(batch).tanh()
        )
        assert (share_of_optimum(found, images, direction, LINF) > 0.6).all()
        assert (found.forwards < 10).all()
        assert (found.backwards == 0).all()

    def test_a_surrogate_that_knows_nothing_does_no_harm(self):
        images, direction = inputs()
        found = transfer(
            linear, images, direction, L2, streams(seeded(), images), surrogate=lambda batch: -linear(batch)
        )
        assert torch.equal(found.images, images)

    def test_the_attack_can_be_chosen(self):
        images, direction = inputs()
        item = Item("attacks", "fgsm", {})
        calls = []
        surrogate = lambda batch: calls.append(1) or linear(batch)  # noqa: E731
        transfer(linear, images, direction, LINF, streams(seeded(), images), surrogate=surrogate, attack=item)
        assert len(calls) <= 4

    def test_needs_a_surrogate(self):
        with pytest.raises(InputError, match="surrogate"):
            transfer(linear, *inputs(), LINF, seeded())


class TestEot:
    def noisy(self, seed: int = 0, scale: float = 3.0):
        generator = seeded(seed)
        return lambda batch: linear(batch) + scale * torch.randn(len(batch), generator=generator)

    def test_a_steady_score_costs_more_and_gives_the_same(self):
        images, direction = inputs()
        pgd_item = Item("attacks", "pgd", {"steps": 5})
        plain = pgd(linear, images, direction, LINF, streams(seeded(), images), steps=5)
        found = eot(linear, images, direction, LINF, streams(seeded(), images), attack=pgd_item, draws=4)
        torch.testing.assert_close(found.images, plain.images)
        assert torch.equal(found.scores, linear(found.images))
        assert (found.backwards == 4 * plain.backwards).all()
        assert (found.forwards > 4 * plain.forwards).all()

    def test_reports_a_mean_of_fresh_draws_and_not_the_luckiest(self):
        """The best of many noisy scores is far better than what its image scores when asked again."""
        images, _ = inputs()
        direction, item = torch.ones(4), Item("attacks", "noise", {"draws": 60})
        threat = ThreatModel("linf", 1e-6)  # nothing to be gained but luck
        excess = [
            eot(self.noisy(seed), images, direction, threat, streams(seeded(), images), attack=item, draws=10).scores
            - linear(images)
            for seed in range(8)
        ]
        lucky = shelves.load("attacks", "noise")(
            self.noisy(), images, direction, threat, streams(seeded(), images), draws=60
        )
        assert torch.stack(excess).mean() < 1.5
        assert direction @ (lucky.scores - linear(images)) > -20  # the plain attack runs on such a score, too

    def test_counts_every_forward(self):
        images, direction = inputs()
        calls = []

        def counted(batch: Tensor) -> Tensor:
            calls.append(batch.requires_grad)
            return linear(batch)

        threat = ThreatModel("linf", 0.1, threshold=float(linear(images).mean()))
        found = eot(
            counted,
            images,
            direction,
            threat,
            streams(seeded(), images),
            attack=Item("attacks", "pgd", {"steps": 3}),
            draws=5,
        )
        assert int(found.forwards[0]) == len(calls)
        assert int(found.backwards[0]) == sum(calls)
        assert (found.broken_at % 5 == 0).logical_or(found.broken_at == -1).all()
        assert (found.broken_at > 0).any()

    def test_a_norm_that_the_attack_does_not_know(self):
        with pytest.raises(InputError, match="does not support the norm 'patch'"):
            eot(linear, *inputs(), ThreatModel("patch", 0.1), seeded(), attack=Item("attacks", "fgsm", {}))

    def test_a_norm_that_only_the_attack_knows(self):
        found = eot(
            linear,
            *inputs(),
            ThreatModel("spatial", 0.5),
            streams(seeded(), inputs()[0]),
            attack=Item("attacks", "spatial", {}),
            draws=2,
        )
        assert (found.images != inputs()[0]).any()


@pytest.mark.parametrize("item", [square, nes, spsa])
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"threat": ThreatModel("patch", 0.1)}, InputError),
        ({"threat": ThreatModel("linf", -0.1)}, InputError),
        ({"images": torch.full((4, *SHAPE), 1.5)}, DataError),
        ({"direction": torch.zeros(4)}, InputError),
    ],
)
def test_what_cannot_be_attacked_is_refused(item, change, error):
    images, direction = inputs()
    asked = {"images": images, "direction": direction, "threat": LINF} | change
    with pytest.raises(error):
        item(linear, **asked, random=streams(seeded(), asked["images"]))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("square", {"queries": 0}),
        ("square", {"area": 1.5}),
        ("nes", {"momentum": 2}),
        ("spsa", {"width": 0}),
        ("boundary", {"probes": 0}),
        ("transfer", {"attack": "no_such_attack"}),
        ("eot", {"draws": 0}),
        ("eot", {"attack": {"pgd": {"steps": 0}}}),
    ],
)
def test_parameters_have_limits(name, values):
    with pytest.raises(ValueError):
        shelves.bind(shelves.load("attacks", name), values)
