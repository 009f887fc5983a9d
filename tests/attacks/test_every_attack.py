"""What every attack on the shelf promises. A new file in assay/attacks is tested here on arrival."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from assay import shelves
from assay.contracts import Attacked, Norm, ThreatModel
from assay.errors import DataError, InputError
from assay.norm_balls import BALLS, size, streams
from assay.runtime.threads import one_thread

ATTACKS = shelves.names("attacks")
THREATS = {
    norm: ThreatModel(norm, epsilon, threshold=0.0)
    for norm, epsilon in {"linf": 4 / 255, "l2": 0.5, "l1": 3.0, "patch": 0.1, "spatial": 0.5}.items()
}
QUICK = {"steps": 4, "restarts": 2, "draws": 4, "queries": 20, "pairs": 3, "probes": 4}
"""Keeps the suite fast: whatever of these an attack takes is set so."""
INNER = {"patch": {"patch": {"steps": 2, "restarts": 1}}, "spatial": {"spatial": {"queries": 8}}}
"""What an attack that makes another one makes, by norm; pgd for the rest."""


def stated(name: str, constant: str, default: Any = None) -> Any:
    return shelves.stated(shelves.load("attacks", name), constant, default)


def own(name: str) -> ThreatModel:
    return THREATS[stated(name, "NORMS")[0]]


every_attack = pytest.mark.parametrize("name", ATTACKS)
every_norm = pytest.mark.parametrize(
    ("name", "threat"),
    [(name, THREATS[norm]) for name in ATTACKS for norm in stated(name, "NORMS")],
    ids=lambda value: getattr(value, "norm", value),
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


class Near:
    """A score that is also a mean of distances, for attacks that need neighbours; calls `score` for both."""

    def __init__(self, score: Callable[[Tensor], Any]) -> None:
        self.score = score

    def __call__(self, images: Tensor) -> Any:
        return self.score(images)

    def score_with(self, images: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        return pool(self.score(images).unsqueeze(1) + torch.arange(4) / 10)


def like(values: Tensor, batch: Tensor) -> Tensor:
    """What belongs to the samples of a batch, for as many images of each as the batch holds."""
    return values.repeat(len(batch) // len(values), *(1,) * (values.ndim - 1))


class SmallNet(nn.Module):
    """A curved convolutional detector; its weights require gradients unless they are frozen."""

    def __init__(self, frozen: bool = True) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 8, 3, stride=2), nn.GELU(), nn.Flatten()
        )
        self.head = nn.Linear(8 * 3 * 3, 1)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
            parameter.requires_grad_(not frozen)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.net(images)).squeeze(1)


SURROGATES = {dtype: SmallNet().to(dtype) for dtype in (torch.float32, torch.float64)}


def inputs(count: int = 6) -> tuple[Tensor, Tensor]:
    """Images with pixels at, near and far from the edges of the box; directions of both signs."""
    generator = torch.Generator().manual_seed(1)
    images = (torch.rand(count, 3, 8, 8, generator=generator) * 1.4 - 0.2).clamp(0, 1)
    return images, torch.tensor([1.0, -1.0]).repeat(count)[:count]


def attack(name: str, score, images: Tensor, direction: Tensor, threat: ThreatModel, seed=0, start=None) -> Attacked:
    item, needs = shelves.load("attacks", name), stated(name, "NEEDS")
    quick = {key: value for key, value in QUICK.items() if key in shelves.fields(item)}
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    score = Near(score) if needs == "neighbours" else score
    if "attack" in shelves.fields(item):
        quick["attack"] = INNER.get(threat.norm, {"pgd": {"steps": 2}})
    given = {"surrogate": SURROGATES.get(images.dtype)} if needs == "surrogate" else {}
    return item(
        score, images, direction, threat, streams(generator, images), start=start, **given, **shelves.bind(item, quick)
    )


def inside(found: Tensor, images: Tensor, threat: ThreatModel) -> bool:
    """Whether the images lie in the ball; patch and spatial have none, their own tests say what they may change."""
    return threat.norm not in BALLS or bool((size(found.double() - images, threat.norm) <= threat.epsilon + 1e-6).all())


def gain(result: Attacked, reference: Tensor, direction: Tensor) -> Tensor:
    return direction * (result.scores - reference)


@every_norm
@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "unfrozen"])
def test_result_is_feasible_scored_and_no_worse(name, threat, frozen):
    model, (images, direction) = SmallNet(frozen), inputs()
    result = attack(name, model, images, direction, threat)
    with torch.no_grad():
        assert torch.equal(result.scores, model(result.images))
        assert (gain(result, model(images), direction) >= 0).all()
    assert gain(result, model(images).detach(), direction).sum() > 0
    assert result.images.shape == images.shape
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert inside(result.images, images, threat)
    assert result.scores.dtype == torch.float32
    for tensor in result:
        assert not tensor.requires_grad
        assert tensor.grad_fn is None
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad is not frozen for parameter in model.parameters())


@every_norm
def test_inputs_are_left_as_they_were(name, threat):
    images, direction = inputs()
    kept = images.clone()
    attack(name, SmallNet(), images, direction, threat, start=images)
    assert torch.equal(images, kept)
    assert not images.requires_grad


@every_norm
def test_epsilon_zero_returns_the_clean_images_and_scores(name, threat):
    model, (images, direction) = SmallNet(), inputs()
    result = attack(name, model, images, direction, replace(threat, epsilon=0.0))
    assert torch.equal(result.images, images)
    assert torch.equal(result.scores, model(images))


@every_norm
def test_never_worse_than_start(name, threat):
    model, (images, direction) = SmallNet(), inputs()
    strong = attack("pgd" if threat.norm in BALLS else name, model, images, direction, threat, seed=1)
    wider = replace(threat, epsilon=1.25 * threat.epsilon)
    for allowed in (threat, wider):
        result = attack(name, model, images, direction, allowed, start=strong.images)
        assert (gain(result, strong.scores, direction) >= 0).all()
        assert inside(result.images, images, allowed)


@every_attack
def test_scores_are_those_without_gradients(name):
    """Where a detector scores otherwise while gradients are recorded, the plain score is the true one."""
    images, direction = inputs()

    def score(batch: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return batch.mean((1, 2, 3))
        apart = torch.stack([(batch - image).abs().mean((1, 2, 3)) for image in images]).min(0)
        return -direction[apart.indices] * apart.values

    result = attack(name, score, images, direction, own(name))
    assert torch.equal(result.images, images)
    assert torch.equal(result.scores, torch.zeros(6))


@every_attack
def test_same_seed_same_result_and_global_generator_untouched(name):
    model, (images, direction) = SmallNet(), inputs()
    before = torch.get_rng_state()
    first, second = (attack(name, model, images, direction, own(name), seed=5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


@every_attack
@pytest.mark.parametrize("training", [True, False])
def test_training_flag_is_unchanged(name, training):
    model = SmallNet().train(training)
    attack(name, model, *inputs(), own(name))
    assert all(module.training is training for module in model.modules())


@every_norm
def test_batch_size_does_not_matter(name, threat):
    model, (images, direction) = SmallNet(), inputs()
    whole = attack(name, model, images, direction, threat)
    carried = torch.Generator().manual_seed(0)
    parts = [
        attack(name, model, images[a:b], direction[a:b], threat, carried) for a, b in itertools.pairwise([0, 1, 3, 6])
    ]
    torch.testing.assert_close(torch.cat([part.scores for part in parts]), whole.scores, atol=2e-4, rtol=1e-4)
    # The last score is saved where the images chosen were those scored just before; an average is several forwards.
    saved = QUICK["draws"] if "attack" in shelves.fields(shelves.load("attacks", name)) else 1
    assert ((torch.cat([part.forwards for part in parts]) - whole.forwards).abs() <= saved).all()


@every_attack
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_with_gradients_switched_off_outside(name, mode):
    model, (images, direction) = SmallNet(frozen=False), inputs()
    expected = attack(name, model, images, direction, own(name))
    with mode():
        found = attack(name, model, images.clone(), direction, own(name))
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.scores, expected.scores)


@every_attack
def test_counts_are_the_passes_made(name):
    model, (images, direction) = SmallNet(), inputs()
    calls = []

    def counted(batch: Tensor) -> Tensor:
        calls.append((len(batch), batch.requires_grad))
        return model(batch)

    result = attack(name, counted, images, direction, own(name))
    for counts in (result.forwards, result.backwards):
        assert counts.dtype == torch.int64
        assert counts.shape == direction.shape
    assert int(result.forwards.sum()) == sum(size for size, _ in calls)
    assert int(result.backwards.sum()) == sum(size for size, with_gradient in calls if with_gradient)


@every_attack
def test_goes_on_after_any_success(name):
    """A score far beyond any threshold still moves as far as a small one: only the difference counts."""
    if stated(name, "KNOWLEDGE") == "label":
        pytest.skip("sees decisions alone, and these do not change that far from the threshold")
    model, (images, direction) = SmallNet().double(), inputs()
    images, direction = images.double(), direction.double()
    threat = replace(own(name), threshold=None)  # with one, attacks of minimal norm aim at it
    near = attack(name, lambda batch: model(batch), images, direction, threat)
    far = attack(name, lambda batch: model(batch) + 64 * like(direction, batch), images, direction, threat)
    torch.testing.assert_close(far.scores - 64 * direction, near.scores.double(), atol=1e-4, rtol=0, check_dtype=False)


@every_attack
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_scores_that_are_not_finite_are_counted(name, broken):
    images, direction = inputs()
    bad = torch.tensor([False, True, False, True, False, False])
    with pytest.raises(DataError, match=r"not finite .* 2 of 6"):
        attack(name, lambda batch: batch.mean((1, 2, 3)).where(~like(bad, batch), broken), images, direction, own(name))


@every_attack
def test_scores_that_turn_nan_under_attack_are_counted(name):
    images = torch.full((3, 3, 8, 8), 0.5)

    def score(batch: Tensor) -> Tensor:
        moved = (batch - 0.5).abs().amax((1, 2, 3)) > 0
        return batch.mean((1, 2, 3)).where(~moved, torch.nan)

    with pytest.raises(DataError, match="3 of 3"):
        attack(name, score, images, torch.ones(3), own(name))


@every_attack
def test_score_without_gradient(name):
    model, (images, direction) = SmallNet(), inputs()
    unfrozen = SmallNet(frozen=False)
    for score in (lambda batch: model(batch).detach(), lambda batch: unfrozen(batch.detach())):
        if stated(name, "KNOWLEDGE") == "white-box":
            with pytest.raises(InputError, match=r"not differentiable.*scores alone"):
                attack(name, score, images, direction, own(name))
        else:
            attack(name, score, images, direction, own(name))


@every_attack
@pytest.mark.parametrize(
    ("score", "found"),
    [
        (lambda batch: batch.mean((2, 3))[:, :1], r"\(6, 1\)"),
        (lambda batch: batch[1:].mean((1, 2, 3)), r"\(5,\)"),
        (lambda batch: batch.mean(), r"\(\)"),
        (lambda batch: (batch.mean((1, 2, 3)),), "tuple"),
    ],
)
def test_wrong_scores_are_named(name, score, found):
    with pytest.raises(InputError, match=rf"one score per image.*\(6,\).*found .*{found}"):
        attack(name, score, *inputs(), own(name))


@every_attack
def test_wrong_inputs_are_named(name):
    model, (images, direction) = SmallNet(), inputs()
    outside = images.clone()
    outside[2, 0, 0, 0] = 1.01
    missing = images.clone()
    missing[0] = torch.nan
    run = functools.partial(attack, name, model)
    with pytest.raises(DataError, match=r"1 of 6 images have pixels outside \[0, 1\]"):
        run(outside, direction, own(name))
    with pytest.raises(DataError, match=r"1 of 6 .* NaN"):
        run(missing, direction, own(name))
    with pytest.raises(DataError, match="floats of shape"):
        run((images * 255).byte(), direction, own(name))
    with pytest.raises(InputError, match=r"\+1 .* or -1"):
        run(images, torch.arange(6.0), own(name))
    with pytest.raises(InputError, match=r"\+1 .* or -1"):
        run(images, direction[:3], own(name))
    for norm in set(get_args(Norm)) - set(stated(name, "NORMS")):
        with pytest.raises(InputError, match="choose from: "):
            run(images, direction, ThreatModel(norm, 0.5))
    with pytest.raises(InputError, match=r"epsilon .* found -1"):
        run(images, direction, replace(own(name), epsilon=-1.0))
    with pytest.raises(InputError, match="start must have the shape of the images"):
        run(images, direction, own(name), start=images[:2])
    if own(name).norm in BALLS:
        with pytest.raises(InputError, match=f"start must lie in the {own(name).norm} ball"):
            run(images, direction, own(name), start=(images + 0.1).clamp(0, 1))


@every_norm
def test_broken_at_says_when_the_threshold_was_crossed(name, threat):
    """Flagged is a score above the threshold: false alarms go above it, misses down to it, and the rest is -1."""
    model, (images, direction) = SmallNet(), inputs()
    clean = model(images).detach()
    far = attack(name, model, images, direction, replace(threat, threshold=1e6)).broken_at
    at_once = int(far[1])
    assert far.dtype == torch.int64
    assert far.tolist() == [-1, at_once] * 3
    assert 1 <= at_once <= QUICK["draws"]  # an average is several forwards
    if stated(name, "KNOWLEDGE") != "label":
        assert (attack(name, model, images, direction, replace(threat, threshold=None)).broken_at == -1).all()
    for i in range(len(images)):
        one, way = images[i : i + 1], direction[i : i + 1]
        clean = model(one).item()
        threshold = clean + 0.01 * way.item()
        found = attack(name, model, one, way, replace(threat, threshold=threshold))
        assert (found.broken_at > at_once) == ((found.scores.item() > threshold) == (way > 0))
        assert found.broken_at <= found.forwards
        level = attack(name, model, one, way, replace(threat, threshold=clean))
        assert (level.broken_at == at_once) == (way < 0)  # down to the threshold is enough, up to it is not


@every_attack
def test_parameters_can_be_set_from_yaml(name):
    item = shelves.load("attacks", name)
    assert item.__doc__
    shelves.bind(item, {})  # every parameter has a default
