"""Smoothed: the median score of any trainable's detector under Gaussian noise, with a certificate in l2.

Source: Chiang et al. 2020 ("Detection as Regression: Certified Object Detection by Median Smoothing"), which carries
the randomised smoothing of Cohen et al. 2019 from votes to real numbers.

Where the noise comes from. A score must be the same every time, so the noise cannot be drawn afresh; it must be a
function of the image, and an attacker may search for images whose noise is favourable.

- A fixed bank of noise is not sound. The score is then an ordinary function of the image with n known noises; an
  attacker follows its gradient to an image that suits those n noises and no others. What is proven about the median
  over all noise says nothing about such an image.
- Noise seeded by the 8-bit image is a fixed bank inside each cell of the 8-bit grid, within which a change of half a
  grey level of every pixel is free.
- Noise seeded by a cryptographic hash of the image's own float32 bytes is used here. Every image tried, however close,
  has noise of its own that cannot be known without trying it: its n draws are effectively independent. Each try is then
  a lottery with known odds (the median of n draws lies at a Beta-distributed level of the scores' distribution), and
  the certificate allows for the luckiest of `tries` tickets. So it holds for the actual score with few draws, not for
  an ideal median. More draws reduce the role of luck.

The score jumps between images that differ in one bit, so it has no derivative. Its gradient is that of the mean of the
middle half of the draws with their noise held fixed: an estimate of the gradient of the ideal median, less noisy than
that of the middle draw alone. An attacker can use it; hiding it would only weaken the audit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from assay.contracts import Norm, TrainingData
from assay.shelves import Item, Shelf
from assay.units import Count, Positive
from trainables._image_noise import gaussian, seeds
from trainables._median_smoothing import bounds, levels_of_median, middle
from trainables._radius import BALLS, in_l2

BATCH = 256


class SmoothedDetector(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> median inner score (B,) under noise, higher is more anomalous."""

    CERTIFIES: tuple[Norm, ...] = BALLS

    def __init__(self, inner: nn.Module, sigma: float, draws: int, certify_draws: int, tries: int) -> None:
        super().__init__()
        self.inner = inner
        self.sigma, self.draws, self.certify_draws, self.tries = sigma, draws, certify_draws, tries

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        own = seeds(images)
        # Checkpointed: the graphs of all draws at once would need `draws` times the memory of the inner detector.
        scores = torch.stack(
            [
                checkpoint(self.inner, self._noisy(images, own, draw), use_reentrant=False, preserve_rng_state=False)
                for draw in range(self.draws)
            ]
        )
        ordered = scores.sort(dim=0).values
        quarter = self.draws // 4
        mean = ordered[quarter : self.draws - quarter].mean(dim=0)
        return ordered[middle(self.draws)].detach() + (mean - mean.detach())  # value of one draw, gradient of the mean

    def _noisy(self, images: Tensor, own: Tensor, draw: int) -> Tensor:
        return images + self.sigma * gaussian(own, draw, images.shape[1:]).to(images)

    @torch.no_grad()
    def certify(
        self, images: Tensor, norm: Norm, radii: Tensor, random: Sequence[torch.Generator], confidence: float
    ) -> tuple[Tensor, Tensor]:
        """Bounds (B, R), (B, R) of the score in the balls of R radii, for an attacker of at most `tries` tries.

        Fresh noise for each image from its generator. -inf or inf if `certify_draws` are too few for a bound. The
        failure probability is shared equally between the luck of the attacker's tries and the error of the estimate,
        and among images, sides and radii.
        """
        failure = (1 - confidence) / (4 * len(images))
        levels = levels_of_median(self.draws, failure / self.tries)
        scores = torch.stack([self._fresh(*pair) for pair in zip(images, random, strict=True)]).double().cpu().numpy()
        reaches = (in_l2(radii, norm, images) / self.sigma).cpu().numpy()
        lower, upper = bounds(scores, reaches, levels, failure / len(radii))
        return torch.from_numpy(lower).to(images.device), torch.from_numpy(upper).to(images.device)

    def _fresh(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """Inner scores (certify_draws,) of one image under noise from `generator`."""
        parts = []
        for first in range(0, self.certify_draws, BATCH):
            shape = (min(BATCH, self.certify_draws - first), *image.shape)
            noise = torch.randn(shape, generator=generator, device=generator.device).to(image)
            parts.append(self.inner(image + self.sigma * noise))
        return torch.cat(parts)


class Smoothed:
    """Any trainable, its detector's score smoothed by Gaussian noise and so provably hard to move in l2."""

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        of: Annotated[Item, Shelf("trainables")] = Item("trainables", "cobra", {}),
        sigma: Positive = 0.25,
        draws: Count = 64,
        certify_draws: Count = 1000,
        tries: Count = 1_000_000,
    ) -> None:
        """Prepare a run of `of`, which is trained without change.

        of: the trainable whose detector is smoothed. sigma: standard deviation of the noise on every pixel, in pixel
        scale; radii much larger than it cannot be certified. draws: noise samples whose median is the score; a score
        costs that many inner scores. certify_draws: noise samples per certificate, for every image. tries: how many
        images an attacker may try in the ball around each one before the certificate may fail.
        """
        self.run = of.function(data, seed=seed, device=device, **of.arguments())
        self.epochs: int = self.run.epochs
        self.settings: dict[str, Any] = {"sigma": sigma, "draws": draws, "certify_draws": certify_draws, "tries": tries}

    @classmethod
    def build(cls, *, channels: int, image_size: int | Sequence[int], of: Item, **settings: Any) -> nn.Module:
        """An untrained detector of the same shape."""
        build = of.function.build  # type: ignore[attr-defined]
        return SmoothedDetector(build(channels=channels, image_size=image_size, **of.arguments()), **settings)

    def train_epoch(self) -> dict[str, float]:
        """One epoch of the inner trainable."""
        losses: dict[str, float] = self.run.train_epoch()
        return losses

    def detector(self) -> nn.Module:
        """The current inner detector, smoothed."""
        return SmoothedDetector(self.run.detector(), **self.settings).eval()

    def state_dict(self) -> dict[str, Any]:
        """The state of the inner trainable."""
        state: dict[str, Any] = self.run.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.run.load_state_dict(state)
