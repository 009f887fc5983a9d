"""Sensor noise: what a camera adds of its own when light is short (the linear model of EMVA standard 1288)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._draws import normal, poisson
from assay.corruptions._severity import level

ELECTRONS = (2000.0, 800.0, 300.0, 120.0, 50.0)
"""That make white: the less light there is, the more the signal is amplified; ours."""

READ_NOISE = 4.0
"""Standard deviation in electrons of reading one pixel; of an ordinary CMOS sensor."""

UNEVEN_GAIN, UNEVEN_DARK, UNEVEN_COLUMNS = 0.02, 2.0, 2.0
"""Fixed pattern: the gain's deviation as a share; that of the dark signal of pixels and of columns in electrons."""


def sensor_noise(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] with shot noise, read noise and a fixed pattern with columns; raises InputError.

    Severity is how few electrons make white: 2000, 800, 300, 120, 50. The pattern belongs to the sensor: it is the same
    for all images of a size, while shot and read noise are drawn anew.
    """
    white = level(severity, ELECTRONS)
    shape = images.shape[1:]
    sensor = [torch.Generator().manual_seed(0)]
    gain = 1 + UNEVEN_GAIN * normal(images, sensor, *shape)
    dark = UNEVEN_DARK * normal(images, sensor, *shape) + UNEVEN_COLUMNS * normal(images, sensor, 1, 1, shape[-1])
    electrons = poisson((images * white * gain).clamp(min=0), random) + dark
    return ((electrons + READ_NOISE * normal(images, random, *shape)) / white).clamp(0, 1)
