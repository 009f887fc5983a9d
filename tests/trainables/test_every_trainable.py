"""What every trainable on the shelf promises, and the adversary that they train against."""

from __future__ import annotations

import inspect
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
import toy_runs
from torch import Tensor, nn

from assay import shelves
from assay.data import splits
from assay.models import model_folder
from trainables._adversary import Adversary
from trainables._views import Views

NAMES = [name for name in shelves.names("trainables") if name != "anomalib"]  # tests/anomalib tests it
EPOCHS = 2
DRAWS_NOTHING = {"local_pixels", "overlap"}
"""Those whose detector the data decide alone."""


@pytest.fixture(scope="module")
def training(tmp_path_factory, own_cache):
    found = splits.training_data(toy_runs.squares(root=str(tmp_path_factory.mktemp("squares"))))
    images, some = found.validation, [12, 13, 14]  # anomalies, for those trainables that learn from labelled ones
    labels, names = np.ones(3, np.int64), (("a", "b", "c"), ("square",) * 3, ("a", "b", "c"))
    return replace(found, labelled=splits.Images(images.pixels[some], labels, *names))


def arguments(name: str) -> dict:
    """Defaults, but for what a test can afford."""
    item, small = shelves.load("trainables", name), {"backbone": {"name": "small_resnet", "width": 4}}
    if name == "ensemble":
        members = {"net": {"name": "monotone", "steps_per_epoch": 3}, "pixels": {"name": "local_pixels"}}
        return shelves.bind(item, {"of": {key: {"item": member} for key, member in members.items()}})
    if "of" in shelves.fields(item):
        own = {"tile": 8} if name == "tiled" else {"draws": 5}
        return shelves.bind(item, {"of": {"name": "neighbours", **small}, **own})
    small |= {"steps_per_epoch": 3, "contrast": 1.0, "level": 0.5}
    return shelves.bind(item, {key: value for key, value in small.items() if key in shelves.fields(item)})


def start(name: str, training, seed: int = 0):
    return shelves.load("trainables", name)(training, seed=seed, device="cpu", **arguments(name))


def trained(name: str, training, seed: int = 0, epochs: int = EPOCHS):
    run = start(name, training, seed)
    for _ in range(min(epochs, run.epochs)):
        run.train_epoch()
    return run


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def same(one: nn.Module, other: nn.Module) -> bool:
    tensors, others = one.state_dict(), other.state_dict()
    return tensors.keys() == others.keys() and all(torch.equal(tensors[key], others[key]) for key in tensors)


@pytest.mark.parametrize("name", NAMES)
class TestEveryTrainable:
    def test_says_what_it_is(self, name, training):
        item = shelves.load("trainables", name)
        module = inspect.getmodule(item)
        assert inspect.getdoc(item)
        assert "Source:" in (module.__doc__ or "")
        assert start(name, training).epochs >= 1

    def test_a_seed_decides_everything_and_global_randomness_nothing(self, name, training):
        one = trained(name, training).detector()
        torch.rand(5)
        state = torch.random.get_rng_state()
        other = trained(name, training).detector()
        assert torch.equal(torch.random.get_rng_state(), state)
        assert same(one, other)
        assert same(one, trained(name, training, seed=1).detector()) == (name in DRAWS_NOTHING)

    def test_a_saved_and_restored_run_goes_on_as_if_nothing_had_been(self, name, training):
        whole = trained(name, training, epochs=2)
        content = io.BytesIO()
        torch.save(trained(name, training, epochs=1).state_dict(), content)
        content.seek(0)
        again = start(name, training)
        again.load_state_dict(torch.load(content, weights_only=True))
        if again.epochs > 1:
            again.train_epoch()
        assert same(again.detector(), whole.detector())

    def test_a_built_detector_with_the_weights_gives_the_same_scores(self, name, training):
        detector = trained(name, training).detector()
        item = shelves.load("trainables", name)
        built = item.build(channels=1, image_size=16, **arguments(name))
        model_folder.fit_buffers(built, detector.state_dict())
        built.load_state_dict(detector.state_dict())
        assert torch.equal(built.eval()(images()), detector(images()))

    def test_the_detector_is_a_frozen_copy_in_eval_mode(self, name, training):
        run = trained(name, training)
        detector = run.detector()
        before = detector(images())
        assert not detector.training
        assert not any(parameter.requires_grad for parameter in detector.parameters())
        with torch.no_grad():
            for tensor in detector.state_dict().values():
                tensor.zero_()
        assert torch.equal(run.detector()(images()), before)
        kept = run.detector()
        run.train_epoch()
        assert torch.equal(kept(images()), before)

    def test_scores_are_one_finite_number_an_image_whatever_else_is_in_the_batch(self, name, training):
        detector = trained(name, training).detector()
        scores = detector(images())
        assert scores.shape == (6,)
        assert scores.isfinite().all()
        assert torch.allclose(detector(images()[2:3]), scores[2:3], atol=1e-4)

    def test_the_gradient_reaches_every_pixel_and_is_finite(self, name, training):
        detector = trained(name, training).detector()
        pixels = images().requires_grad_(True)
        (gradient,) = torch.autograd.grad(detector(pixels).sum(), pixels)
        assert gradient.isfinite().all()
        assert (gradient != 0).float().mean() > 0.5
        flat = torch.zeros(1, 1, 16, 16).requires_grad_(True)
        (gradient,) = torch.autograd.grad(detector(flat).sum(), flat)
        assert gradient.isfinite().all()

    def test_the_losses_are_plain_finite_numbers(self, name, training):
        losses = start(name, training).train_epoch()
        assert all(isinstance(value, float) and abs(value) < float("inf") for value in losses.values())

    def test_training_needs_no_full_batch_and_no_second_image(self, name, training):
        one = splits.Images(training.train.pixels[:1], training.train.labels[:1], ("a",), ("normal",), ("hash",))
        few = replace(training, train=one)
        assert trained(name, few, epochs=1).detector()(images()).isfinite().all()


def brightness(pixels: Tensor) -> Tensor:
    return (pixels**2).sum()


@pytest.mark.parametrize("epsilon", [2 / 255, 0.3])
def test_the_adversary_stays_in_ball_and_box_and_raises_the_loss(epsilon):
    clean = images()
    found = Adversary(epsilon=epsilon, steps=5).worst(brightness, clean, torch.Generator().manual_seed(0))
    assert (found - clean).abs().max() <= epsilon + 1e-7
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.allclose(found, (clean + epsilon).clamp(max=1), atol=1e-6)  # the most there is, for this loss
    assert not found.requires_grad


def test_the_adversary_leaves_no_gradient_and_no_global_draw_behind():
    network = nn.Linear(256, 1)
    state = torch.random.get_rng_state()
    Adversary().worst(lambda x: network(x.flatten(1)).sum(), images(), torch.Generator().manual_seed(0))
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_adversary_without_a_budget_changes_nothing_and_draws_nothing():
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    clean = images()
    assert Adversary(epsilon=0).worst(brightness, clean, generator) is clean
    assert torch.equal(generator.get_state(), state)


def test_views_are_flips_and_jitter_of_each_image_by_its_own_draw():
    clean = images(64)
    generator = torch.Generator().manual_seed(0)
    assert Views(flips=False, jitter=0).draw(clean, generator) is clean
    flipped = Views(flips=True, jitter=0).draw(clean, generator)
    ways = [clean, clean.flip(3), clean.flip(2), clean.flip(2, 3)]
    which = [[torch.equal(view, way[at]) for way in ways] for at, view in enumerate(flipped)]
    assert all(sum(row) == 1 for row in which)
    assert all(sum(column) > 5 for column in zip(*which, strict=True))
    jittered = Views(flips=False, jitter=0.5).draw(clean, generator)
    assert jittered.min() >= 0
    assert jittered.max() <= 1
    assert len({round(float(r), 3) for r in (jittered.mean((1, 2, 3)) / clean.mean((1, 2, 3)))}) > 30


def test_a_map_of_places_comes_with_the_score_that_is_given_without_it(training):
    mapped = [(name, trained(name, training, epochs=1).detector()) for name in NAMES]
    mapped = [(name, detector) for name, detector in mapped if hasattr(detector, "score_and_map")]
    assert {name for name, _ in mapped} >= {"devnet", "draem", "patchcore", "simplenet"}
    for name, detector in mapped:
        with torch.no_grad():
            scores, maps = detector.score_and_map(images())
            assert torch.allclose(scores, detector(images()), rtol=1e-5, atol=1e-6), name
        assert maps.shape[0] == len(images()), name
        assert maps.ndim == 3, name
        assert maps.isfinite().all(), name
        if name != "devnet":  # the mean of the largest, and of two sizes
            assert torch.allclose(maps.flatten(1).amax(1), scores, rtol=1e-3), name
