"""Where a detector looks: maps of a few anomalies as pictures, and how well maps find the defects.

A map is the gradient of the score with respect to the pixels, smoothed. Source: Pang et al. 2021, "Explainable Deep
Few-shot Anomaly Detection with Deviation Networks", section 3.5, and its released code for the clipping and the
smoothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from assay.contracts import Images
from assay.data.images import png
from assay.data.reduced import take
from assay.errors import DivergedError, InputError
from assay.metrics import localisation
from assay.models.scoring import batches, clean_scores, pixels, some_of_each
from assay.runtime.out_of_memory import in_halves_if_out_of_memory
from assay.store.schemas import EXPLANATIONS

SHOWN = 4
"""Anomalies that are shown of each kind: those with the lowest scores, and those with the highest."""
AT_MOST, FEWEST = 300, 4
"""Images of each class whose maps are made for localisation: of up to 512 x 512 pixels, and of any size."""
LARGEST = 128
"""Pixels of the side that a picture is shrunk to."""
PERCENTILE = 0.99
SIGMA = 4.0
REACH = 4.0  # deviations at which the Gaussian is cut off


def tables(detector: nn.Module, images: Images, masks: NDArray[np.bool_], device: str = "cpu") -> dict[str, pa.Table]:
    """`explanations`, and `localisation` where a mask (N, S, S) marks a part of an image; nothing of a broken gradient.

    detector: one whose score has a gradient with respect to the pixels.
    """
    scores = clean_scores(detector, images, device)
    ranked = sorted(np.flatnonzero(images.labels == 1).tolist(), key=lambda row: (scores[row], images.ids[row]))
    shown = ranked if len(ranked) <= 2 * SHOWN else ranked[:SHOWN] + ranked[-SHOWN:]
    try:
        maps = _maps(detector, take(images, shown), device)
        rows = [
            {
                "sample": images.ids[row],
                "label": 1,
                "defect": images.defects[row],
                "score": float(scores[row]),
                "place": ranked.index(row) + 1,
                "anomalies": len(ranked),
                "pixel_auroc": localisation.pixel_auroc(heat, masks[row]),
                "image_png": png(images.pixels[row], LARGEST),
                "map_png": png(_grey(heat), LARGEST),
                "mask_png": png(masks[row, None] * np.uint8(255), LARGEST) if masks[row].any() else None,
            }
            for row, heat in zip(shown, maps, strict=True)
        ]
        result = {"explanations": pa.Table.from_pylist(rows, schema=EXPLANATIONS)}
        if localisation.usable(masks).any():
            result["localisation"] = _localised(detector, images, masks, device)
    except DivergedError:  # the check `gradients` says so too
        return {}
    return result


def _localised(detector: nn.Module, images: Images, masks: NDArray[np.bool_], device: str) -> pa.Table:
    height, width = images.pixels.shape[2:]
    chosen = some_of_each(images.labels, min(AT_MOST, max(FEWEST, AT_MOST * 512**2 // (height * width))))
    some = take(images, chosen)
    maps = _maps(detector, some, device)
    return localisation.table(maps, masks[chosen], some.labels, some.defects, groups=some.group_names)


def _maps(detector: nn.Module, images: Images, device: str) -> NDArray[np.float32]:
    """Maps (N, H, W)."""
    parts: list[NDArray[np.float32]] = []
    for start, end in batches(images):
        batch = pixels(images, start, end, device)
        parts += in_halves_if_out_of_memory(lambda a, b: explain(detector, batch[a:b]).cpu().numpy(), end - start)  # noqa: B023 - at once
    return np.concatenate(parts)


def _grey(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map (H, W) as an image (1, H, W): 255 where it is largest."""
    largest = float(heat.max())
    grey: NDArray[np.uint8] = np.rint(heat * (255 / largest if largest else 0)).astype(np.uint8)
    return grey[None]


def explain(score: Callable[[Tensor], Tensor], images: Tensor, *, sigma: float = SIGMA) -> Tensor:
    """How much each pixel of images (B, C, H, W) moves its score: (B, H, W), at least 0, in score per unit of pixel.

    The absolute gradient, summed over channels, clipped at the 99th percentile of its image and smoothed by a Gaussian
    of `sigma` pixels (0: not at all). Weights get no `.grad`.
    Raises InputError for a score that has no gradient, DivergedError for a gradient that is not finite.
    """
    with torch.enable_grad():
        pixels = images.detach().clone().requires_grad_(True)
        scores = score(pixels)
        if not scores.requires_grad:
            raise InputError("the detector's score has no gradient with respect to the pixels, so none explains it")
        (gradient,) = torch.autograd.grad(scores.sum(), pixels)
    if not gradient.isfinite().all():
        raise DivergedError("the gradient of the score is not finite; the detector is broken for these images")
    strength = gradient.abs().sum(dim=1)
    tops = [float(np.quantile(one.cpu().numpy(), PERCENTILE)) for one in strength]  # torch's takes no large image
    clipped = torch.stack([one.clamp_max(top) for one, top in zip(strength, tops, strict=True)])
    return smooth(clipped, sigma)


def smooth(maps: Tensor, sigma: float) -> Tensor:
    """Maps (B, H, W) after a Gaussian filter of deviation `sigma` in pixels, the border's values going on outside."""
    if sigma <= 0:
        return maps
    radius = math.ceil(REACH * sigma)
    at = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.softmax(-(at**2) / (2 * sigma**2), dim=0)
    padded = F.pad(maps[:, None], (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0]
