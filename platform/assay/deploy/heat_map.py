"""Where an image is anomalous, drawn over it: the detector's own map, or the gradient of its score."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.data.images import USUAL, open_image
from assay.data.shrinking import Rule
from assay.deploy.score_files import Scored, Unread
from assay.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

OPAQUE = 0.65
"""How much of the image the strongest place covers."""
Explain = Callable[["nn.Module", "Tensor"], "Tensor"]


def drawn(
    results: Iterable[Scored | Unread],
    detector: nn.Module,
    folder: Path,
    explain: Explain,
    device: str = "cpu",
    rule: Rule = USUAL,
    bit_depth: int | None = None,
) -> Iterator[Scored | Unread]:
    """The same results; a picture of each is written to the folder on the way, by the name of its file.

    explain: the map of a detector that has none of its own, by its gradient. rule, bit_depth: as the model's images are
    read; a picture is in the file's own size where it is stretched, else in that which the detector sees. Raises
    InputError where it has none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: set[str] = set()
    for one in results:
        if isinstance(one, Scored):
            places, own = _map(detector, one.pixels[None], explain, device)
            image = Image.fromarray(one.pixels[0] if len(one.pixels) == 1 else one.pixels.transpose(1, 2, 0))
            if one.path is not None and rule.fit == "stretch":
                image = open_image(one.path, bit_depth)
            overlay(image, places[0], one.threshold if own else None).save(folder / _free(Path(one.name).stem, names))
        yield one


def _free(stem: str, taken: set[str]) -> str:
    """A name that no other picture has: files of several folders may be called alike."""
    for number in itertools.count(1):
        name = f"{stem}.png" if number == 1 else f"{stem}-{number}.png"
        if name not in taken:
            taken.add(name)
            return name
    raise AssertionError("there are more numbers than files")


def overlay(image: Image.Image, places: NDArray[np.float32], full: float | None) -> Image.Image:
    """An image with a map (h, w) over it in its own size: clear at the map's median, strongest from `full` on.

    full: the score from which a place would be flagged, so that a normal image stays clear; None: the map's largest.
    """
    import matplotlib as mpl

    low, high = float(np.median(places)), float(places.max())
    high = high if full is None else max(high, full)
    strength = np.clip((places - low) / (high - low), 0, 1) if high > low else np.zeros_like(places)
    smooth = Image.fromarray(np.uint8(np.rint(255 * strength))).resize(image.size, Image.Resampling.BILINEAR)
    share = np.asarray(smooth, dtype=np.float32) / 255
    colours = mpl.colormaps["inferno"](share)[..., :3] * 255
    cover = OPAQUE * share[..., None]
    mixed = (1 - cover) * np.asarray(image.convert("RGB"), dtype=np.float32) + cover * colours
    return Image.fromarray(np.uint8(np.rint(mixed)))


def _map(detector: nn.Module, pixels: NDArray[np.uint8], explain: Explain, device: str = "cpu") -> tuple[Any, bool]:
    """Maps (B, h, w) of images uint8 (B, C, H, W), and whether they are on the scale of scores.

    explain: the map of a detector that has none of its own, by its gradient. Raises InputError where it has none.
    """
    import torch

    images = torch.from_numpy(np.array(pixels)).to(device).float().div_(255)
    if hasattr(detector, "score_and_map"):
        with torch.no_grad():
            return detector.score_and_map(images)[1].float().cpu().numpy(), True  # type: ignore[operator]
    try:
        return explain(detector, images).float().cpu().numpy(), False
    except InputError as error:
        raise InputError(f"there is no heat map: the detector has none of its own, and {error}") from error
