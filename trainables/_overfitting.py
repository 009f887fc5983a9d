"""Detects catastrophic overfitting, where a detector withstands only one-step attacks, on a small fixed batch.

Source: Wong et al. 2020 (fast adversarial training, section 5.4), who compare with PGD on a training minibatch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables._adversary import Adversary

IMAGES, STEPS, GAP = 64, 10, 0.25
"""Size of the fixed batch; steps of its PGD; the drop in accuracy from FGSM to PGD that counts as overfitting."""


class Guard:
    """The fixed batch: images (B, C, H, W) in [0, 1] and labels (B,) of 0 and 1."""

    def __init__(self, images: Tensor, anomalous: Tensor, seed: int) -> None:
        self.images, self.anomalous, self.seed = images, anomalous, seed

    def look(self, logits: Callable[[Tensor], Tensor], adversary: Adversary) -> dict[str, float]:
        """Accuracies under FGSM and PGD-10 at the adversary's norm and epsilon, and `overfitted`, 1.0 or 0.0.

        logits: images -> (B,), higher is more anomalous; the decision boundary is 0.
        """
        one_step = Adversary(norm=adversary.norm, epsilon=adversary.epsilon, steps=1, step_size=1.0, start="zero")
        many = Adversary(norm=adversary.norm, epsilon=adversary.epsilon, steps=STEPS)
        fgsm, pgd = self._accuracy(logits, one_step), self._accuracy(logits, many)
        return {"fgsm_accuracy": fgsm, "pgd_accuracy": pgd, "overfitted": float(fgsm - pgd > GAP)}

    def _accuracy(self, logits: Callable[[Tensor], Tensor], attack: Adversary) -> float:
        def loss(images: Tensor) -> Tensor:
            return F.binary_cross_entropy_with_logits(logits(images), self.anomalous.float(), reduction="sum")

        generator = torch.Generator(self.images.device).manual_seed(self.seed)
        at = attack.worst(loss, self.images, generator)
        with torch.no_grad():
            right = (logits(at) > 0) == self.anomalous.bool()
        return float(right.float().mean())
