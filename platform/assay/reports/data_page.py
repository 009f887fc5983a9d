"""What was read of a dataset as one self-contained HTML page, with a contact sheet on which masks are drawn."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation

from assay.contracts import Dataset, Sample
from assay.data import file_facts, masks
from assay.data.images import RESAMPLING, open_image, pixels_of, png
from assay.data.splits import SPLITS
from assay.data.summary import Summary
from assay.reports.sections._html import ENVIRONMENT, style

SIDE = 160
"""Pixels of the longer side of a picture on the sheet."""
PER_KIND = 6
"""Pictures of each kind in each split."""
LINE = (230, 0, 126)
"""Colour of the outline of a mask: seen on grey, dark and light, and rare in images."""


class Picture(NamedTuple):
    """One image of the sheet: a PNG in base64, its id, and what is said under it."""

    png: str
    id: str
    note: str


class Row(NamedTuple):
    """Pictures of one kind in one split, and how many there are."""

    split: str
    kind: str
    images: int
    pictures: Sequence[Picture]


def render(summary: Summary, dataset: Dataset) -> str:
    """The page; raises DataError for an image or a mask that cannot be read."""
    templates = resources.files("assay.reports") / "templates"
    page = ENVIRONMENT.from_string((templates / "data.html").read_text(encoding="utf-8"))
    kinds = list(dict.fromkeys(kind for of in summary.counts.values() for kind in of))
    return page.render(summary=summary, css=style(), kinds=kinds, rows=_rows(dataset))


def _rows(dataset: Dataset) -> list[Row]:
    rows: dict[tuple[int, bool, str], list[Sample]] = {}
    for sample in dataset.samples:
        kind = sample.defect if sample.label else "normal"
        rows.setdefault((SPLITS.index(sample.split), bool(sample.label), kind), []).append(sample)
    return [
        Row(SPLITS[split], kind, len(of), list(file_facts.in_parallel(lambda s: _picture(s, dataset), _some(of))))
        for (split, _, kind), of in sorted(rows.items())
    ]


def _some(samples: Sequence[Sample]) -> list[Sample]:
    """A few of them, evenly apart, the first and the last included."""
    places = np.linspace(0, len(samples) - 1, min(PER_KIND, len(samples)))
    return [samples[round(place)] for place in places]


def _picture(sample: Sample, dataset: Dataset) -> Picture:
    image = open_image(sample.path, dataset.bit_depth)
    shrink = min(1.0, SIDE / max(image.size))
    width, height = (max(1, round(side * shrink)) for side in image.size)
    note = f"{image.height} x {image.width}"
    small = image.resize((width, height), RESAMPLING)
    if not sample.masks:
        return _made(pixels_of(small, 1 if small.mode == "L" else 3), sample, note)
    marked = masks.mask(sample, (height, width), dataset.mask_above)
    pixels = np.array(small.convert("RGB"))
    pixels[binary_dilation(marked, iterations=2) & ~marked] = LINE
    share = f"{marked.mean():.1%} marked" if marked.any() else "its mask marks nothing"
    return _made(pixels_of(Image.fromarray(pixels), 3), sample, f"{note}, {share}")


def _made(pixels: np.ndarray, sample: Sample, note: str) -> Picture:
    return Picture(base64.b64encode(png(pixels)).decode("ascii"), sample.id, note)
