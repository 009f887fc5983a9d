"""NSA: natural synthetic anomalies, resized patches of another image, blended in seamlessly (Schlueter et al. 2022)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from assay.contracts import PseudoAnomalies
from assay.units import Fraction
from trainables.pseudo_anomalies._boxes import Box
from trainables.pseudo_anomalies._draws import uniform, whole
from trainables.pseudo_anomalies._foreign import others
from trainables.pseudo_anomalies._geometry import one_place
from trainables.pseudo_anomalies._paste import paste_into, unchanged
from trainables.pseudo_anomalies._poisson import Blended, Places

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

    patches: most patches per image; it always gets one, and each further one with probability one half.
    half: largest half height and half width of a patch as shares of the image's; each is 0.03 + Gamma(2, 0.05), capped.
    gradient: `mixed` keeps the stronger of both images' gradients (the paper's choice for textures), `source` only the
    patch's (for objects). A patch is taken from anywhere, resized by U[0.7, 1.3] and put anywhere; the paper's overlap
    with the object is not required. The defaults are the paper's where it uses one value for all classes.
    A batch of one uses itself, rolled by half its sides. Flat images leave nothing to blend.

    Looks like: one to three soft-edged lumps of another picture that have grown into this one.
    """
    rows, columns = images.shape[-2:]

    def sides(length: int) -> Tensor:
        # A Gamma variable of shape 2 is the sum of two exponential variables.
        both = (1 - uniform(images, generator)) * (1 - uniform(images, generator))
        share = 2 * (SMALLEST - SCALE * both.log()).clamp(max=half)
        return (share * length).round().long().clamp(2, length - 2)

    def along(length: int, side: Tensor, first: Tensor, resize: Tensor) -> Places:
        taken = (side / resize).clamp(max=length - 1)
        start = (length - 1 - taken) * uniform(images, generator)
        return Places(start - taken / side * (first + 0.5), taken / side)

    def draw(waiting: Tensor) -> Blended:
        source, number = others(images, generator)
        tall, wide = sides(rows), sides(columns)
        top, left = one_place(images[..., 2:, 2:], generator, tall, wide)
        resize = uniform(images, generator, *RESIZE)
        down, across = along(rows, tall, top, resize), along(columns, wide, left, resize)
        foreign = images.new_ones(len(images))
        own = torch.zeros_like(foreign) if gradient == "source" else foreign
        return Blended(Box(top + 1, left + 1, tall, wide), source, number, down, across, own, foreign)

    made = unchanged(images)
    paste_into(made, draw, torch.ones_like(made.mask[:, 0, 0, 0]))
    for _ in range(patches - 1):
        paste_into(made, draw, whole(images, generator, 2) == 1)
    return made
