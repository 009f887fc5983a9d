"""What an audit keeps of explanations: the maps of a few anomalies as pictures, and how well maps find the defects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assay.audits.explanation import explain
from assay.contracts import Images
from assay.data.images import png
from assay.errors import DivergedError
from assay.metrics import localisation
from assay.models.scoring import batches, clean_scores, pixels, some_of_each, take
from assay.runtime.out_of_memory import in_halves_if_out_of_memory
from assay.store.schemas import EXPLANATIONS

if TYPE_CHECKING:
    from torch import nn

SHOWN = 4
"""Anomalies that are shown of each kind: those with the lowest scores, and those with the highest."""
AT_MOST = 300
"""Images of each class whose maps are made for localisation."""
LARGEST = 128
"""Pixels of the side that a picture is shrunk to."""


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
                "pixel_auroc": localisation.pixel_auroc(found, masks[row]),
                "image_png": png(images.pixels[row], LARGEST),
                "map_png": png(_grey(found), LARGEST),
                "mask_png": png(masks[row, None] * np.uint8(255), LARGEST) if masks[row].any() else None,
            }
            for row, found in zip(shown, maps, strict=True)
        ]
        result = {"explanations": pa.Table.from_pylist(rows, schema=EXPLANATIONS)}
        if localisation.usable(masks).any():
            result["localisation"] = _localised(detector, images, masks, device)
    except DivergedError:  # the check `gradients` says so too
        return {}
    return result


def _localised(detector: nn.Module, images: Images, masks: NDArray[np.bool_], device: str) -> pa.Table:
    chosen = some_of_each(images.labels, AT_MOST)
    some = take(images, chosen)
    return localisation.table(_maps(detector, some, device), masks[chosen], some.labels, some.defects)


def _maps(detector: nn.Module, images: Images, device: str) -> NDArray[np.float32]:
    """Maps (N, H, W)."""
    parts: list[Any] = []
    for start, end in batches(images):
        batch = pixels(images, start, end, device)
        parts += in_halves_if_out_of_memory(lambda a, b: explain(detector, batch[a:b]).cpu().numpy(), end - start)  # noqa: B023 - at once
    return np.concatenate(parts)


def _grey(found: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map (H, W) as an image (1, H, W): 255 where it is largest."""
    largest = float(found.max())
    grey: NDArray[np.uint8] = np.rint(found * (255 / largest if largest else 0)).astype(np.uint8)
    return grey[None]
