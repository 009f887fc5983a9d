"""Whether a map of an image points at the defect: pixel AUROC against masks, averaged over anomalous images.

Source: Pang et al. 2021, "Explainable Deep Few-shot Anomaly Detection with Deviation Networks", released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.contracts import Dataset
from assay.errors import DataError
from assay.images import decode_mask
from assay.metrics import auroc


class Localisation(NamedTuple):
    """Mean pixel AUROC, over how many images, and how many have none: their mask marks no pixel or every pixel."""

    auroc: float
    images: int
    left_out: int


def masks(dataset: Dataset, ids: Sequence[str]) -> NDArray[np.bool_]:
    """The defect masks (N, S, S) of samples by id at the dataset's image size; all False where there is no mask.

    A mask is a grey image, brighter than 127 where the defect is. Raises DataError for an id that is not there and a
    mask that cannot be decoded.
    """
    size, of = dataset.image_size, {sample.id: sample.mask for sample in dataset.samples}
    unknown = [id_ for id_ in ids if id_ not in of]
    if unknown:
        raise DataError(f"{dataset.name}: no sample is called {unknown[0]}, so it has no mask")
    found = np.zeros((len(ids), size, size), dtype=np.bool_)
    for row, id_ in enumerate(ids):
        mask = of[id_]
        if mask is not None:
            found[row] = decode_mask(mask, size=size)[0]
    return found


def localisation(maps: NDArray[np.floating], marked: NDArray[np.bool_]) -> Localisation:
    """How well maps (N, H, W), higher is more anomalous, find what masks (N, H, W) of anomalous images mark.

    An image whose mask marks nothing or everything has no AUROC and is left out, and counted. Raises DataError where
    all are left out, the shapes differ or a map is not a number.
    """
    if maps.shape != marked.shape:
        raise DataError(f"maps {maps.shape} and masks {marked.shape} must have the same shape (N, H, W)")
    able = [row for row, mask in enumerate(marked) if 0 < mask.sum() < mask.size]
    if not able:
        raise DataError(f"none of {len(marked)} masks marks a part of its image, so there is nothing to find")
    found = [auroc(marked[row].ravel().astype(np.int64), maps[row].ravel()) for row in able]
    return Localisation(float(np.mean(found)), len(able), len(marked) - len(able))
