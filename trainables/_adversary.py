"""The adversary a detector is trained against: PGD that raises a training loss inside a linf ball."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from assay.units import Count, Epsilon, Positive


class Adversary(BaseModel):
    """Training adversary: linf, epsilon in pixel scale (0 trains plainly), PGD steps and their size.

    The step is `step_size * epsilon / steps` (Madry et al. 2018; 2.5 is their rule), from a random start.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    epsilon: Epsilon = 2 / 255
    steps: Count = 3
    step_size: Positive = 2.5

    def worst(self, loss: Callable[[Tensor], Tensor], images: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W) in [0, 1] inside the ball that raise the scalar `loss(images)`.

        Gradients are taken with respect to pixels only; weights get no `.grad`.
        """
        if self.epsilon == 0:
            return images
        low, high = (images - self.epsilon).clamp(0, 1), (images + self.epsilon).clamp(0, 1)
        start = torch.rand(images.shape, generator=generator, device=generator.device).to(images.device)
        adversarial = low + (high - low) * start
        for _ in range(self.steps):
            adversarial.requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss(adversarial), adversarial)
            step = self.step_size * self.epsilon / self.steps * gradient.sign()
            adversarial = torch.minimum(torch.maximum(adversarial.detach() + step, low), high)
        return adversarial.detach()
