"""Tiled: any trainable on overlapping tiles of large images, which score as high as their most anomalous tiles.

Source: Bergmann et al. 2021, "The MVTec Anomaly Detection Dataset" (section 6), for training on parts of large images
at their own size; the highest score over parts is the max rule of multiple-instance learning (Maron and Lozano-Perez
1998), the mean of several is that of its top instances (Li and Vasconcelos 2015, "Multiple Instance Learning for Soft
Bags via Top Instances").

The detector takes the whole image, so an attack acts on the image in its own pixels, and one threshold, label and group
belong to all of its tiles. The gradient of a maximum is that of one tile alone, and an attacker who lowers one tile at
a time needs as many steps as there are tiles to be lowered. So the gradient here is that of a weighted mean of the
highest tiles, a steeper way for an attacker, which only makes an audit stricter. The score is the rule's, exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from assay.contracts import Images, TrainingData
from assay.data.images import height_and_width, pixel_hash
from assay.errors import InputError
from assay.shelves import Item, Shelf
from assay.units import Count

TILES = 64
"""Tiles that are scored at once."""
STEERED = 8
"""Tiles of an image through which its gradient goes at least."""

Place = tuple[int, int]
"""The top and the left of a tile, in pixels."""


class TiledDetector(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> the mean (B,) of the highest scores of their tiles, higher is more anomalous."""

    def __init__(self, inner: nn.Module, tile: int, overlap: float, highest: int = 1) -> None:
        super().__init__()
        self.inner, self.tile, self.overlap, self.highest = inner, tile, overlap, highest

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,)."""
        there = places(images.shape[2], images.shape[3], self.tile, self.overlap)
        if torch.compiler.is_exporting():
            return self._score(self.inner(self._all(images, there)).view(-1, len(there)))
        with torch.no_grad():
            every = itertools.product(range(len(images)), there)
            scores = torch.cat([self.inner(part) for _, part in self._cut(images, every)]).view(len(images), -1)
        score = self._score(scores)
        if not (torch.is_grad_enabled() and images.requires_grad):
            return score
        values, at = scores.topk(min(max(STEERED, self.highest), len(there)), dim=1)
        spread = scores.std(dim=1, correction=0, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)
        weights = ((values - values[:, :1]) / spread).softmax(dim=1)
        chosen = ((row, there[place]) for row, of in enumerate(at.tolist()) for place in of)
        # Checkpointed: the graphs of all these tiles at once would need that many times the memory of an image's.
        again = torch.cat(
            [
                checkpoint(self.inner, part, use_reentrant=False, preserve_rng_state=False)
                for _, part in self._cut(images, chosen)
            ]
        ).view_as(values)
        mean = (weights * again).sum(dim=1)
        return score + (mean - mean.detach())  # the value of the rule, the gradient of the mean

    @torch.no_grad()
    def score_and_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B,), and at every pixel (B, H, W) the highest value of the tiles' maps, or of their scores."""
        height, width = images.shape[2:]
        if torch.compiler.is_exporting():
            return self._exported_map(images)
        there, found = places(height, width, self.tile, self.overlap), []
        whole = images.new_full((len(images), height, width), -torch.inf)
        for pairs, part in self._cut(images, itertools.product(range(len(images)), there)):
            scores, maps = self._mapped(part)
            found.append(scores)
            for (row, (top, left)), its_map in zip(pairs, maps, strict=True):
                region = whole[row, top : top + self.tile, left : left + self.tile]
                torch.maximum(region, its_map, out=region)
        return self._score(torch.cat(found).view(len(images), -1)), whole

    def _score(self, of_tiles: Tensor) -> Tensor:
        """Scores (B,) of images from those of their tiles (B, T)."""
        if self.highest == 1:
            return of_tiles.amax(dim=1)
        return of_tiles.topk(min(self.highest, of_tiles.shape[1]), dim=1).values.mean(dim=1)

    def _all(self, images: Tensor, there: Sequence[Place]) -> Tensor:
        """All tiles (B * places, C, tile, tile) at once: a program that is exported knows no number of images."""
        side = self.tile
        return torch.stack([images[:, :, y : y + side, x : x + side] for y, x in there], dim=1).flatten(0, 1)

    def _exported_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        height, width = images.shape[2:]
        there = places(height, width, self.tile, self.overlap)
        scores, maps = self._mapped(self._all(images, there))
        maps = maps.view(-1, len(there), self.tile, self.tile)
        lowest = torch.finfo(maps.dtype).min
        whole = torch.full_like(images[:, 0], lowest, dtype=maps.dtype)
        for number, (top, left) in enumerate(there):
            around = (left, width - left - self.tile, top, height - top - self.tile)
            whole = torch.maximum(whole, F.pad(maps[:, number], around, value=lowest))
        return self._score(scores.view(-1, len(there))), whole

    def _mapped(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (T,) and maps (T, tile, tile) of tiles."""
        if not hasattr(self.inner, "score_and_map"):
            scores = self.inner(tiles)
            return scores, scores[:, None, None].expand(-1, self.tile, self.tile)
        scores, maps = self.inner.score_and_map(tiles)  # type: ignore[operator]
        return scores, F.interpolate(maps[:, None].to(tiles), (self.tile, self.tile))[:, 0]

    def _cut(
        self, images: Tensor, wanted: Iterator[tuple[int, Place]]
    ) -> Iterator[tuple[list[tuple[int, Place]], Tensor]]:
        """The wanted tiles (T, C, tile, tile), each of the image in a row, TILES at a time."""
        while pairs := list(itertools.islice(wanted, TILES)):
            side = self.tile
            yield pairs, torch.stack([images[row, :, y : y + side, x : x + side] for row, (y, x) in pairs])


class Tiled:
    """Any trainable on overlapping tiles of large images, which score as high as their most anomalous tiles."""

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        of: Annotated[Item, Shelf("trainables")] = Item("trainables", "patchcore", {}),
        tile: Annotated[int, Ge(8), Le(512)] = 128,
        overlap: Annotated[float, Ge(0), Le(0.9)] = 0.25,
        highest: Count = 1,
        train_tiles: Count = 2000,
    ) -> None:
        """Prepare a run of `of` on tiles of the train normals.

        of: the trainable that sees tiles. tile: their side in pixels. overlap: the share of it that two tiles beside
        each other have in common at least; the last tile ends where the image does. highest: the score of an image is
        the mean of so many highest scores of its tiles; with more than 1 a single odd tile raises fewer false alarms,
        and a small defect is missed sooner. train_tiles: how many are trained on, drawn by seed from those of all
        images. Labelled anomalies are not trained on: nothing says which of their tiles show the defect. Raises
        InputError for images smaller than a tile.
        """
        height, width = data.train.pixels.shape[2:]
        if min(height, width) < tile:
            raise InputError(
                f"a tile of {tile} pixels is larger than the images, {height} x {width}; set a smaller `tile`"
            )
        normals = np.flatnonzero(data.validation.labels == 0)
        parts = TrainingData(
            cut(data.train, np.arange(len(data.train)), tile, overlap, train_tiles, seed),
            cut(data.validation, normals, tile, overlap, train_tiles, seed),
            {**data.description, "image_size": tile},
        )
        self.run = of.function(parts, seed=seed, device=device, **of.arguments())
        self.epochs: int = self.run.epochs
        self.tile, self.overlap, self.highest = tile, overlap, highest

    @classmethod
    def build(
        cls,
        *,
        channels: int,
        image_size: int | Sequence[int],
        of: Item,
        tile: int,
        overlap: float,
        highest: int = 1,
        **unused: Any,
    ) -> nn.Module:
        """An untrained detector of the same shape."""
        assert min(height_and_width(image_size)) >= tile  # the constructor said so
        build = of.function.build  # type: ignore[attr-defined]
        return TiledDetector(build(channels=channels, image_size=tile, **of.arguments()), tile, overlap, highest)

    def train_epoch(self) -> dict[str, float]:
        """One epoch of the inner trainable."""
        losses: dict[str, float] = self.run.train_epoch()
        return losses

    def detector(self) -> nn.Module:
        """The current inner detector, on all tiles."""
        return TiledDetector(self.run.detector(), self.tile, self.overlap, self.highest).eval()

    def state_dict(self) -> dict[str, Any]:
        """The state of the inner trainable."""
        state: dict[str, Any] = self.run.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.run.load_state_dict(state)


def places(height: int, width: int, tile: int, overlap: float) -> list[Place]:
    """Where the tiles of an image lie, row by row: they cover it all, and none lies outside."""
    step = max(1, int(tile * (1 - overlap)))
    tops, lefts = ([*range(0, side - tile, step), side - tile] for side in (height, width))
    return list(itertools.product(tops, lefts))


def cut(images: Images, rows: np.ndarray, tile: int, overlap: float, most: int, seed: int) -> Images:
    """At most so many tiles of the images in some rows, drawn by seed; all tiles of an image are one group."""
    height, width = images.pixels.shape[2:]
    there = places(height, width, tile, overlap)
    total = len(rows) * len(there)
    drawn = np.random.default_rng(seed).permutation(total)[:most] if total > most else np.arange(total)
    pairs = [(int(rows[at // len(there)]), there[at % len(there)]) for at in np.sort(drawn)]
    pixels = np.empty((len(pairs), images.pixels.shape[1], tile, tile), np.uint8)
    for number, (row, (top, left)) in enumerate(pairs):
        pixels[number] = images.pixels[row, :, top : top + tile, left : left + tile]
    return Images(
        pixels,
        images.labels[[row for row, _ in pairs]],
        tuple(f"{images.ids[row]}#{top},{left}" for row, (top, left) in pairs),
        tuple(images.defects[row] for row, _ in pairs),
        tuple(map(pixel_hash, pixels)),
        tuple(images.parts[row] for row, _ in pairs),
        tuple(images.categories[row] for row, _ in pairs) if images.categories else (),
    )
