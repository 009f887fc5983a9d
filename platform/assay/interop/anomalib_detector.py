"""A detector out of an anomalib model: raw scores, their gradient, and the threshold with which it is deployed.

Source: Akcay et al. 2022, "Anomalib: A Deep Learning Library for Anomaly Detection"; its post-processor normalises raw
scores, clips them to [0, 1] and decides. Clipping hides gradients, so the raw score is kept, with the same decisions.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from assay.interop.anomalib import parameters
from assay.interop.backbone_weights import backbone_weights
from assay.interop.open_gradients import Opened, opened

if TYPE_CHECKING:
    from anomalib.models import AnomalibModule

LARGEST = 0x7F7FFFFF
"""The bits of the largest finite float32; those of positive numbers are in their order."""


def untrained(
    model: type[AnomalibModule], values: Mapping[str, Any], transform: nn.Module | None, weights: str = "random"
) -> AnomalibModule:
    """A new model with these parameters and pre-processing.

    weights: of its backbone: `random`, `hub` (downloads them), or a file in timm's or torchvision's names. Its other
    weights are drawn from torch's global generator. Raises InputError for what its constructor refuses.
    """
    from anomalib.pre_processing import PreProcessor

    own = inspect.signature(model.__init__).parameters
    objects = {"pre_processor": PreProcessor(transform), "evaluator": False, "visualizer": False}
    with backbone_weights(weights):
        made: AnomalibModule = model(
            **parameters(model, values), **{name: value for name, value in objects.items() if name in own}
        )
    return made


class Detector(nn.Module):
    """Images (B, C, H, W) in [0, 1] at any size -> raw scores (B,), before normalisation and clipping.

    transform: pre-processing, as in training: resize and standardisation. model: the torch model of a Lightning one.
    threshold: the raw score above which the deployed model flags an image, if it has one.
    `closed_places` fills with the places in the forward that turn gradients off, once a gradient was asked for.
    """

    def __init__(self, transform: nn.Module | None, model: nn.Module, threshold: float | None = None) -> None:
        super().__init__()
        self.transform, self.model, self.threshold = transform, model, threshold
        self.closed_places: dict[Any, None] = {}
        self._through_detach = False

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous; with a gradient where one is asked for."""
        if not (images.requires_grad and torch.is_grad_enabled()):
            return self._score(images)
        scores = self._open(images)
        if not (scores.requires_grad or self._through_detach):
            self._through_detach = True  # only then: detach() is also how a straight-through gradient is written
            scores = self._open(images)
        return scores

    def _open(self, images: Tensor) -> Tensor:
        mode = Opened(detach=self._through_detach)
        with opened(mode):
            scores = self._score(images)
        self.closed_places.update(mode.places)
        return scores

    def _score(self, images: Tensor) -> Tensor:
        images = images.expand(-1, 3, -1, -1).contiguous()  # anomalib reads grey images as colour, and some models view
        found = self.model(images if self.transform is None else self.transform(images))
        score: Tensor = found.anomaly_map.flatten(1).amax(1) if found.pred_score is None else found.pred_score
        # By its shape, as len(images) would fix the batch of an exported program.
        return score.flatten() if all(size == 1 for size in score.shape[1:]) else score


def detector(module: AnomalibModule) -> Detector:
    """The detector in a Lightning model; shares its weights."""
    return Detector(
        module.pre_processor.transform if module.pre_processor else None, module.model, decision(module.post_processor)
    )


def decision(post_processor: Any) -> float | None:
    """The raw score up to which a post-processor flags nothing and above which it flags every image.

    Found by bisection over all float32 numbers, as normalisation, sensitivity and rounding all move it. None if it
    decides nothing: it has no threshold, saw no validation images, or gives all scores the same decision.
    """
    from anomalib.data import InferenceBatch

    if post_processor is None or not getattr(post_processor, "enable_thresholding", False):
        return None
    if post_processor.image_threshold.isnan() and post_processor.image_min.isnan():
        return None

    def flagged(place: int) -> bool:
        return bool(post_processor(InferenceBatch(pred_score=_float(place).reshape(1))).pred_label)

    low, high = -LARGEST, LARGEST
    if flagged(low) or not flagged(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if flagged(middle) else (middle, high)
    return float(_float(low))


def _float(place: int) -> Tensor:
    """The float32 at a place in the order of all of them, 0 being that of 0.0."""
    value = torch.tensor(abs(place), dtype=torch.int32).view(torch.float32)
    return value if place >= 0 else -value
