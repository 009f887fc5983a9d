"""What every attack on the shelf promises. A new file in assay/attacks is tested here on arrival."""

from __future__ import annotations

import functools
import itertools
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from assay import shelves
from assay.attacks._ball import size
from assay.contracts import Attacked, Norm, ThreatModel
from assay.errors import DataError, InputError

ATTACKS = shelves.names("attacks")
THREATS = [ThreatModel("linf", 4 / 255), ThreatModel("l2", 0.5)]
QUICK = {"steps": 4, "restarts": 2, "draws": 4, "queries": 20, "iterations": 4}
"""Keeps the suite fast: whatever of these an attack takes is set so."""

every_attack = pytest.mark.parametrize("name", ATTACKS)
both_norms = pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)


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


def inputs(count: int = 6) -> tuple[Tensor, Tensor]:
    """Images with pixels at, near and far from the edges of the box; directions of both signs."""
    generator = torch.Generator().manual_seed(1)
    images = (torch.rand(count, 3, 8, 8, generator=generator) * 1.4 - 0.2).clamp(0, 1)
    return images, torch.tensor([1.0, -1.0]).repeat(count)[:count]


def attack(name: str, score, images: Tensor, direction: Tensor, threat: ThreatModel, seed=0, start=None) -> Attacked:
    item = shelves.load("attacks", name)
    quick = {key: value for key, value in QUICK.items() if key in shelves.fields(item)}
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    return item(score, images, direction, threat, generator, start=start, **shelves.bind(item, quick))


@functools.cache
def is_white_box(name: str) -> bool:
    return bool((attack(name, SmallNet(), *inputs(), THREATS[0]).backwards > 0).any())


def gain(result: Attacked, reference: Tensor, direction: Tensor) -> Tensor:
    return direction * (result.scores - reference)


@every_attack
@both_norms
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
    assert (size(result.images.double() - images.double(), threat.norm) <= threat.epsilon + 1e-6).all()
    assert result.scores.dtype == torch.float32
    for tensor in result:
        assert not tensor.requires_grad
        assert tensor.grad_fn is None
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad is not frozen for parameter in model.parameters())


@every_attack
@both_norms
def test_inputs_are_left_as_they_were(name, threat):
    images, direction = inputs()
    kept = images.clone()
    attack(name, SmallNet(), images, direction, threat, start=images)
    assert torch.equal(images, kept)
    assert not images.requires_grad


@every_attack
@both_norms
def test_epsilon_zero_returns_the_clean_images_and_scores(name, threat):
    model, (images, direction) = SmallNet(), inputs()
    result = attack(name, model, images, direction, ThreatModel(threat.norm, 0.0))
    assert torch.equal(result.images, images)
    assert torch.equal(result.scores, model(images))


@every_attack
@both_norms
def test_never_worse_than_start(name, threat):
    model, (images, direction) = SmallNet(), inputs()
    strong = shelves.load("attacks", "pgd")(
        model, images, direction, threat, torch.Generator().manual_seed(0), random_start=False
    )
    wider = ThreatModel(threat.norm, 1.25 * threat.epsilon)
    for allowed in (threat, wider):
        result = attack(name, model, images, direction, allowed, start=strong.images)
        assert (gain(result, strong.scores, direction) >= 0).all()
        assert (size(result.images - images, threat.norm) <= allowed.epsilon + 1e-6).all()


@every_attack
def test_scores_are_those_without_gradients(name):
    """Where a detector scores otherwise while gradients are recorded, the plain score is the true one."""
    images, direction = inputs()

    def score(batch: Tensor) -> Tensor:
        mean = batch.mean((1, 2, 3))
        return mean if torch.is_grad_enabled() else (batch - images).abs().mean((1, 2, 3)) * -direction

    result = attack(name, score, images, direction, THREATS[0])
    assert torch.equal(result.images, images)
    assert torch.equal(result.scores, torch.zeros(6))


@every_attack
def test_same_seed_same_result_and_global_generator_untouched(name):
    model, (images, direction) = SmallNet(), inputs()
    before = torch.get_rng_state()
    first, second = (attack(name, model, images, direction, THREATS[0], seed=5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


@every_attack
@pytest.mark.parametrize("training", [True, False])
def test_training_flag_is_unchanged(name, training):
    model = SmallNet().train(training)
    attack(name, model, *inputs(), THREATS[0])
    assert all(module.training is training for module in model.modules())


@every_attack
@both_norms
def test_batch_size_does_not_matter(name, threat):
    model, (images, direction) = SmallNet(), inputs()
    whole = attack(name, model, images, direction, threat)
    carried = torch.Generator().manual_seed(0)
    parts = [
        attack(name, model, images[a:b], direction[a:b], threat, carried) for a, b in itertools.pairwise([0, 1, 3, 6])
    ]
    torch.testing.assert_close(torch.cat([part.scores for part in parts]), whole.scores, atol=2e-4, rtol=1e-4)
    # One forward is saved where the last one scored just the images that were chosen.
    assert ((torch.cat([part.forwards for part in parts]) - whole.forwards).abs() <= 1).all()


@every_attack
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_with_gradients_switched_off_outside(name, mode):
    model, (images, direction) = SmallNet(frozen=False), inputs()
    expected = attack(name, model, images, direction, THREATS[0])
    with mode():
        found = attack(name, model, images.clone(), direction, THREATS[0])
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.scores, expected.scores)


@every_attack
def test_counts_are_the_passes_made(name):
    model, (images, direction) = SmallNet(), inputs()
    calls = []

    def counted(batch: Tensor) -> Tensor:
        calls.append((len(batch), batch.requires_grad))
        return model(batch)

    result = attack(name, counted, images, direction, THREATS[0])
    for counts in (result.forwards, result.backwards):
        assert counts.dtype == torch.int64
        assert counts.shape == direction.shape
    assert int(result.forwards.sum()) == sum(size for size, _ in calls)
    assert int(result.backwards.sum()) == sum(size for size, with_gradient in calls if with_gradient)


@every_attack
def test_goes_on_after_any_success(name):
    """A score far beyond any threshold still moves as far as a small one: only the difference counts."""
    model, (images, direction) = SmallNet().double(), inputs()
    images, direction = images.double(), direction.double()
    near = attack(name, lambda batch: model(batch), images, direction, THREATS[0])
    far = attack(name, lambda batch: model(batch) + 64 * direction, images, direction, THREATS[0])
    torch.testing.assert_close(far.scores - 64 * direction, near.scores.double(), atol=1e-4, rtol=0, check_dtype=False)


@every_attack
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_scores_that_are_not_finite_are_counted(name, broken):
    images, direction = inputs()
    bad = torch.tensor([False, True, False, True, False, False])
    with pytest.raises(DataError, match=r"not finite .* 2 of 6"):
        attack(name, lambda batch: batch.mean((1, 2, 3)).where(~bad, broken), images, direction, THREATS[0])


@every_attack
def test_scores_that_turn_nan_under_attack_are_counted(name):
    images = torch.full((3, 3, 8, 8), 0.5)

    def score(batch: Tensor) -> Tensor:
        moved = (batch - 0.5).abs().amax((1, 2, 3)) > 0
        return batch.mean((1, 2, 3)).where(~moved, torch.nan)

    with pytest.raises(DataError, match="3 of 3"):
        attack(name, score, images, torch.ones(3), THREATS[0])


@every_attack
def test_score_without_gradient(name):
    model, (images, direction) = SmallNet(), inputs()
    unfrozen = SmallNet(frozen=False)
    for score in (lambda batch: model(batch).detach(), lambda batch: unfrozen(batch.detach())):
        if is_white_box(name):
            with pytest.raises(InputError, match=r"not differentiable.*scores alone"):
                attack(name, score, images, direction, THREATS[0])
        else:
            attack(name, score, images, direction, THREATS[0])


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
        attack(name, score, *inputs(), THREATS[0])


@every_attack
def test_wrong_inputs_are_named(name):
    model, (images, direction) = SmallNet(), inputs()
    outside = images.clone()
    outside[2, 0, 0, 0] = 1.01
    missing = images.clone()
    missing[0] = torch.nan
    run = functools.partial(attack, name, model)
    with pytest.raises(DataError, match=r"1 of 6 images have pixels outside \[0, 1\]"):
        run(outside, direction, THREATS[0])
    with pytest.raises(DataError, match=r"1 of 6 .* NaN"):
        run(missing, direction, THREATS[0])
    with pytest.raises(DataError, match="floats of shape"):
        run((images * 255).byte(), direction, THREATS[0])
    with pytest.raises(InputError, match=r"\+1 .* or -1"):
        run(images, torch.arange(6.0), THREATS[0])
    with pytest.raises(InputError, match=r"\+1 .* or -1"):
        run(images, direction[:3], THREATS[0])
    for norm in set(get_args(Norm)) - set(shelves.stated(shelves.load("attacks", name), "NORMS", ())):
        with pytest.raises(InputError, match="there is: "):
            run(images, direction, ThreatModel(norm, 0.5))
    with pytest.raises(InputError, match=r"epsilon .* found -1"):
        run(images, direction, ThreatModel("l2", -1.0))
    with pytest.raises(InputError, match="one image for every image"):
        run(images, direction, THREATS[0], start=images[:2])
    with pytest.raises(InputError, match="start must lie in the linf ball"):
        run(images, direction, THREATS[0], start=(images + 0.1).clamp(0, 1))


@every_attack
def test_parameters_can_be_set_from_yaml(name):
    item = shelves.load("attacks", name)
    assert item.__doc__
    shelves.bind(item, {})  # every parameter has a default
