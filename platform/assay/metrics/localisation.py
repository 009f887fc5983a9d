"""Whether a map of an image points at the defect: pixel AUROC and AUPRO against masks, over anomalous images.

Pixel AUROC is averaged over images (Pang et al. 2021, "Explainable Deep Few-shot Anomaly Detection with Deviation
Networks", released code). AUPRO is how much of every defect a map covers, averaged over defects of any size, at few
false alarms (Bergmann et al. 2021, "The MVTec Anomaly Detection Dataset", section 5). A map is cut at a threshold; the
overlap is the share of each region above it, the false-alarm rate the share of all defect-free pixels above it. AUPRO
is the area under the one over the other up to a rate of 0.3, divided by 0.3; an uninformative map has 0.15. Regions are
the connected parts of the masks, corners included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.ndimage import label as connected_parts

from assay.contracts import Dataset
from assay.data import image_size
from assay.data import masks as mask_files
from assay.errors import DataError
from assay.metrics import bootstrap
from assay.metrics import groups as grouping
from assay.metrics.detection import auroc
from assay.metrics.groups import Groups
from assay.metrics.intervals import wilson
from assay.store.schemas import LOCALISATION

RESAMPLES = 1000
CONFIDENCE = 0.95
ALL = "all"
FEWEST = 30
"""Images, or groups of them, that an interval needs: of fewer it is far too narrow (of 5 images a fifth miss)."""
LIMIT = 0.3
"""The false-alarm rate up to which AUPRO is measured."""
LEVELS = np.concatenate([np.linspace(0, LIMIT, 100), np.linspace(LIMIT, 1, 15)[1:]])
"""False-alarm rates, of all images together, at whose thresholds the curve is known."""

Floats = NDArray[np.float64]


class Localisation(NamedTuple):
    """Mean pixel AUROC, over how many images, and how many have none: their mask marks no pixel or every pixel."""

    auroc: float
    images: int
    left_out: int


def masks(dataset: Dataset, ids: Sequence[str]) -> NDArray[np.bool_]:
    """The defect masks (N, H, W) of samples by id at the dataset's image size; all False where there is no mask.

    Raises DataError for an id that is not there and a mask that cannot be decoded or does not fit its image.
    """
    samples = {sample.id: sample for sample in dataset.samples}
    if unknown := [id_ for id_ in ids if id_ not in samples]:
        raise DataError(f"{dataset.name}: no sample is called {unknown[0]}, so it has no mask")
    size = image_size.of(dataset)
    return np.array([mask_files.mask(samples[id_], size, dataset.mask_above, dataset.fit) for id_ in ids]).reshape(
        len(ids), *size
    )


def localisation(maps: NDArray[np.floating], marked: NDArray[np.bool_]) -> Localisation:
    """How well maps (N, H, W), higher is more anomalous, find what masks (N, H, W) of anomalous images mark.

    An image whose mask marks nothing or everything has no AUROC and is left out, and counted. Raises DataError where
    all are left out, the shapes differ or a map is not a number.
    """
    if maps.shape != marked.shape:
        raise DataError(f"maps {maps.shape} and masks {marked.shape} must have the same shape (N, H, W)")
    able = np.flatnonzero(usable(marked))
    if not len(able):
        raise DataError(f"none of {len(marked)} masks marks a part of its image, so nothing can be localised")
    aurocs = [pixel_auroc(maps[row], marked[row]) for row in able]
    return Localisation(float(np.mean(aurocs)), len(able), len(marked) - len(able))


def usable(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,) whether each mask (N, H, W) marks a part of its image: some pixels, not all."""
    share: Floats = marked.reshape(len(marked), -1).mean(axis=1)
    return (share > 0) & (share < 1)


def pixel_auroc(anomaly_map: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """How well a map (H, W) tells the pixels of a mask (H, W) from the others; NaN where it marks none or all."""
    if not usable(mask[None])[0]:
        return float("nan")
    return auroc(mask.ravel().astype(np.int64), anomaly_map.ravel())


def table(
    maps: NDArray[np.floating],
    marked: NDArray[np.bool_],
    labels: NDArray[np.int64],
    defects: Sequence[str],
    *,
    groups: Sequence[str | None] | None = None,
    seed: int = 0,
) -> pa.Table:
    """LOCALISATION of maps (N, H, W) of normals (label 0) and anomalies (1), of all and of each kind of defect.

    pixel_auroc: as in `localisation`; 0.5 is chance. aupro: its defect-free pixels are those of these images and of the
    normals. Intervals: percentiles over images redrawn within their class, widened to Wilson's over the images, as
    a few maps may miss their defect wholly; NaN for fewer than FEWEST of them.
    groups: the physical part that each image shows; parts are then redrawn and counted, not images.
    """
    able = usable(marked) & (labels == 1)
    numbers = np.arange(len(labels)) if groups is None else grouping.codes(groups)
    one = np.array([pixel_auroc(*pair) if there else np.nan for *pair, there in zip(maps, marked, able, strict=True)])
    curve, kinds = curves(maps, marked), np.array(defects, dtype=object)
    shown = sorted(set(kinds[able]))
    rows = []
    for kind in [ALL, *(shown if len(shown) > 1 else [])]:
        of_kind = (labels == 1) & ((kinds == kind) | (kind == ALL))
        mine, normals = np.flatnonzero(able & of_kind), np.flatnonzero(labels == 0)
        _, codes = np.unique(np.concatenate([numbers[mine], numbers[normals]]), return_inverse=True)
        held = Groups(codes[len(mine) :], codes[: len(mine)])
        weights = _weights(len(labels), mine, normals, held, seed)
        counted = {
            "defect": kind,
            "confidence": CONFIDENCE,
            "images": len(mine),
            "regions": int(curve.regions[mine].sum()),
            "left_out": int(of_kind.sum()) - len(mine),
            "normals": len(normals),
        }
        for metric, values in (
            ("pixel_auroc", weights[:, mine] @ one[mine] / weights[:, mine].sum(axis=1)),
            ("aupro", overlap(curve, weights)),
        ):
            low, high = _bounds(values, held)
            rows.append({**counted, "metric": metric, "value": values[0], "lower": low, "upper": high})
    return pa.Table.from_pylist(rows, schema=LOCALISATION)


def _bounds(values: Floats, held: Groups) -> tuple[float, float]:
    """Of a mean of numbers in [0, 1], one for each image: its value first, then those of the resamples."""
    if held.counts[1] < FEWEST:
        return np.nan, np.nan
    low, high = bootstrap.percentiles(values[1:], CONFIDENCE)
    least, most = wilson(float(values[0]), held.worth.anomalies, CONFIDENCE)
    return min(low, least), max(high, most)


def _weights(count: int, anomalies: NDArray[np.int64], normals: NDArray[np.int64], held: Groups, seed: int) -> Floats:
    """(1 + RESAMPLES, N) how often each image counts: once in the first row, as often as its group was drawn after."""
    random = np.random.default_rng(seed)
    drawn = np.ones((1 + RESAMPLES, len(held.holds)))
    for kind in (grouping.ANOMALOUS, grouping.NORMAL, grouping.BOTH):
        at = np.flatnonzero(held.holds == kind)
        if len(at):
            drawn[1:, at] = random.multinomial(len(at), np.full(len(at), 1 / len(at)), size=RESAMPLES)
    weights = np.zeros((1 + RESAMPLES, count))
    weights[:, anomalies], weights[:, normals] = drawn[:, held.anomalies], drawn[:, held.normals]
    return weights


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
    for row, (anomaly_map, mask) in enumerate(zip(maps, marked, strict=True)):
        false[row] = np.searchsorted(np.sort(-anomaly_map[~mask]), falling, side="right")
        parts, count = connected_parts(mask, structure=np.ones((3, 3)))
        regions[row] = count
        for number in range(1, count + 1):
            inside = np.sort(-anomaly_map[parts == number])
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
