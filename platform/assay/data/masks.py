"""Defect masks: which pixels of an image are marked, in whatever way the mask was stored.

A mask is read as strengths at its own size: grey values as they are (of 8 or 16 bits, never rescaled), the brightest
channel of a colour or of a palette's colour, or, where transparency varies, the opacity. A pixel is marked where its
strength is above a threshold, one for all masks of a dataset: see `threshold`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.contracts import Fit, Sample
from assay.data.images import SUFFIXES, composed, on_disk, refuse_odd_names, stored, turned
from assay.data.shrinking import Rule, shrunk
from assay.errors import DataError

SHOWN = 5
MOST, NEARLY_ALL = 0.5, 0.95
"""Shares of an image above which a mask marks so much that it may be inverted, and that it says no place."""


@dataclass(frozen=True)
class Findings:
    """What the masks of a dataset were found to be.

    above: the threshold of their strengths. empty: how many mark nothing. notices: sentences for the user.
    """

    above: int
    empty: int
    notices: tuple[str, ...]


def values(path: Path) -> list[int]:
    """The strengths that occur in a mask file, smallest first; raises DataError where it can't be decoded."""
    return [int(value) for value in np.unique(_strengths(stored(path)[0]))]


def threshold(largest: int) -> int:
    """The strength above which a pixel is marked, by the largest strength of all masks of a dataset.

    Masks that hold nothing brighter than 127 were stored as 0 and 1, as class numbers or dimly: all above 0 is marked.
    """
    if largest <= 127:
        return 0
    return 127 if largest <= 255 else largest // 2


def mask(sample: Sample, size: tuple[int, int], above: int, fit: Fit = "stretch") -> NDArray[np.bool_]:
    """The marked pixels (H, W) of a sample at `size` (height, width); all False for a sample without a mask.

    fit: how the image itself was shrunk.

    A pixel is marked where it covers anything that is marked at native size, so that thin defects are kept. Several
    masks are united. Raises DataError for a mask that cannot be read or does not fit its image.
    """
    united = np.zeros(size, dtype=np.bool_)
    for path in sample.masks:
        marked = Image.fromarray((_fitted(path, sample.path).strengths > above).astype(np.float32))
        united |= np.asarray(shrunk(marked, size, Rule(fit), Image.Resampling.BOX)) > 0
    return united


def examined(samples: Iterable[Sample], above: int | None = None, large_defects: bool = False) -> Findings:
    """Read all masks of a dataset once and say what they are.

    above: the threshold of their strengths, where the owner knows it; else it is found. large_defects: the owner says
    that defects cover most of their image. Raises DataError for masks that cannot be read, do not fit their
    images, all mark nothing, or mostly mark more than half of their image.
    """
    counted: dict[str, list[tuple[NDArray[np.uint16], NDArray[np.intp]]]] = {}
    resized, turned_too, turned_alone = [], [], []
    for sample in samples:
        for path in sample.masks:
            fitted = _fitted(path, sample.path)
            counted.setdefault(sample.id, []).append(np.unique(fitted.strengths, return_counts=True))
            resized += [sample.id] if fitted.resized else []
            turned_too += [sample.id] if fitted.turned else []
            turned_alone += [sample.id] if fitted.alone else []
    every = [values for of in counted.values() for values, _ in of]
    if not every:
        return Findings(127 if above is None else above, 0, ())
    largest = max(int(values.max()) for values in every)
    notices = []
    if above is None:
        above = threshold(largest)
        if above == 0:
            notices.append(
                f"no mask holds a value above {largest}: a pixel above {above} is taken as marked "
                "(`mask_above` sets another value)"
            )
    if largest <= above:
        raise DataError(
            f"none of {len(every)} masks marks anything: the largest value is {largest}, and a pixel above {above} is "
            "marked; set `mask_above`, or remove the masks"
        )
    shares = {
        id_: max(float(counts[values > above].sum() / counts.sum()) for values, counts in of)
        for id_, of in counted.items()
    }
    crowded = [id_ for id_, share in shares.items() if share > MOST]
    if not large_defects and 2 * len(crowded) > len(shares):
        raise DataError(
            f"{len(crowded)} of {len(shares)} masks mark more than half of their image: {named(crowded)}. If they mark "
            "what is sound, invert the files; if the defects are that large, set `large_defects: true`"
        )
    empty = [id_ for id_, share in shares.items() if share == 0]
    for ids, what in (
        (empty, "mark nothing"),
        ([id_ for id_, share in shares.items() if share > NEARLY_ALL], "mark nearly all of their image"),
        (
            [] if large_defects else [id_ for id_ in crowded if shares[id_] <= NEARLY_ALL],
            "mark more than half of their image (if they mark what is sound, invert them)",
        ),
        (resized, "have another size than their image, and are scaled to it"),
        (turned_too, "are turned as the EXIF tag of their image says"),
        (turned_alone, "are turned as their own EXIF tag says, which their image does not have"),
    ):
        if ids:
            notices.append(f"{len(ids)} masks {what}: {named(ids)}")
    return Findings(above, len(empty), tuple(notices))


def named(items: Sequence[str]) -> str:
    """The first five, and how many more there are."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more


def by_name(folder: Path, stems: Sequence[str], endings: Sequence[str] = ("_mask", "")) -> Mapping[str, list[Path]]:
    """Stem of an image -> its masks in `folder`: `STEM_mask.png`, `STEM.png`, or all files of a folder STEM.

    Masks are found by name, never by their order. Raises DataError where two files could be the mask of one image, or
    one that of two images.
    """
    folder = folder.parent / on_disk(folder.parent, folder.name)
    if not folder.is_dir():
        return {}
    there: dict[str, list[Path]] = {}
    files = sorted(folder.iterdir())
    refuse_odd_names([path.name for path in files], folder)
    for path in files:
        if path.is_dir() and not path.name.startswith("."):
            there.setdefault(composed(path.name), []).extend(filter(_may_be_mask, sorted(path.iterdir())))
        elif _may_be_mask(path):
            there.setdefault(composed(path.stem), []).append(path)
    chosen: dict[str, list[Path]] = {}
    for stem in stems:
        names = [composed(stem) + ending for ending in endings]
        found = [there[name] for name in names if there.get(name)]
        if len(found) > 1:
            both = [path.name for paths in found for path in paths]
            raise DataError(f"{folder}: {named(both)} could all be the mask of {stem}; keep one of them")
        if found:
            chosen[stem] = found[0]
    counts = Counter(map(composed, stems))
    if torn := sorted(stem for stem in chosen if counts[composed(stem)] > 1):
        raise DataError(
            f"{folder}: the masks of {named(torn)} could each be of two images, whose names differ in their suffix "
            "alone; rename one of the images"
        )
    return chosen


def _may_be_mask(path: Path) -> bool:
    """Whether a file counts as an image: what tools of labelling leave beside masks (JSON, XML, text) does not."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _strengths(image: Image.Image) -> NDArray[np.uint16]:
    """(H, W) strengths of a decoded image file, as the module says."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return np.asarray(image).astype(np.uint16)
    if image.has_transparency_data:
        opacity = np.asarray(image.convert("RGBA"))[..., 3]
        if opacity.min() < opacity.max():
            return opacity.astype(np.uint16)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L")).astype(np.uint16)
    brightest: NDArray[np.uint8] = np.asarray(image.convert("RGB")).max(axis=2)
    return brightest.astype(np.uint16)


class _Fitted(NamedTuple):
    """The strengths of a mask; whether it has another size than its image, was turned as that, or turned alone."""

    strengths: NDArray[np.uint16]
    resized: bool
    turned: bool
    alone: bool


def _fitted(path: Path, of: Path) -> _Fitted:
    """A mask turned like the image that it belongs to; raises DataError where it doesn't fit."""
    image, turn = stored(of, header_only=True)
    lying = image.size
    shown = lying[::-1] if turn >= 5 else lying  # 5 to 8 exchange the sides
    drawn, own = stored(path)
    drawn = turned(drawn, own)
    turned_too = False
    if turn != 1 and own == 1:
        if _alike(drawn.size, shown) and _alike(drawn.size, lying):
            raise DataError(
                f"{of} is turned by its EXIF tag (orientation {turn}) and its mask {path.name} is not; nothing shows "
                "if the mask was drawn on the image as stored or as shown: save the images upright, without the tag"
            )
        if _alike(drawn.size, lying):
            drawn = turned(drawn, turn)
            turned_too = True
    if not _alike(drawn.size, shown):
        as_turned = " as its EXIF tag turns it" if own != 1 else ""
        raise DataError(
            f"{path}: the mask has {drawn.width} x {drawn.height} pixels{as_turned}, its image {of.name} {shown[0]} x "
            f"{shown[1]}; a mask must have the shape of its image"
        )
    return _Fitted(_strengths(drawn), drawn.size != shown, turned_too, own not in (1, turn))


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have the same aspect, to a pixel of the smaller one."""
    small, large = sorted((one, other))
    scale = max(small) / max(large)
    return all(abs(a - b * scale) <= 1 for a, b in zip(small, large, strict=True))
