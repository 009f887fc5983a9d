"""How an image of any shape becomes one of the detector's size: which part of it, where, and by which filter.

`stretch` keeps all of the image and not its aspect; `letterbox` keeps both, with black bars; `crop` keeps the aspect
and cuts off what is too much at both ends of the longer side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from PIL import Image

from assay.contracts import Filter, Fit

FILTERS: Mapping[Filter, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}
"""Pillow widens these by the scale factor, but for `nearest`, which aliases. Unlike lanczos and bicubic, bilinear has
no negative lobes, whose halos look like defects, and unlike box it leaves no blocks when an image is enlarged."""

WORDS = {
    "stretch": "stretched to the detector's size, whatever their aspect",
    "letterbox": "shrunk with their aspect kept, black bars beside them",
    "crop": "shrunk with their aspect kept, and cut at the ends of the longer side: nobody knows what lies there",
}


class Rule(NamedTuple):
    """How images are shrunk."""

    fit: Fit = "stretch"
    filter: Filter = "bilinear"

    def stated(self) -> dict[str, str]:
        """As a manifest states it, empty for the default."""
        return {} if self == Rule() else dict(self._asdict())


def rule_of(dataset: Mapping[str, Any]) -> Rule:
    """The rule in a manifest's description of its dataset."""
    return Rule(**dataset.get("shrinking", {}))


Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels."""


class Place(NamedTuple):
    """The part of an image that is used, and the part of the result that it fills."""

    used: Box
    filled: Box


def place(native: tuple[int, int], size: tuple[int, int], fit: Fit) -> Place:
    """Of images of `native` (height, width) that become `size` (height, width)."""
    (height, width), (rows, columns) = native, size
    if fit == "letterbox":
        scale = min(rows / height, columns / width)
        return Place((0, 0, width, height), _middle(size, (round(height * scale), round(width * scale))))
    if fit == "crop":
        scale = max(rows / height, columns / width)
        return Place(_middle(native, (round(rows / scale), round(columns / scale))), (0, 0, columns, rows))
    return Place((0, 0, width, height), (0, 0, columns, rows))


def _middle(outer: tuple[int, int], inner: tuple[int, int]) -> Box:
    """A box (height, width) of at least a pixel in the middle of another."""
    height, width = (min(max(1, one), most) for one, most in zip(inner, outer, strict=True))
    top, left = (outer[0] - height) // 2, (outer[1] - width) // 2
    return left, top, left + width, top + height


def shrunk(
    image: Image.Image, size: tuple[int, int], rule: Rule, filter: Image.Resampling | None = None
) -> Image.Image:
    """An image at `size` (height, width), black where nothing of it lies. filter: instead of the rule's."""
    used, filled = place((image.height, image.width), size, rule.fit)
    if used != (0, 0, image.width, image.height):
        image = image.crop(used)
    width, height = filled[2] - filled[0], filled[3] - filled[1]
    by = FILTERS[rule.filter] if filter is None else filter
    # Along the rows first: which of the two comes first depends on Pillow's version, and moves pixels by a grey level.
    image = image.resize((width, image.height), by).resize((width, height), by)
    if (height, width) == size:
        return image
    whole = Image.new(image.mode, size[::-1])
    whole.paste(image, filled[:2])
    return whole
