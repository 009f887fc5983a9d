"""CutPaste union at high strength: a large patch or a long scar, equally likely (COBRA's `High_CutPasteUnion`)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.units import Fraction
from trainables.pseudo_anomalies._cutpaste import rectangle, strip
from trainables.pseudo_anomalies._draws import whole
from trainables.pseudo_anomalies._paste import Draw, one_draw_of, pasted

AREAS, MOST_OBLONG = (0.1, 0.2), 0.4
WIDTHS, LENGTHS = (2 / 256, 16 / 256), (25 / 256, 45 / 256)
"""2 to 16 and 25 to 45 pixels, on images of 256."""


@pasted
def cutpaste_union(images: Tensor, generator: torch.Generator, *, jitter: Fraction = 0.1) -> Draw:
    """Images (B, C, H, W) in [0, 1], H and W >= 16, each with a large patch (one half) or a long scar (the other).

    A patch covers U[0.1, 0.2] of the image, its aspect log-uniform in [0.4, 1/0.4]; a scar is 10 to 18 % of the side.
    jitter: how strongly brightness and contrast of the paste change; with three channels also hue and saturation.

    Looks like: a rectangle as large as a third of the side or more, or one slanted scratch, hard edges.
    """
    draws = [
        rectangle(images, generator, areas=AREAS, oblong=MOST_OBLONG, jitter=jitter),
        strip(images, generator, widths=WIDTHS, lengths=LENGTHS, jitter=jitter),
    ]
    return one_draw_of(whole(images, generator, len(draws)), draws)
