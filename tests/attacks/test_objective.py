"""How the attacks ask a detector: gradients to the pixels alone, and the best image of each sample kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.contracts import ThreatModel
from assay.errors import DataError, InputError

THREAT = ThreatModel("linf", 0.1)


def brightness(images: Tensor) -> Tensor:
    return images.mean((1, 2, 3))


def grey(*levels: float) -> Tensor:
    return torch.tensor(levels).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def test_ascent_is_signed_and_keeps_no_graph():
    objective = Objective(brightness, grey(0.5, 0.5), torch.tensor([1, -1]), THREAT, None)
    value, gradient = objective.ascent(grey(0.6, 0.6))
    torch.testing.assert_close(value, torch.tensor([0.6, -0.6]))
    torch.testing.assert_close(gradient, grey(0.25, -0.25))
    assert not value.requires_grad
    assert not gradient.requires_grad


def test_the_best_image_of_each_sample_is_kept():
    objective = Objective(brightness, grey(0.5, 0.5, 0.5), torch.tensor([1, -1, 1]), THREAT, None)
    for images in (grey(0.55, 0.55, 0.45), grey(0.6, 0.45, 0.45), grey(0.52, 0.42, 0.45)):
        objective.value(images)
    result = objective.attacked()
    assert torch.equal(result.images, grey(0.6, 0.42, 0.5))
    assert torch.equal(result.scores, brightness(result.images))
    assert result.forwards.tolist() == [5, 5, 5]  # clean, three images, the best once more
    assert result.backwards.tolist() == [0, 0, 0]


def test_a_gradient_that_is_not_finite_is_an_error_although_the_score_is():
    clean = grey(0.5, 0.25)

    def distance(images: Tensor) -> Tensor:
        return (images - grey(0.5, 0.5)).square().sum((1, 2, 3)).sqrt()

    objective = Objective(distance, clean, torch.ones(2), THREAT, None)
    objective.ascent(clean)
    with pytest.raises(DataError, match=r"gradient is not finite .* 1 of 2"):
        objective.attacked()


def test_images_scored_just_before_are_not_scored_again():
    asked: list[Tensor] = []

    def score(images: Tensor) -> Tensor:
        asked.append(images)
        return brightness(images)

    for last, forwards in ((grey(0.6, 0.6), 2), (grey(0.6, 0.4), 3)):
        asked.clear()
        objective = Objective(score, grey(0.5, 0.5), torch.ones(2), THREAT, None)
        objective.value(last)
        result = objective.attacked()
        assert result.forwards.tolist() == [forwards] * 2
        assert len(asked) == forwards
        assert torch.equal(result.scores, brightness(result.images))
    objective = Objective(score, grey(0.5, 0.5), torch.ones(2), THREAT, None)
    objective.ascent(grey(0.6, 0.6))  # its score was taken while gradients are recorded
    assert objective.attacked().forwards.tolist() == [3, 3]


def test_several_images_of_each_sample_at_once():
    objective = Objective(brightness, grey(0.5, 0.5), torch.tensor([1, -1]), THREAT, None)
    value, gradient = objective.ascent(grey(0.55, 0.45, 0.6, 0.48, 0.52, 0.41))
    torch.testing.assert_close(value, torch.tensor([0.55, -0.45, 0.6, -0.48, 0.52, -0.41]))
    assert gradient.shape == (6, 1, 2, 2)
    result = objective.attacked()
    assert torch.equal(result.images, grey(0.6, 0.41))
    assert result.forwards.tolist() == [5, 5]
    assert result.backwards.tolist() == [3, 3]


def test_images_that_are_not_to_be_kept_are_counted_alone():
    threat = ThreatModel("linf", 0.1, threshold=0.7)
    objective = Objective(brightness, grey(0.5), torch.ones(1), threat, None)
    objective.value(grey(0.9), keep=False)
    objective.ascent(grey(0.9), keep=False)
    result = objective.attacked()
    assert torch.equal(result.images, grey(0.5))
    assert result.forwards.tolist() == [3]
    assert result.broken_at.tolist() == [-1]


def test_broken_at_counts_the_forwards_up_to_the_first_crossing():
    threat = ThreatModel("linf", 0.1, threshold=0.5625)
    direction = torch.tensor([1, 1, 1, -1, -1, -1])
    objective = Objective(brightness, grey(0.5, 0.6, 0.5, 0.6, 0.5625, 0.6), direction, threat, None)
    objective.value(grey(0.5625, 0.56, 0.5, 0.58, 0.5625, 0.58))  # a score equal to the threshold is not flagged
    objective.ascent(grey(0.57, 0.5, 0.5, 0.5625, 0.6, 0.57))
    objective.value(grey(0.5, 0.5, 0.5, 0.5, 0.5, 0.57))
    assert objective.attacked().broken_at.tolist() == [3, 1, -1, 3, 1, -1]


def test_of_images_asked_about_at_once_the_first_to_cross_is_counted():
    objective = Objective(brightness, grey(0.5), torch.ones(1), ThreatModel("linf", 0.1, threshold=0.55), None)
    objective.value(grey(0.54, 0.56, 0.6))
    assert objective.attacked().broken_at.tolist() == [3]  # clean, 0.54, 0.56


def test_missing_is_what_the_score_still_has_to_rise():
    threat = ThreatModel("linf", 0.1, threshold=0.55)
    objective = Objective(brightness, grey(0.5, 0.6, 0.6), torch.tensor([1, -1, 1]), threat, None)
    value = objective.value(grey(0.52, 0.57, 0.6))
    torch.testing.assert_close(objective.missing(value), torch.tensor([0.03, 0.02, torch.inf]).double())
    free = Objective(brightness, grey(0.5), torch.ones(1), THREAT, None)
    assert free.missing(free.value(grey(0.5))).tolist() == [torch.inf]


def test_low_precision_steers_and_full_precision_decides():
    """A detector that is wrong in bfloat16, not just rough: its values there must meet no float32 value."""
    seen: list[tuple[bool, float]] = []

    def score(images: Tensor) -> Tensor:
        rough = torch.is_autocast_enabled("cpu")
        seen.append((rough, float(images.mean())))
        return 10 * brightness(images) if rough else brightness(images)

    threat = ThreatModel("linf", 0.1, threshold=0.59)
    objective = Objective(score, grey(0.5), torch.ones(1), threat, None, precision="bfloat16")
    objective.value(grey(0.55))
    for level in (0.4, 0.53, 0.45):
        objective.ascent(grey(level))
    result = objective.attacked()
    assert [rough for rough, _ in seen] == [False, False, True, True, True, False, False]
    assert torch.equal(result.images, grey(0.55))
    assert torch.equal(result.scores, brightness(result.images))
    assert result.broken_at.tolist() == [-1]  # 5.3 in bfloat16 is no crossing
    assert seen[-2][1] == pytest.approx(0.53)  # the best of the rough ones is confirmed


def test_a_norm_that_is_not_the_attacks_is_refused_and_patch_measures_no_ball():
    clean, far = grey(0.5), grey(0.9)
    with pytest.raises(InputError, match=r"does not support the norm 'patch'.*l2, linf"):
        Objective(brightness, clean, torch.ones(1), ThreatModel("patch", 0.1), None, norms=("linf", "l2"))
    for norm in ("patch", "spatial"):
        objective = Objective(brightness, clean, torch.ones(1), ThreatModel(norm, 0.1), far, norms=(norm,))
        assert torch.equal(objective.attacked().images, far)
        with pytest.raises(InputError, match=r"1 outside \[0, 1\]"):
            Objective(brightness, clean, torch.ones(1), ThreatModel(norm, 0.1), far + 1, norms=(norm,))
