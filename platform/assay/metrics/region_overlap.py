"""AUPRO: how much of every defect a map covers, averaged over defects of any size, at few false alarms.

A map is cut at a threshold; the overlap is the share of each region that lies above it, the false-alarm rate the share
of all defect-free pixels that do. AUPRO is the area under the one over the other up to a rate of 0.3, divided by 0.3;
a map that knows nothing has 0.15. Regions are the connected parts of the masks, over corners too.
Source: Bergmann et al. 2021, "The MVTec Anomaly Detection Dataset", section 5.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

LIMIT = 0.3
LEVELS = np.concatenate([np.linspace(0, LIMIT, 100), np.linspace(LIMIT, 1, 15)[1:]])
"""False-alarm rates, of all images together, at whose thresholds the curve is known."""

Floats = NDArray[np.float64]


class Curves(NamedTuple):
    """Of each image at each threshold (N, K): false pixels, summed overlap; (N,): defect-free pixels, regions."""

    false: Floats
    covered: Floats
    free: Floats
    regions: Floats


def curves(maps: NDArray[np.floating], marked: NDArray[np.bool_]) -> Curves:
    """Of maps (N, H, W), higher is more anomalous, and masks (N, H, W); an image without a mask is all defect-free."""
    free = maps[~marked]
    falling = -np.append(np.nextafter(free.max(), np.inf), np.quantile(free, 1 - LEVELS))  # the first: no false pixel
    false, covered = np.zeros((2, len(maps), len(falling)))
    regions = np.zeros(len(maps))
    for row, (found, mask) in enumerate(zip(maps, marked, strict=True)):
        false[row] = np.searchsorted(np.sort(-found[~mask]), falling, side="right")
        parts, count = label(mask, structure=np.ones((3, 3)))
        regions[row] = count
        for number in range(1, count + 1):
            inside = np.sort(-found[parts == number])
            covered[row] += np.searchsorted(inside, falling, side="right") / len(inside)
    return Curves(false, covered, (~marked).sum(axis=(1, 2)).astype(np.float64), regions)


def overlap(of: Curves, weights: Floats) -> Floats:
    """AUPRO (R,) of images that count as often as each row of weights (R, N) says."""
    rates = weights @ of.false / (weights @ of.free)[:, None]
    heights = weights @ of.covered / (weights @ of.regions)[:, None]
    grid = np.linspace(0, LIMIT, 200)
    rows = zip(rates, heights, strict=True)
    at = np.array([np.interp(grid, rate, height) for rate, height in rows])
    area: Floats = np.trapezoid(at, grid, axis=1) / LIMIT
    return area
