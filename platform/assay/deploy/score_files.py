"""Scoring image files and arrays as an audit would: decoded in threads ahead of the detector, scored in batches."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.data.images import SUFFIXES, height_and_width, open_image, pixels_of, resized
from assay.data.shrinking import Rule, rule_of
from assay.errors import DataError, InputError
from assay.models.model_folder import Model
from assay.runtime import allowance
from assay.runtime.out_of_memory import in_halves_if_out_of_memory
from assay.shelves import normal_form

MOST, PIXELS = 64, 2**23
"""The most images of a batch, and the most numbers in it."""
AHEAD = 2
"""Batches that are decoded while one is scored."""

Picture: TypeAlias = str | Path | Image.Image | NDArray[Any]
"""An image file, an image of Pillow, or an array uint8 (H, W), (H, W, 1) or (H, W, 3)."""


@dataclass(frozen=True)
class Scored:
    """One image's result. name: its path, or its place among those given.

    anomalous: whether the score is above the model's threshold. p_value: the share of validation normals, this image
    counted among them, that score at least as high: small for an anomaly; None of a model that kept no such scores.
    pixels: uint8 (C, H, W) as scored. path: of its file, if it came as one.
    """

    name: str
    score: float
    threshold: float
    anomalous: bool
    p_value: float | None
    pixels: NDArray[np.uint8]
    path: Path | None = None


class Reading(NamedTuple):
    """How files are decoded for a model, as those it was trained on were.

    native: it resizes images itself, so they go in at their own size.
    """

    size: int | Sequence[int]
    channels: int
    rule: Rule
    bit_depth: int | None
    native: bool


def reading_of(manifest: Mapping[str, Any]) -> tuple[Rule, int | None]:
    """The rule of shrinking, and the bit depth of 16-bit files, of the dataset in a model's manifest."""
    dataset = manifest.get("dataset", {})
    item = dataset.get("item")
    _, given = normal_form(item) if item else ("", {})
    return rule_of(dataset), given.get("bit_depth")


@dataclass(frozen=True)
class Unread:
    """An image that could not be scored, and why."""

    name: str
    reason: str


def score(model: Model, pictures: Iterable[tuple[str, Picture]], device: str = "cpu") -> Iterator[Scored | Unread]:
    """The result of each picture, in order; one that is no image does not stop the others."""
    detector = model.detector.to(device)
    size, channels = model.manifest["image_size"], model.manifest["channels"]
    height, width = height_and_width(size)
    batch = max(1, min(MOST, PIXELS // (channels * height * width)))
    normals = np.array(model.manifest.get("normal_scores", []), dtype=np.float64)
    about = Reading(size, channels, *reading_of(model.manifest), model.manifest.get("input") == "native")
    for part in _batched(_decoded(pictures, about, AHEAD * batch), batch):
        arrays = [one for _, _, one in part if not isinstance(one, str)]
        scores = _scores(detector, arrays, device, (height, width))
        for name, path, one in part:
            if isinstance(one, str):
                yield Unread(name, one)
                continue
            value = next(scores)
            if isinstance(value, str) or not np.isfinite(value):
                yield Unread(name, value if isinstance(value, str) else "the detector's score is not finite")
                continue
            yield Scored(name, value, model.threshold, value > model.threshold, p_value(value, normals), one, path)


def p_value(score: float, normals: NDArray[np.float64]) -> float | None:
    """The conformal p-value of a score among those of normals (N,), ascending; None without any.

    For a normal that is exchangeable with them, it is at most p with a probability of at most p.
    Source: Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World", section 2.2.
    """
    if not len(normals):
        return None
    return float((1 + len(normals) - np.searchsorted(normals, score, side="left")) / (len(normals) + 1))


def files_of(named: Iterable[str | Path]) -> Iterator[tuple[str, Path]]:
    """(name, path) of files, and of the images in and below folders, each sorted; raises InputError for neither.

    A file that is named is taken whatever its suffix; in a folder, hidden ones and other suffixes are passed over.
    """
    for one in named:
        path = Path(one)
        if not path.is_dir():
            yield str(one), path
            continue
        files = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        below = sorted(file for file in files if not _hidden(file.relative_to(path)))
        if not below:
            raise InputError(f"{path}: no image in it or below it ({' '.join(SUFFIXES)})")
        yield from ((str(file), file) for file in below)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _decoded(
    pictures: Iterable[tuple[str, Picture]], about: Reading, ahead: int
) -> Iterator[tuple[str, Path | None, NDArray[np.uint8] | str]]:
    """Each picture's name, path and pixels, or why there are none, in order; `ahead`: how many are decoded early."""
    pending: deque[tuple[str, Path | None, Future[NDArray[np.uint8] | str]]] = deque()
    source = iter(pictures)
    with ThreadPoolExecutor(allowance.cores()) as pool:
        try:
            while True:
                for name, picture in itertools.islice(source, ahead - len(pending)):
                    path = Path(picture) if isinstance(picture, str | Path) else None
                    pending.append((name, path, pool.submit(_decode, picture, about)))
                if not pending:
                    return
                name, path, future = pending.popleft()
                yield name, path, future.result()
        finally:
            for _, _, future in pending:
                future.cancel()


def _decode(picture: Picture, about: Reading) -> NDArray[np.uint8] | str:
    try:
        image = _image(picture, about.bit_depth)
        if about.native:
            return pixels_of(image, about.channels)
        return resized(image, size=about.size, channels=about.channels, rule=about.rule)
    except DataError as error:
        return str(error)


def _image(picture: Picture, bit_depth: int | None) -> Image.Image:
    """As a file is decoded, mode L or RGB; raises DataError."""
    if isinstance(picture, str | Path):
        if not Path(picture).exists():
            raise DataError(f"{picture}: no such file")
        return open_image(Path(picture), bit_depth)
    if isinstance(picture, Image.Image):
        return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
    array = np.asarray(picture)
    grey = array.ndim == 2 or array.shape[-1:] == (1,)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not (grey or array.shape[-1] == 3) or not array.size:
        raise DataError(f"an array {array.dtype} {array.shape} is no image; give uint8 (H, W) or (H, W, 3)")
    return Image.fromarray(np.ascontiguousarray(array.reshape(array.shape[:2]) if grey else array))


def _scores(
    detector: Any, arrays: list[NDArray[np.uint8]], device: str, usual: tuple[int, int]
) -> Iterator[float | str]:
    """The score of each array (C, H, W) in order, or why there is none; usual: the (H, W) that was audited.

    A detector that resizes images itself is given those of one size together, and may not take all sizes.
    """
    for (_, *size), group in itertools.groupby(arrays, key=lambda array: array.shape):
        some = list(group)
        try:
            yield from _of_one_size(detector, some, device)
        except Exception as error:  # the detector may be anyone's code, and may raise anything
            if tuple(size) == usual:
                raise
            why = " ".join(str(error).split())[:200]
            yield from [
                f"the detector, audited at {usual[0]} x {usual[1]}, fails at {size[0]} x {size[1]}: {why}"
            ] * len(some)


def _of_one_size(detector: Any, arrays: list[NDArray[np.uint8]], device: str) -> list[float]:
    import torch

    def part(first: int, last: int) -> torch.Tensor:
        pixels = torch.from_numpy(np.stack(arrays[first:last])).to(device).float().div_(255)
        scores: torch.Tensor = detector(pixels)
        return scores.double().cpu()

    with torch.no_grad():
        return [float(one) for scores in in_halves_if_out_of_memory(part, len(arrays)) for one in scores]


def _batched(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while part := list(itertools.islice(items, size)):
        yield part
