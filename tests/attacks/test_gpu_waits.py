"""What an attack costs on a GPU beside its passes, counted on CPU tensors that pose as one: waits, copies and draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from other_device import Kernels, other_device
from torch import Tensor

from assay import shelves
from assay.contracts import ThreatModel
from assay.norm_balls import streams

EPSILONS = {"linf": 4 / 255, "l2": 0.5, "l1": 3.0, "patch": 0.1, "spatial": 0.5}
COUNTS = ("steps", "draws", "queries", "pairs", "probes")
ALONE = {"eot", "neighbours", "transfer"}
"""Attacks that make others, or need more of a detector than a score."""


def stated(name: str, constant: str) -> Any:
    return shelves.stated(shelves.load("attacks", name), constant, ())


ATTACKS = [(name, norm) for name in shelves.names("attacks") if name not in ALONE for norm in stated(name, "NORMS")]


def score(images: Tensor) -> Tensor:
    return images.flatten(1).tanh().sum(1)


def made(name: str, norm: str, more: int, images: int = 4) -> tuple[int, int, int]:
    """How often the host waited, how often something was copied, and the calls of a generator."""
    item = shelves.load("attacks", name)
    given = {key: 40 + more if key == "queries" else 4 + more for key in COUNTS if key in shelves.fields(item)}
    with other_device() as seen, Kernels() as kernels:
        clean = torch.rand(images, 1, 8, 8, generator=torch.Generator().manual_seed(0)).to("cuda")
        direction = torch.tensor([1, -1], device="cuda").repeat(images // 2)
        random = streams(torch.Generator("cuda").manual_seed(0), clean)
        seen.waits.clear()
        seen.moves.clear()
        item(score, clean, direction, ThreatModel(norm, EPSILONS[norm], 0.3), random, **shelves.bind(item, given))
        drawn = sum(kernels.count[kind] for kind in ("rand", "randn", "randint"))
        return sum(seen.waits.values()), sum(seen.moves.values()), drawn


@pytest.mark.parametrize(("name", "norm"), ATTACKS)
def test_however_many_steps_an_attack_waits_and_copies_no_more_often(name, norm):
    few, many = made(name, norm, 0), made(name, norm, 8)
    assert few[:2] == many[:2]
    assert few[0] < 30


@pytest.mark.parametrize("name", ["nes", "spsa", "boundary", "noise", "spatial", "square"])
def test_what_an_image_draws_in_a_step_it_draws_in_one_call(name):
    norm = stated(name, "NORMS")[0]
    item = shelves.load("attacks", name)
    steps = 4 if "steps" in shelves.fields(item) else 1
    assert made(name, norm, 0)[2] <= 4 * (steps + 2) + 1


@pytest.mark.parametrize(
    ("name", "norm", "most"), [("pgd", "linf", 36), ("apgd", "linf", 52), ("mim", "linf", 44), ("square", "linf", 57)]
)
def test_a_step_starts_few_kernels_beside_the_passes(name, norm, most):
    """On a GPU each takes 6 us to begin, however small; a pass of a small network is 250 of them."""
    item, counts = shelves.load("attacks", name), []
    clean, direction = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([1, -1, 1, -1])
    for steps in (40, 60):
        given = {"queries" if name == "square" else "steps": steps}
        random = streams(torch.Generator().manual_seed(0), clean)
        with Kernels() as kernels:
            item(score, clean, direction, ThreatModel(norm, EPSILONS[norm], 0.3), random, **shelves.bind(item, given))
        counts.append(sum(kernels.count.values()))
    assert (counts[1] - counts[0]) / 20 <= most
