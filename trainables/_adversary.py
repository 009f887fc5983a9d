"""The adversary for adversarial training: it moves images inside a ball to raise a training loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor

from assay.contracts import ThreatModel
from assay.norm_balls import project, random_point, steepest, streams
from assay.units import Count, Positive, Radius

FGSM_RS_STEP, N_FGSM_NOISE = 1.25, 2.0
"""In epsilons, as published: the step of FGSM-RS, and the range of N-FGSM's noise."""


class Adversary(BaseModel):
    """Training adversary: norm, epsilon (linf in pixel scale, l2 the whole perturbation's length; 0 trains plainly).

    budget: epsilon is `ramped` up during the warm-up, `fixed` from the start, or `sampled` for every batch from
    U[0, epsilon]. method: `pgd` with `steps` steps of `step_size * epsilon / steps` (Madry et al. 2018; 2.5 is their
    rule) from a random point or the clean image (`start`); or a single step: `fgsm_rs` (Wong et al. 2020) or `n_fgsm`
    (de Jorge et al. 2022, noise of 2 epsilon and no projection, so up to 3 epsilon). views: which views are attacked;
    `negative` are contrastive views pulled towards the other class instead of away from their own image. guard: after
    every epoch, compare one-step with PGD accuracy on a small fixed batch; `watch` logs the figures and `overfitted`,
    `fall_back` also switches to PGD with at least 3 steps once overfitting is detected.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    norm: Literal["linf", "l2"] = "linf"
    epsilon: Radius = 2 / 255
    budget: Literal["ramped", "fixed", "sampled"] = "ramped"
    method: Literal["pgd", "fgsm_rs", "n_fgsm"] = "pgd"
    steps: Count = 3
    step_size: Positive = 2.5
    start: Literal["random", "zero"] = "random"
    views: Literal["both", "classification", "contrastive", "negative"] = "both"
    guard: Literal["off", "watch", "fall_back"] = "off"

    @model_validator(mode="after")
    def _noise_has_a_norm(self) -> Self:
        if self.method == "n_fgsm" and self.norm != "linf":
            raise ValueError("n_fgsm is defined for norm linf only; for l2 use pgd or fgsm_rs")
        return self

    def now(self, share: float, generator: torch.Generator) -> Adversary:
        """The adversary of one batch; share: completed part of the warm-up, 0 to 1."""
        if self.budget == "fixed" or not self.epsilon:
            return self
        if self.budget == "sampled":
            share = float(torch.rand((), generator=generator, device=generator.device))
        return self.model_copy(update={"epsilon": self.epsilon * share})

    def attacks(self, view: str) -> bool:
        """Whether the `classification` or the `contrastive` views are attacked at all."""
        return self.epsilon > 0 and (self.views in ("both", view) or (self.views, view) == ("negative", "contrastive"))

    def worst(self, loss: Callable[[Tensor], Tensor], images: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W) in [0, 1] inside the ball that raise the scalar `loss(images)`.

        Gradients are taken with respect to pixels only; weights get no `.grad`.
        """
        if self.epsilon == 0:
            return images
        if self.method == "n_fgsm":
            return self._n_fgsm(loss, images, generator)
        threat = ThreatModel(self.norm, self.epsilon)
        at, steps, size = self._start(images, generator), self.steps, self.step_size * self.epsilon / self.steps
        if self.method == "fgsm_rs":
            steps, size = 1, FGSM_RS_STEP * self.epsilon
        low, high = (images - self.epsilon).clamp(0, 1), (images + self.epsilon).clamp(0, 1)
        for _ in range(steps):
            moved = at + size * steepest(_gradient(loss, at), self.norm)
            at = moved.clamp(low, high) if self.norm == "linf" else project(moved, images, threat)
        return at

    def _start(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if self.start == "zero":
            return images
        if self.norm == "l2":
            return random_point(images, ThreatModel("l2", self.epsilon), streams(generator, images))
        low, high = (images - self.epsilon).clamp(0, 1), (images + self.epsilon).clamp(0, 1)
        return low + (high - low) * _uniform(images, generator)

    def _n_fgsm(self, loss: Callable[[Tensor], Tensor], images: Tensor, generator: torch.Generator) -> Tensor:
        """Noise, then one step of epsilon; clipped to the box only, which is the method's remedy for overfitting."""
        noisy = (images + N_FGSM_NOISE * self.epsilon * (2 * _uniform(images, generator) - 1)).clamp(0, 1)
        return (noisy + self.epsilon * _gradient(loss, noisy).sign()).clamp(0, 1)


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(images.shape, generator=generator, device=generator.device).to(images.device)


def _gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    at = at.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(at), at)
    return gradient
