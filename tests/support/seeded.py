"""Random numbers and images from a seed, for tests that must see the same ones in every run."""

from __future__ import annotations

import torch
from torch import Tensor


def rng(seed: int = 0) -> torch.Generator:
    """A generator of its own, so that no other test's draws count."""
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Uniform noise in [0, 1] of that shape."""
    return torch.rand(shape, generator=rng(seed))
