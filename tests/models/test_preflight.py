"""What is looked at before an attack: each bad detector with the answer its owner needs."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import toy_outside
from torch import nn

from assay import delong
from assay.contracts import Images
from assay.data.reduced import take
from assay.errors import DataError, ModelError
from assay.interop.open_gradients import Opened, opened
from assay.models import model_folder, preflight
from assay.models.scoring import clean_scores


class Of(nn.Module):
    """A detector of a function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, images):
        """Whatever the function returns."""
        return self.function(images)


def light(images):
    return images.mean((1, 2, 3))


def ready(function) -> nn.Module:
    return model_folder.freeze(Of(function))


@pytest.fixture(scope="module")
def images() -> Images:
    """12 dark normals and 12 brighter anomalies, no two alike."""
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    pixels = (
        rng.uniform(60, 120, (24, 1, 8, 8)) + rng.uniform(0, 60, (24, 1, 1, 1)) * labels[:, None, None, None]
    ).astype(np.uint8)
    names = tuple(map(str, range(24)))
    return Images(pixels, labels, names, tuple("crack" if label else "normal" for label in labels), names)


def told(detector, images, threshold=None) -> dict[str, str]:
    return {finding.name: finding.text for finding in preflight.inspect(detector, images, threshold).findings}


def test_a_good_detector_has_its_facts_and_no_findings(images):
    threshold = float(np.median(clean_scores(ready(light), images)))
    assert preflight.inspect(ready(light), images, threshold) == preflight.Facts(True, False, (), False, ())
    assert preflight.inspect(model_folder.freeze(toy_outside.good()), images, None).differentiable


def test_what_a_detector_offers_is_a_fact(images):
    detector = ready(light)
    detector.score_with, detector.CERTIFIES = light, ("l2",)
    facts = preflight.inspect(detector, images, None)
    assert (facts.neighbours, facts.certifies) == (True, ("l2",))


class Counter(nn.Module):
    """A detector that changes its own buffer, not its score."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, images):
        """Scores (B,)."""
        self.calls += 1
        return light(images)


def nan_for_bright(images):
    return light(images).masked_fill(light(images) > 0.45, float("nan"))


def brighter(images):
    images += 0.1
    return light(images)


def not_alone(images):
    if len(images) == 1:
        raise ValueError("more than one value is needed")
    return light(images)


def scalar_when_alone(images):
    return light(images).squeeze()


def of_the_batch(images):
    return light(images) - light(images).mean()


BAD = {
    "nan": (nan_for_bright, r"not finite \(NaN or infinite\) for \d+ of 24 images"),
    "scalar": (lambda x: light(x).mean(), r"returns \(\) for 8 images; it must return \(B,\)"),
    "column": (lambda x: light(x)[:, None], r"\(8, 1\) for 8 images; it must return \(B,\): add `.squeeze\(1\)`"),
    "two logits": (lambda x: torch.stack([-light(x), light(x)], 1), r"\(8, 2\).*class logits\?.*logits\[:, 1\]"),
    "seven logits": (
        lambda x: light(x)[:, None].repeat(1, 7),
        r"\(8, 7\).*logits\?.*the column of the anomalous",
    ),
    "map": (lambda x: x, r"\(8, 1, 8, 8\) for 8 images; an anomaly map\?"),
    "numpy": (lambda x: light(x).numpy(), "returns a ndarray; it must return a tensor"),
    "tuple": (lambda x: (light(x), x), "returns a tuple; it must return a tensor"),
    "decisions": (lambda x: light(x) > 0.4, r"returns torch\.bool: decisions or counts\?"),
    "counts": (lambda x: (light(x) * 100).long(), r"returns torch\.int64: decisions or counts\?"),
    "constant": (lambda x: torch.full((len(x),), 0.25), "scores all 24 images 0.25; it cannot separate any"),
    "in place": (brighter, "changes the images it is given"),
    "batch of one fails": (not_alone, r"fails on images \(1, 1, 8, 8\) on cpu: ValueError: more than one value"),
    "batch of one is a scalar": (scalar_when_alone, r"returns \(\) for 1 images, though \(B,\) for other numbers"),
    "fails": (lambda x: 1 / 0, r"fails on images \(8, 1, 8, 8\) on cpu: ZeroDivisionError"),
    "of the batch": (of_the_batch, "depends on the other images of its batch: in batches of 1 it moves by up to"),
}


@pytest.mark.parametrize(("function", "words"), BAD.values(), ids=BAD)
def test_a_detector_that_cannot_be_audited_is_told_why(images, function, words):
    with pytest.raises(ModelError, match=words) as caught:
        preflight.inspect(ready(function), images, None)
    assert "\n" not in str(caught.value)


def test_a_detector_that_changes_itself(images):
    with pytest.raises(ModelError, match="changes itself when it scores: calls; is a part in train mode"):
        preflight.inspect(model_folder.freeze(Counter()), images, None)


def test_train_mode_and_loose_weights_are_named(images):
    with pytest.raises(ModelError, match=r"is in train mode \(Light, blur\); call `eval\(\)`"):
        preflight.inspect(toy_outside.good(), images, None)
    with pytest.raises(ModelError, match=r"weights require gradients \(blur\.weight\); call `requires_grad_\(False\)`"):
        preflight.inspect(toy_outside.good().eval(), images, None)


def test_batch_norm_that_stays_in_train_mode_cannot_be_frozen():
    with pytest.raises(ModelError, match=r"stays in train mode after `eval\(\)`: norm;"):
        model_folder.freeze(toy_outside.stubborn())


@pytest.mark.parametrize("label", [0, 1])
def test_an_empty_class(images, label):
    alone = take(images, np.flatnonzero(images.labels == label))
    with pytest.raises(DataError, match=rf"has {12 * (1 - label)} normal and {12 * label} anomalous images"):
        preflight.inspect(ready(light), alone, None)


def test_lower_is_anomalous(images):
    assert "set `higher_is: normal`" in told(ready(lambda x: -light(x)), images)["below_chance"].lower()


def test_a_weak_detector_that_may_as_well_be_above_chance_gets_no_advice(images):
    weak = ready(lambda x: (x[:, 0, 0, 0] * 1e3).sin())
    scores = preflight.clean_scores(weak, images)
    assert 0.3 < delong.auroc(images.labels, scores).value < 0.5, "else nothing is tested"
    assert "below_chance" not in told(weak, images)


@pytest.mark.parametrize(("threshold", "flags"), [(-1.0, "all"), (7.0, "none")])
def test_a_threshold_outside_the_scores(images, threshold, flags):
    assert f"it flags {flags} of the images" in told(ready(light), images, threshold)["threshold_out_of_range"]


def under_no_grad(x):
    with torch.no_grad():
        return light(x)


@torch.inference_mode()
def in_inference_mode(x):
    return light(x)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (light, None),
        (lambda x: light(x.detach()), r"a `detach\(\)` in its forward \(test_preflight\.py:\d+\); take it out"),
        (under_no_grad, r"a `torch\.no_grad` in its forward \(test_preflight\.py:\d+\); take it out, or export"),
        (in_inference_mode, "an inference mode in its forward; use `torch.no_grad` around the call"),
        (
            lambda x: light((x * 255).long() / 255),
            r"whole numbers or decisions \(long at test_preflight\.py:\d+\)",
        ),
        (lambda x: light(torch.from_numpy(x.numpy())), "torch says: Can't call numpy"),
        (lambda x: light(torch.tensor(x.tolist())), "no operation of torch leads from the image to the score"),
    ],
)
def test_whether_there_is_a_gradient_and_why_not(images, function, why):
    facts = preflight.inspect(ready(function), images, None)
    assert facts.differentiable == (why is None)
    assert [finding.name for finding in facts.findings] == ["no_gradient"] * (why is not None)
    assert why is None or re.search(why, facts.findings[0].text)


def test_gradients_go_through_regions_that_turn_them_off(images):
    """With the same scores; a forward that asks whether gradients are on gives others, which is said."""

    def scored(x):
        with torch.no_grad():
            return light(x) * (1 + torch.is_grad_enabled())

    for function, same in ((under_no_grad, "the same with"), (scored, "NOT the same")):
        assert same in told(model_folder.freeze(Opening(function)), images)["gradients_opened"]


class Opening(nn.Module):
    """A detector that opens its own regions."""

    def __init__(self, function):
        super().__init__()
        self.function, self.closed_places = function, {}

    def forward(self, x):
        if not x.requires_grad:
            return self.function(x)
        mode = Opened()
        with opened(mode):
            scores = self.function(x)
        self.closed_places.update(mode.places)
        return scores


def test_a_gradient_that_is_zero_is_one(images):
    assert preflight.inspect(
        ready(lambda x: torch.floor(light(x) * 50) / 50 + 0 * light(x)), images, None
    ).differentiable


def test_random_scores(images):
    generator = torch.Generator().manual_seed(0)
    random = ready(lambda x: torch.rand(len(x), generator=generator))
    assert preflight.inspect(random, images, None).stochastic
    assert "two passes over the same images differ by up to" in told(random, images)["stochastic"]
    noisy = ready(lambda x: light(x) + 0.1 * torch.rand(len(x), generator=generator))
    assert preflight.inspect(noisy, images, None).stochastic


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floating_point_numbers_are_taken(images, dtype):
    assert preflight.inspect(ready(lambda x: light(x).to(dtype)), images, None).differentiable


def test_an_image_of_a_batch_too_large_for_memory_is_scored_in_halves(images):
    def hungry(x):
        if len(x) > 9:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return light(x)

    assert np.array_equal(clean_scores(ready(hungry), images), clean_scores(ready(light), images))


def test_want_of_memory_is_not_taken_for_want_of_a_gradient():
    def hungry(x):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes")

    with pytest.raises(RuntimeError, match="you tried to allocate"):
        preflight.differentiable(ready(hungry), torch.zeros(1, 1, 8, 8))
