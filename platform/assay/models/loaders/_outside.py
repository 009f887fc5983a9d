"""Wraps a detector from outside as an nn.Module with float32 scores, higher is more anomalous."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

KNOWN = ("score_with", "certify", "CERTIFIES", "MONOTONE", "decomposed")
"""What attacks and certificates use besides the score (contracts.SoftNeighbours, Certified, Monotone)."""
ALWAYS = ("threshold", "closed_places")
"""What a detector brings along whatever its highest scores mean: its threshold on its own scale, and the places in its
forward where gradients are turned off (assay.interop.open_gradients)."""


class Outside(nn.Module):
    """Any callable images (B, C, H, W) -> scores (B,), as float32, negated if normal images score highest.

    runs: how a file is run where its card did not say, for the manifest: the output that is the score, the precision.
    black_box: why there is no gradient, where that is known beforehand.
    """

    def __init__(
        self,
        inner: Callable[[Tensor], Any],
        higher_is: str,
        runs: Mapping[str, Any] = MappingProxyType({}),
        black_box: str | None = None,
    ) -> None:
        super().__init__()
        self.runs, self.black_box = dict(runs), black_box
        self.inner = inner
        self.sign = -1.0 if higher_is == "normal" else 1.0
        for name in KNOWN:
            if self.sign > 0 and hasattr(inner, name):  # certificates do not hold for a negated score
                setattr(self, name, getattr(inner, name))
        for name in ALWAYS:
            if isinstance(value := getattr(inner, name, None), int | float | dict):
                setattr(self, name, value)

    def forward(self, images: Tensor) -> Any:
        """Scores (B,) float32; anything that is not a numeric tensor is returned unchanged, for preflight to report."""
        scores = self.inner(images)
        if isinstance(scores, Tensor) and scores.is_floating_point():
            return self.sign * scores.float()
        return scores


def weights_hash(detector: nn.Module) -> str | None:
    """SHA-256 over all weights and buffers by name, type, shape and bytes; None if there are none."""
    total, count = hashlib.sha256(), 0
    for name, tensor in sorted([*detector.named_parameters(), *detector.named_buffers()], key=lambda pair: pair[0]):
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\0".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        count += 1
    return total.hexdigest() if count else None
