"""The resize inside an exported file gives the pixels of the audit, every one of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from assay.data.images import resized
from assay.deploy.resize import Resize

SIZES = [(64, 64), (300, 300), (300, 511), (37, 100), (57, 31), (480, 640), (1, 1), (1, 9), (2000, 90), (64, 3000)]


@pytest.mark.parametrize("kind", ["noise", "black and white"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_pixel_is_that_of_the_audit(height, width, channels, kind):
    random = np.random.default_rng(height + width)
    levels = random.integers(0, 256, (height, width, channels), dtype=np.uint8)
    pixels = levels if kind == "noise" else np.where(levels > 127, 255, 0).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
    inside = Resize(64, 64)(images)
    assert inside.dtype == torch.float32
    assert np.array_equal(inside[0].numpy(), resized(image, size=64, channels=channels))


def test_a_batch_is_resized_image_by_image():
    images = torch.randint(0, 256, (5, 3, 30, 41), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    resize = Resize(16, 24)
    assert resize(images).shape == (5, 3, 16, 24)
    assert torch.equal(resize(images), torch.cat([resize(one[None]) for one in images]))
