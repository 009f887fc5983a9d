"""The least memory that a trial of a search space can do with, against what this process may use."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch

from assay import shelves
from assay.cluster.local_limits import LEAST_MEMORY
from assay.config.search_space import Spec
from assay.contracts import TrainingData
from assay.errors import SweepError
from assay.runtime import allowance
from assay.sweeps import probe

COPIES = 2
"""Of the weights, at least: those of the trial, and those of the best epoch so far."""
SHOWN = 2**24
"""Bytes that are worth a word: 0.016 GB."""


@dataclass(frozen=True)
class Least:
    """Bytes that a trial needs whatever else it does: what it trains for takes more.

    images: all that trials see, decoded, which lie in memory once. weights: of the detector. base: of Ray and PyTorch.
    """

    images: int
    weights: int
    base: int = LEAST_MEMORY

    @property
    def total(self) -> int:
        """All of it."""
        return self.images + self.weights + self.base


def require(spec: Spec, data: TrainingData) -> None:
    """Raise SweepError, with both numbers, where this process may use less than any trial of the spec needs."""
    allowed = allowance.memory()
    least = Least(data.nbytes, min(weights(one, data) for one in probe.alternatives(spec).values()))
    if least.total > allowed:
        parts = {"decoded images": least.images, "weights": least.weights, "Ray and PyTorch": least.base}
        large = [f"{name} {size / 2**30:.2g}" for name, size in parts.items() if size > SHOWN]
        smaller = ", or make the images smaller" if least.images > SHOWN else ""
        raise SweepError(
            f"a trial needs at least {least.total / 2**30:.2g} GB of memory ({', '.join(large)}), and this process may "
            f"use {allowed / 2**30:.2g} GB; raise the memory limit of the container or the job{smaller}"
        )


def weights(alone: Spec, data: TrainingData) -> int:
    """Bytes of the detector of a spec's first trial, and of the copy of its best epoch; nothing is allocated.

    alone: a spec of one trainable. 0 where its detector cannot be built without its data, as a user's own may not.
    """
    with probe.first_trial(alone) as (order, _):
        pass
    item: Any = shelves.load("trainables", order.trainable)
    about = {"channels": data.description["channels"], "image_size": data.description["image_size"]}
    try:
        with torch.device("meta"), shelves.before_weights(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of weights that come with a library: they are not copied
            detector = item.build(**about, **shelves.bind(item, order.config))
    except (RuntimeError, NotImplementedError, TypeError, ValueError):  # reads numbers that tensors on meta lack
        return 0
    tensors: list[torch.Tensor] = [*detector.parameters(), *detector.buffers()]
    return COPIES * sum(tensor.numel() * tensor.element_size() for tensor in tensors)
