"""Validation anomalies made from held-out normals, with strategies made for these tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from assay.contracts import Images, PseudoAnomalies
from assay.data import pseudo_validation
from assay.data.images import pixel_hash


def normals(count: int) -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 16, 16), dtype=np.uint8)
    ids = tuple(f"{index:03}" for index in range(count))
    hashes = tuple(pixel_hash(image) for image in pixels)
    return Images(pixels, np.zeros(count, dtype=np.int64), ids, ("normal",) * count, hashes)


def only_the_first_of_a_batch(images: Tensor, generator: torch.Generator) -> PseudoAnomalies:
    """A strategy that leaves all images but one as they are."""
    made = images.clone()
    made[0] = 1 - made[0]
    return PseudoAnomalies(made, (made != images).any(1, keepdim=True))


def test_images_that_the_strategy_did_not_change_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudo_validation.shelves.Item, "function", property(lambda _: only_the_first_of_a_batch))
    some = normals(10)
    made = pseudo_validation.with_pseudo_anomalies(some, list(some.ids))
    assert made.labels.tolist() == [0] * 5 + [1]


def test_batches_do_not_lose_or_mix_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def inverted(images: Tensor, generator: torch.Generator) -> PseudoAnomalies:
        return PseudoAnomalies(1 - images, torch.ones_like(images, dtype=torch.bool))

    monkeypatch.setattr(pseudo_validation, "BATCH", 3)
    monkeypatch.setattr(pseudo_validation.shelves.Item, "function", property(lambda _: inverted))
    some = normals(20)
    made = pseudo_validation.with_pseudo_anomalies(some, list(some.ids))
    originals = dict(zip(some.ids, some.pixels, strict=True))
    assert len(made) == 20
    for pixels, id_ in zip(made.pixels[10:], made.ids[10:], strict=True):
        assert np.array_equal(pixels, 255 - originals[id_.removesuffix("#cutpaste")])
