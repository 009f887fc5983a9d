"""NSA: natural synthetic anomalies, resized patches of another image blended in seamlessly (Schlueter et al. 2022)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn.functional import grid_sample

from assay.contracts import PseudoAnomalies
from assay.units import Fraction
from trainables.pseudo_anomalies._draws import uniform, whole
from trainables.pseudo_anomalies._foreign import others
from trainables.pseudo_anomalies._geometry import one_place
from trainables.pseudo_anomalies._paste import paste
from trainables.pseudo_anomalies._poisson import Box, Gradients, blend, gradients, stronger
from trainables.pseudo_anomalies._spots import Spots

SMALLEST, SCALE = 0.03, 0.05
RESIZE = (0.7, 1.3)


def nsa(
    images: Tensor,
    generator: torch.Generator,
    *,
    patches: Annotated[int, Ge(1), Le(8)] = 3,
    half: Annotated[Fraction, Ge(0.05), Le(0.4)] = 0.4,
    gradient: Literal["mixed", "source"] = "mixed",
) -> PseudoAnomalies:
    """Images (B, C, H, W) in [0, 1], H and W >= 16, each with Poisson-blended patches of another image of the batch.

    patches: the most an image can get; it gets one for certain and each further one with probability one half.
    half: largest half height and half width of a patch as shares of the image's; each is 0.03 + Gamma(2, 0.05), cut.
    gradient: `mixed` keeps the stronger of both images' gradients (the paper's choice for textures), `source` the
    patch's alone (for objects). A patch is taken from anywhere, resized by U[0.7, 1.3] and put anywhere; the paper's
    overlap with the object is not asked for. The defaults are the paper's where it has one for all classes.
    A batch of one takes from itself, shifted by half its sides. Between flat images there is nothing to blend.

    Looks like: one to three soft-edged lumps of another picture that have grown into this one.
    """
    made = _with_patch(images, images, generator, half, gradient)
    for _ in range(patches - 1):
        [more] = (whole(images, generator, 2) == 1).nonzero(as_tuple=True)
        if len(more):
            again = _with_patch(made.images[more], images[more], generator, half, gradient)
            changed = made.images.index_put((more,), again.images)
            made = PseudoAnomalies(changed, made.mask.index_put((more,), made.mask[more] | again.mask))
    return made


def _with_patch(
    images: Tensor, normals: Tensor, generator: torch.Generator, half: float, gradient: str
) -> PseudoAnomalies:
    """Images with one patch of another of the normals blended in."""
    rows, columns = images.shape[-2:]

    def sides(length: int) -> Tensor:
        # A Gamma variable of shape 2 is the sum of two exponential ones.
        both = (1 - uniform(images, generator)) * (1 - uniform(images, generator))
        share = 2 * (SMALLEST - SCALE * both.log()).clamp(max=half)
        return (share * length).round().long().clamp(2, length - 2)

    def draw() -> tuple[Spots, Tensor]:
        source, number = others(normals, generator)
        tall, wide = sides(rows), sides(columns)
        top, left = one_place(images[..., 2:, 2:], generator, tall, wide)
        resize = uniform(images, generator, *RESIZE)
        taken_y, taken_x = (tall / resize).clamp(max=rows - 1), (wide / resize).clamp(max=columns - 1)
        from_y = (rows - 1 - taken_y) * uniform(images, generator)
        from_x = (columns - 1 - taken_x) * uniform(images, generator)

        def wanted(some: Tensor, here: Tensor, height: int, width: int) -> Gradients:
            y = _places(from_y[some], taken_y[some] / tall[some], rows, height)[:, :, None].expand(-1, -1, width)
            x = _places(from_x[some], taken_x[some] / wide[some], columns, width)[:, None, :].expand(-1, height, -1)
            grid = torch.stack([x, y], dim=-1).to(images.dtype)
            there = gradients(grid_sample(source[number[some]], grid, padding_mode="border", align_corners=True))
            return there if gradient == "source" else stronger(gradients(here), there)

        return blend(images, Box(top + 1, left + 1, tall, wide), wanted)

    return paste(images, draw)


def _places(start: Tensor, step: Tensor, side: int, count: int) -> Tensor:
    """Where along a side the pixels of a window come from, the frame's first: (B, count), -1 to 1 over the side."""
    steps = torch.arange(count, device=start.device) - 0.5
    return 2 * (start[:, None] + steps * step[:, None]) / (side - 1) - 1
