"""NSA: natural synthetic anomalies, resized patches of another image blended in seamlessly (Schlueter et al. 2022)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from assay.contracts import PseudoAnomalies
from assay.units import Fraction
from trainables.pseudo_anomalies._draws import uniform, whole
from trainables.pseudo_anomalies._foreign import others
from trainables.pseudo_anomalies._geometry import one_place
from trainables.pseudo_anomalies._paste import paste_into, unchanged
from trainables.pseudo_anomalies._poisson import Box, Gradients, Windows, between, blend, gradients, stronger
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
    made = unchanged(images)
    _add_patch(made, images, torch.arange(len(images), device=images.device), generator, half, gradient)
    for _ in range(patches - 1):
        [more] = (whole(images, generator, 2) == 1).nonzero(as_tuple=True)
        if len(more):
            _add_patch(made, images, more, generator, half, gradient)
    return made


def _add_patch(
    made: PseudoAnomalies, images: Tensor, some: Tensor, generator: torch.Generator, half: float, gradient: str
) -> None:
    """Blend a patch of another of the images into some (K,) of those that were made of them."""
    rows, columns = images.shape[-2:]
    before = made.images.clone() if images.requires_grad else made.images  # a gradient needs what was read unchanged

    def sides(length: int) -> Tensor:
        # A Gamma variable of shape 2 is the sum of two exponential ones.
        both = (1 - uniform(images, generator)) * (1 - uniform(images, generator))
        share = 2 * (SMALLEST - SCALE * both.log()).clamp(max=half)
        return (share * length).round().long().clamp(2, length - 2)

    def draw() -> tuple[Spots, Tensor]:
        source, number = others(images, generator)
        tall, wide = sides(rows), sides(columns)
        top, left = one_place(images[..., 2:, 2:], generator, tall, wide)
        resize = uniform(images, generator, *RESIZE)
        taken_y, taken_x = (tall / resize).clamp(max=rows - 1), (wide / resize).clamp(max=columns - 1)
        from_y = (rows - 1 - taken_y) * uniform(images, generator)
        from_x = (columns - 1 - taken_x) * uniform(images, generator)
        # By axis: a pixel at `place` of the image is given what lies at `shift + step * place` of the other one.
        step = torch.stack([taken_y / tall, taken_x / wide])
        shift = torch.stack([from_y, from_x]) - step * (torch.stack([top, left]) + 0.5)
        last = torch.tensor([rows - 1, columns - 1], device=images.device)

        def wanted(windows: Windows, here: Tensor) -> Gradients:
            own, axis = windows.some, windows.turned.long()
            first, second = (
                (shift[a, own, None] + step[a, own, None] * places).clamp(min=0).minimum(last[a, None])
                for a, places in ((axis, windows.first), (1 - axis, windows.second))
            )
            there = gradients(between(source, number[own], first, second, windows.turned))
            return there if gradient == "source" else stronger(gradients(here), there)

        return blend(before, Box(top + 1, left + 1, tall, wide), wanted, some)

    paste_into(made, draw, some)
