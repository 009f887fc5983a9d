"""What is exported: everything between a decoded image and a decision, in one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assay.deploy.resize import Resize

INPUT = "images"
OUTPUTS = ("score", "decision", "map")
"""In this order; the last only of a detector that has a map."""


class Pipeline(nn.Module):
    """Images uint8 (B, C, H, W) of any size -> score (B,), decision (B,) bool and, where there is one, map (B, h, w).

    detector: images (B, C, height, width) in [0, 1] -> scores (B,), higher is more anomalous. A decision is true for a
    score above the threshold. The map has the detector's own places and is on its own scale.
    """

    threshold: Tensor

    def __init__(self, detector: nn.Module, height: int, width: int, threshold: float) -> None:
        super().__init__()
        self.detector = detector
        self.resize = Resize(height, width)
        self.register_buffer("threshold", torch.tensor(threshold, dtype=torch.float32))
        self.outputs = OUTPUTS if hasattr(detector, "score_and_map") else OUTPUTS[:2]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The outputs by their order in `outputs`."""
        pixels = self.resize(images) / 255
        if len(self.outputs) == len(OUTPUTS):
            score, places = self.detector.score_and_map(pixels)  # type: ignore[operator]
            return score, score > self.threshold, places
        score = self.detector(pixels)
        return score, score > self.threshold
