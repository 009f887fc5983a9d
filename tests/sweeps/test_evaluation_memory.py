"""An evaluation that does not fit into memory is made in smaller pieces."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from assay.contracts import Images
from assay.errors import AssayError
from assay.models import scoring
from assay.models.scoring import batches
from assay.runtime import retry
from assay.runtime.out_of_memory import in_halves_if_out_of_memory
from assay.sweeps import evaluation


def validation() -> Images:
    pixels = np.random.default_rng(0).integers(0, 200, (24, 1, 6, 6), dtype=np.uint8)
    ids = tuple(map(str, range(24)))
    return Images(pixels, np.arange(24) % 2, ids, ("",) * 24, ids)


class Tight(nn.Module):
    """The brightest pixel, of at most five images at once."""

    CERTIFIES = ("linf",)
    seen: ClassVar[list[int]] = []

    def forward(self, images):
        Tight.seen.append(len(images))
        if len(images) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return images.flatten(1).amax(1)

    def certify(self, images, norm, radii, random, confidence):
        scores = self(images).double()[:, None]
        return scores - radii, scores + radii


def test_an_evaluation_that_does_not_fit_is_made_in_halves_with_the_same_figures():
    def found(most):
        attack = {"attack": "pgd", "norm": "linf", "epsilon": 0.01, "steps": 3}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(evaluation, "batches", lambda images: batches(images, most))
            patch.setattr(scoring, "batches", lambda images: batches(images, most))
            wanted = ["clean_auroc", "robust_auroc", "certified_auroc"]
            return evaluation.evaluate(Tight(), validation(), attack, 0, "cpu", wanted)

    whole, small = found(24), found(4)
    assert max(Tight.seen) == 24
    assert whole.figures == small.figures
    assert (whole.attacked == small.attacked).all()


def test_where_not_even_one_image_fits_the_memory_is_to_blame():
    def work(first, last):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(AssayError) as caught:
        in_halves_if_out_of_memory(work, 4)
    assert retry.kind(caught.value) == "gpu_memory"
