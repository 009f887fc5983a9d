"""Local pixels: patches against train patches at their place, and pixels beyond the extremes of the train pixels.

Source: nearest patches as in PatchCore (Roth et al. 2022, section 3), on plain pixels and by place, each with a proof.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from assay.contracts import TrainingData
from assay.errors import InputError
from assay.fitted import Fitted
from assay.units import Count, Fraction, NonNegative
from trainables import _local_pixels
from trainables._coreset import kept

BYTES = 2**31
"""The most that a bank may take."""
COMPARED = 512
"""Train patches of a place, at most, whose own distances say what is usual there."""


class LocalPixels(Fitted):
    """Distance of patches to train patches at their place, and of pixels to the train pixels; nothing is trained."""

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        size: Annotated[int, Ge(2), Le(64)] = 4,
        k: Count = 3,
        patches: NonNegative = 2.0,
        extremes: NonNegative = 1.0,
        polarity: Literal["dark", "bright", "both"] = "both",
        places: Literal["same", "shared"] = "same",
        quantile: Fraction = 0.95,
        extreme_quantile: Fraction = 0.97,
        bank: Fraction = 1.0,
    ) -> None:
        """Fit to the train normals.

        size: side of a patch in pixels. k: neighbours averaged. patches, extremes: weights of the two parts; 0 leaves
        one out. polarity: whether defects are darker or brighter than normals, or either. It is knowledge of the
        defects: choose one direction by labelled validation anomalies only, else leave `both`. places: compare with
        train patches of the same place, or of all. quantile, extreme_quantile: of the train images' own values at a
        place, what counts as usual there. bank: share of the train images kept, as a coreset.
        Of a single train image nothing is usual: its own pixels and patches are the limit.
        Raises InputError for patches larger than an image, both weights 0, or a bank that does not fit in memory.
        """
        pixels = data.train.pixels
        count, channels, side = pixels.shape[:3]
        if size > side:
            raise InputError(f"size {size} is larger than the images, {side} pixels; choose a smaller patch")
        if not patches and not extremes:
            raise InputError("the weights patches and extremes are both 0, so nothing is scored; raise one of them")
        needed = round(bank * count) * channels * side * side * 4
        if patches and needed > BYTES:
            raise InputError(
                f"a bank of {round(bank * count)} images takes {needed / 2**30:.1f} GiB, more than "
                f"{BYTES / 2**30:.0f}; set `bank` to {BYTES / needed * bank:.2f} or less"
            )
        images = torch.from_numpy(pixels.copy()).to(device).float().div_(255)
        network = _local_pixels.LocalPixels(
            channels,
            side,
            size=size,
            k=k,
            patches=patches,
            extremes=extremes,
            polarity=polarity,
            places=places,
        )
        network = network.to(device).eval()
        network.median = images.median(dim=0).values
        network.usual = torch.quantile(network.beyond(images), extreme_quantile, dim=0)
        if patches:
            stored = images if bank == 1 else images[kept(images.flatten(1), bank, seed)]
            network.bank = network.rows(stored).contiguous()
            network.patch_usual = torch.stack([_usual(rows, k, quantile, seed) for rows in network.bank])
        self.network = network.requires_grad_(False)

    @classmethod
    def build(
        cls,
        *,
        channels: int,
        image_size: int,
        size: int,
        k: int,
        patches: float,
        extremes: float,
        polarity: str,
        places: str,
        **unused: Any,
    ) -> nn.Module:
        """A detector of the same shape with an empty bank."""
        return _local_pixels.LocalPixels(
            channels,
            image_size,
            size=size,
            k=k,
            patches=patches,
            extremes=extremes,
            polarity=polarity,
            places=places,
        )


def _usual(rows: Tensor, k: int, quantile: float, seed: int) -> Tensor:
    """The quantile of the distances of train patches (N, P) of a place to the k nearest others."""
    if len(rows) == 1:
        return rows.new_zeros(())
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:COMPARED].to(rows.device)
    squares = torch.cdist(rows[order], rows, compute_mode="donot_use_mm_for_euclid_dist").square() / rows.shape[1]
    squares[torch.arange(len(order), device=rows.device), order] = torch.inf  # none is its own neighbour
    nearest = squares.topk(min(k, len(rows) - 1), dim=1, largest=False).values
    return torch.quantile(nearest.mean(dim=1).sqrt(), quantile)
