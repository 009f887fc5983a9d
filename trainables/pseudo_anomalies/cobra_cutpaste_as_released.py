"""CutPaste as in COBRA's released code, defects included, for comparison."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._colour import jitter
from trainables.pseudo_anomalies._draws import uniform, whole
from trainables.pseudo_anomalies._geometry import Turned, middle, one_place, reaches
from trainables.pseudo_anomalies._paste import Scattered, paste
from trainables.pseudo_anomalies._spots import Spots, crossings, read

WIDTHS, HEIGHTS = (7, 40), (10, 40)
"""In pixels, for images of any size."""

JITTER, HUE = 0.8, 0.2
BLACK = 0.15
BLUR = (0.1, 5.0)
REACH_Y, REACH_X = 4, 2
"""Standard deviation of the Gaussian blur, and how far it reaches: its kernel is 5 wide and 9 high."""


def cobra_cutpaste_as_released(images: Tensor, generator: torch.Generator) -> PseudoAnomalies:
    """Images (B, C, H, W) in [0, 1], H and W >= 16, each with a small rotated patch, black more often than not.

    Only the scar branch can be reached: a patch of 7 to 40 by 10 to 40 pixels (at most half of the image's shorter
    side), recoloured, blurred, rotated by U[0, 360] degrees, black with probability 0.15. The canvas that holds it is
    mirrored with probability 1/2 but its mask is not, so the mask then cuts from the empty, black part of the canvas.
    On grey images of 224 pixels 55 % of the pastes are more than half black, and 1.1 % of the pixels change.
    It is here to reproduce published figures; `scar` and `cutpaste` do what the paper says. No draw is repeated.

    Looks like: cutout with a small, slanted, black box; at times a smear of the picture instead.
    """
    height, width = images.shape[-2:]
    most = min(height, width) // 2

    def draw(waiting: Tensor) -> Scattered:
        tall, wide = _side(images, generator, HEIGHTS, most), _side(images, generator, WIDTHS, most)
        from_top, from_left = one_place(images, generator, tall, wide)
        angle = uniform(images, generator, 0, 2 * math.pi)
        along, across = tall / 2, wide / 2
        reach_y, reach_x = reaches(along, across, angle)
        y, x = middle(images, generator, reach_y, height), middle(images, generator, reach_x, width)
        patch = Turned(y, x, along, across, angle)
        spots = patch.spots(images, waiting)
        mirrored = whole(images, generator, 2)[spots.image] == 1
        column = torch.where(mirrored, width - 1 - spots.column, spots.column)
        up, right = patch.upright(spots.image, spots.row, column)
        black = (uniform(images, generator) < BLACK)[spots.image] | ~patch.inside(spots.image, up, right)
        row = _within(tall, up + along[spots.image], spots.image)
        column = _within(wide, right + across[spots.image], spots.image)
        blurred = _blurred(images, from_top, from_left, uniform(images, generator, *BLUR))
        values = read(blurred, Spots(spots.image, row, column))
        coloured = jitter(images, generator, JITTER, hue=HUE).of_spots(spots.image, values)
        return Scattered(spots, torch.where(black[:, None], 0, coloured))

    return paste(images, draw, tries=1)


def _side(images: Tensor, generator: torch.Generator, limits: tuple[int, int], most: int) -> Tensor:
    """A random number of pixels between the limits, at most `most`."""
    low, high = limits
    return (low + whole(images, generator, high - low + 1)).clamp(max=most)


def _within(length: Tensor, place: Tensor, image: Tensor) -> Tensor:
    """The row or column of the patch that is nearest to a place in it."""
    return torch.minimum(place.round().long().clamp(min=0), length[image] - 1)


def _blurred(images: Tensor, top: Tensor, left: Tensor, sigma: Tensor) -> Tensor:
    """Patches (B, C, 40, 40) from (top, left) on, blurred by a Gaussian with one standard deviation per image."""
    own, size = torch.arange(len(images), device=images.device), max(*WIDTHS, *HEIGHTS)
    rows, columns = (
        (first[:, None] + torch.arange(-reach, size + reach, device=images.device)).clamp(0, length - 1)
        for first, reach, length in zip((top, left), (REACH_Y, REACH_X), images.shape[-2:], strict=True)
    )
    down, right = (_weights(size, reach, sigma).to(images.dtype)[:, None] for reach in (REACH_Y, REACH_X))
    return down @ crossings(images, own, rows, columns) @ right.mT


def _weights(size: int, reach: int, sigma: Tensor) -> Tensor:
    """The Gaussian filter as a matrix: weights (B, size, size + 2 reach) of its inputs for each output."""
    away = torch.arange(-reach, reach + 1, device=sigma.device)
    kernel = torch.exp(-(away**2) / (2 * sigma[:, None] ** 2))
    kernel = F.pad(kernel / kernel.sum(1, keepdim=True), (0, size))
    # Each row is the one above it, shifted by one.
    return kernel.repeat(1, size)[:, :-size].view(len(sigma), size, size + 2 * reach)
