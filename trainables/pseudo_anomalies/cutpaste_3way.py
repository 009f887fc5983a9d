"""CutPaste 3-way: the paper's patch or its scar, equally likely (Li et al. 2021, section 2.4)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.units import Fraction
from trainables.pseudo_anomalies._cutpaste import rectangle, strip
from trainables.pseudo_anomalies._draws import whole
from trainables.pseudo_anomalies._paste import Draw, one_draw_of, pasted

AREAS, MOST_OBLONG = (0.02, 0.15), 0.3
WIDTHS, LENGTHS = (2 / 256, 16 / 256), (10 / 256, 25 / 256)
"""The paper's 2 to 16 and 10 to 25 pixels, on images of 256."""


@pasted
def cutpaste_3way(images: Tensor, generator: torch.Generator, *, jitter: Fraction = 0.1) -> Draw:
    """Images (B, C, H, W) in [0, 1], H and W >= 16, each with a patch (one half) or a scar (the other) of itself.

    jitter: how strongly brightness and contrast of the paste change; with three channels also hue and saturation.
    The paper trains three classes (normal, patch, scar). To a trainable with two classes, such as cobra, both kinds
    are just anomalous, and it does not learn to tell them apart. Sizes are the paper's, as shares of the image: at 64
    pixels a scar is a speck; `cutpaste_union` has larger ones.

    Looks like: cutpaste on half of the images, a short thin scratch on the others.
    """
    draws = [
        rectangle(images, generator, areas=AREAS, oblong=MOST_OBLONG, jitter=jitter),
        strip(images, generator, widths=WIDTHS, lengths=LENGTHS, jitter=jitter),
    ]
    return one_draw_of(whole(images, generator, len(draws)), draws)
