"""How the attacks ask a detector: gradients to the pixels alone, and the best image of each sample kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.contracts import ThreatModel
from assay.errors import DataError

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
