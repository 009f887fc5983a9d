"""CutPaste: a rectangle of the image, slightly recoloured, pasted elsewhere in it (Li et al. 2021, section 2.2)."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from assay.units import Fraction
from trainables.pseudo_anomalies._cutpaste import rectangle
from trainables.pseudo_anomalies._paste import Draw, pasted

SMALLEST = 0.02
MOST_OBLONG = 0.3


@pasted
def cutpaste(
    images: Tensor,
    generator: torch.Generator,
    *,
    area: Annotated[Fraction, Ge(SMALLEST), Le(0.5)] = 0.15,
    jitter: Fraction = 0.1,
) -> Draw:
    """Images (B, C, H, W) in [0, 1], H and W >= 16, each with one patch of itself pasted elsewhere.

    area: largest share of the image a patch covers; each is U[0.02, area], its aspect log-uniform in [0.3, 1/0.3].
    jitter: how strongly the patch's brightness and contrast change; with three channels also its hue and saturation.
    The defaults are the paper's. Without jitter a patch pasted within one flat area changes nothing; such a draw is
    repeated.

    Looks like: an upright rectangle of the wrong part of the picture, hard edges, about the right colour.
    """
    return rectangle(images, generator, areas=(SMALLEST, area), oblong=MOST_OBLONG, jitter=jitter)
