"""CutPaste-scar: a thin strip of the image, recoloured, rotated and pasted elsewhere (Li et al. 2021, section 2.3)."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from assay.units import Fraction
from trainables.pseudo_anomalies._cutpaste import strip
from trainables.pseudo_anomalies._paste import Draw, pasted

NARROWEST, SHORTEST = 2 / 16, 10 / 25
"""Smallest width and length as shares of the largest, as in the paper (2 to 16 and 10 to 25 pixels)."""


@pasted
def scar(
    images: Tensor,
    generator: torch.Generator,
    *,
    width: Annotated[Fraction, Ge(0.01), Le(0.2)] = 0.08,
    length: Annotated[Fraction, Ge(0.05), Le(0.5)] = 0.35,
    jitter: Fraction = 0.3,
) -> Draw:
    """Images (B, C, H, W) in [0, 1], H and W >= 16, each with one thin strip of itself rotated and pasted elsewhere.

    width, length: largest width and length of the strip as shares of the shorter side; draws are U[width / 8, width]
    and U[0.4 length, length], at least 1.5 and 4 pixels. The tilt is U[-45, 45] degrees.
    jitter: how strongly brightness and contrast of the strip change; with three channels also hue and saturation.
    The paper's values at 256 pixels are 0.0625, 0.098 and 0.1; on an image of 64 pixels that is an invisible speck.

    Looks like: one slanted scratch, hard edges, in colours of the picture made lighter or darker.
    """
    widths, lengths = (NARROWEST * width, width), (SHORTEST * length, length)
    return strip(images, generator, widths=widths, lengths=lengths, jitter=jitter)
