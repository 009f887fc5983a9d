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
from trainables.pseudo_anomalies._paste import Boxed, paste_into, unchanged
from trainables.pseudo_anomalies._poisson import Gradients, blend, gradients, stronger
from trainables.pseudo_anomalies._row_first import lattice
from trainables.pseudo_anomalies._windows import Box, Windows

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

    def sides(length: int) -> Tensor:
        # A Gamma variable of shape 2 is the sum of two exponential ones.
        both = (1 - uniform(images, generator)) * (1 - uniform(images, generator))
        share = 2 * (SMALLEST - SCALE * both.log()).clamp(max=half)
        return (share * length).round().long().clamp(2, length - 2)

    def draw() -> Boxed:
        source, number = others(images, generator)
        tall, wide = sides(rows), sides(columns)
        top, left = one_place(images[..., 2:, 2:], generator, tall, wide)
        resize = uniform(images, generator, *RESIZE)
        taken_y, taken_x = (tall / resize).clamp(max=rows - 1), (wide / resize).clamp(max=columns - 1)
        from_y = (rows - 1 - taken_y) * uniform(images, generator)
        from_x = (columns - 1 - taken_x) * uniform(images, generator)
        # A pixel at `place` of the image is given what lies at `shift + step * place` of the other one.
        step_y, step_x = taken_y / tall, taken_x / wide
        shift_y, shift_x = from_y - step_y * (top + 0.5), from_x - step_x * (left + 0.5)

        def wanted(windows: Windows, here: Tensor) -> Gradients:
            own, (down, across) = windows.image, windows.lines()
            down = (shift_y[own, None] + step_y[own, None] * down).clamp(0, rows - 1)
            across = (shift_x[own, None] + step_x[own, None] * across).clamp(0, columns - 1)
            there = gradients(lattice(source, number[own], down, across))
            return there if gradient == "source" else stronger(gradients(here), there)

        box = Box(*(part[some] for part in (top + 1, left + 1, tall, wide)))
        return Boxed(blend(made.images, box, wanted, some))

    paste_into(made, draw, some)
