"""Sensor noise: noise a camera adds in low light (linear model of EMVA standard 1288)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._draws import normal, poisson
from assay.corruptions._severity import level

ELECTRONS = (2000.0, 800.0, 300.0, 120.0, 50.0)
"""Electrons at white: the less light, the higher the gain; our choice."""

READ_NOISE = 4.0
"""Standard deviation of the read noise of a pixel in electrons, as in an ordinary CMOS sensor."""

UNEVEN_GAIN, UNEVEN_DARK, UNEVEN_COLUMNS = 0.02, 2.0, 2.0
"""Fixed pattern: relative deviation of the gain; deviation of the dark signal of pixels and columns in electrons."""


def sensor_noise(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] with shot noise, read noise and a fixed pattern that includes columns.

    Severity is the number of electrons at white: 2000, 800, 300, 120, 50. The fixed pattern belongs to the sensor: it
    is the same for all images of a size, while shot noise and read noise differ in every image.
    Raises InputError for any other severity.
    """
    white = level(severity, ELECTRONS)
    shape = images.shape[1:]
    sensor = [torch.Generator().manual_seed(0)]
    gain = 1 + UNEVEN_GAIN * normal(images, sensor, *shape)
    dark = UNEVEN_DARK * normal(images, sensor, *shape) + UNEVEN_COLUMNS * normal(images, sensor, 1, 1, shape[-1])
    electrons = poisson((images * white * gain).clamp(min=0), random) + dark
    return ((electrons + READ_NOISE * normal(images, random, *shape)) / white).clamp(0, 1)
