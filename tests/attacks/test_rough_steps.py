"""Steps in TF32 find what steps in float32 find, and what they find is scored in float32: seen by rounding on a CPU."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from other_device import other_device
from tf32 import Tf32, to_10_bits
from torch import Tensor, nn

from assay import shelves
from assay.attacks.apgd import apgd
from assay.audits import suite
from assay.contracts import ThreatModel
from assay.norm_balls import streams
from assay.runtime.float32 import exact_float32
from assay.shelves import Item
from trainables.neighbours import NeighbourBank

EPSILONS = {"linf": 2 / 255, "l2": 0.3, "l1": 2.0, "patch": 0.1}
INNER = ("eot", "transfer")
"""Attacks whose steps are another attack's."""
ONE_STEP = ("corner", "fgsm")


def stepping() -> list[str]:
    """The attacks that make steps along gradients."""
    return [name for name in shelves.names("attacks") if "precision" in shelves.fields(shelves.load("attacks", name))]


def made(name: str, norm: str, detector: nn.Module, **given: Any) -> tuple[Tensor, int]:
    """How far an attack on a device with TF32 moves each score, by exact scores, and how many operations were rough."""
    item = shelves.load("attacks", name)
    with exact_float32(), other_device(), Tf32() as rough:
        there = copy.deepcopy(detector).to("cuda")
        clean = pictures(8, seed=3).to("cuda")
        direction = torch.tensor([1, -1], device="cuda").repeat(4)
        random = streams(torch.Generator("cuda").manual_seed(0), clean)
        bound = shelves.bind(item, {"steps": 12, **given})
        found = item(there, clean, direction, ThreatModel(norm, EPSILONS[norm], 0.3), random, **bound)
        moved, at = found.scores.cpu(), found.images.cpu()
        before, direction = there(clean).cpu(), direction.cpu()
    with exact_float32():
        assert torch.equal(moved, detector(at)), "what is told is the score in float32"
    return direction * (moved - before), rough.rounded


def pictures(count: int, seed: int) -> Tensor:
    """Noise; in every second image a square is brighter."""
    found = torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) * 0.4 + 0.2
    found[1::2, :, 4:9, 5:11] += 0.25
    return found


@functools.cache
def detector_of(backbone: str) -> nn.Module:
    """Distances, by a product of matrices, to normals in features of convolutions or of pixels."""
    given = {"small_resnet": {"width": 8}}.get(backbone, {})
    with torch.random.fork_rng(devices=[]), exact_float32(), torch.no_grad():
        torch.default_generator.manual_seed(0)
        detector = NeighbourBank(Item("backbones", backbone, given), 1, 3, "cosine").eval().requires_grad_(False)
        detector.bank = detector.features(pictures(24, seed=1)[::2])
    return detector


CASES = [(name, norm) for name in stepping() for norm in shelves.stated(shelves.load("attacks", name), "NORMS", ())]


@pytest.mark.parametrize(
    ("name", "norm", "backbone"),
    [
        *((name, norm, "small_resnet") for name, norm in CASES),
        ("apgd", "linf", "pixels"),
        ("neighbours", "l2", "pixels"),
    ],
)
def test_rough_steps_get_as_far_and_results_are_exact(name, norm, backbone):
    exact, none = made(name, norm, detector_of(backbone), precision="float32")
    rough, many = made(name, norm, detector_of(backbone))
    assert (none, many > 0) == (0, norm != "l1"), "tf32 is the default of steps but those in l1, and only of steps"
    assert float(rough.mean()) >= 0.98 * float(exact.mean())


def test_every_attack_of_the_shipped_suites_that_makes_steps_makes_them_in_tf32():
    for name in suite.shipped():
        for entry in suite.read(name).attacks:
            arguments = entry.attack.arguments()
            inner = arguments["attack"].arguments() if entry.attack.name in INNER else arguments
            if entry.knowledge in ("white-box", "transfer") and entry.attack.name not in ONE_STEP:
                assert inner["precision"] == "tf32", entry.name


def test_on_a_cpu_such_steps_are_those_of_float32():
    clean, found = pictures(4, seed=1), []

    def score(images: Tensor) -> Tensor:
        return images.square().mean((1, 2, 3))

    for precision in ("float32", "tf32"):
        random = streams(torch.Generator().manual_seed(0), clean)
        found.append(apgd(score, clean, torch.ones(4), ThreatModel("l2", 0.3), random, steps=5, precision=precision))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True) if one is not None)


def test_ten_bits_are_kept():
    values = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-12, -3.14159274, 0.0])
    assert to_10_bits(values).tolist() == [1.0, 1 + 2**-10, 1.0, -3.140625, 0.0]
