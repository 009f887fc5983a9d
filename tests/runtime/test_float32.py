"""Scores are float32 on every device: TF32 is off wherever something is scored, and only there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from other_device import other_device
from torch import Tensor, nn

from assay.attacks.pgd import pgd
from assay.contracts import Images, ThreatModel
from assay.models import scoring
from assay.runtime.float32 import exact_float32
from assay.sweeps.evaluation import evaluate


def precision() -> tuple[str, str, bool]:
    """Of convolutions and products of matrices, and whether sums keep their order."""
    cudnn = torch.backends.cudnn
    return cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision, cudnn.deterministic


class Asks(nn.Module):
    """A detector that notes how it is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, str, bool]] = set()

    def forward(self, images: Tensor) -> Tensor:
        """The mean of each image."""
        self.seen.add(precision())
        return images.mean(dim=(1, 2, 3))


def images() -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 4, 4), dtype=np.uint8)
    ids = tuple(map(str, range(8)))
    return Images(pixels, np.arange(8) % 2, ids, ("",) * 8, ids)


USES: dict[str, Callable[[Asks], object]] = {
    "score": lambda detector: scoring.score(detector, torch.rand(2, 1, 4, 4)),
    "clean": lambda detector: scoring.clean_scores(detector, images()),
    "evaluation": lambda detector: evaluate(
        detector, images(), {"attack": "fgsm", "norm": "linf", "epsilon": 0.1}, seed=0
    ),
}


@pytest.mark.parametrize("use", USES)
def test_whatever_is_scored_is_scored_without_tf32(use: str) -> None:
    before, detector = precision(), Asks()
    assert before[0] == "tf32", "PyTorch's default; were it another, this file could go"
    USES[use](detector)
    assert detector.seen == {("ieee", "ieee", True)}
    assert precision() == before


@pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")
@pytest.mark.parametrize(("precision_of_steps", "steps"), [("float32", "ieee"), ("tf32", "tf32"), ("bfloat16", "ieee")])
def test_the_steps_of_an_attack_are_rough_only_where_it_says_so_and_their_result_is_exact(precision_of_steps, steps):
    seen: list[tuple[bool, str]] = []

    def score(given: Tensor) -> Tensor:
        seen.append((given.requires_grad, precision()[0]))
        return given.mean(dim=(1, 2, 3))

    with exact_float32(), other_device():
        clean, direction = torch.full((2, 1, 4, 4), 0.5, device="cuda"), torch.tensor([1, -1], device="cuda")
        random = [torch.Generator("cuda").manual_seed(number) for number in range(2)]
        pgd(score, clean, direction, ThreatModel("linf", 0.1), random, steps=3, precision=precision_of_steps)
        assert precision()[0] == "ieee"
    assert {how for gradient, how in seen if gradient} == {steps}
    assert {how for gradient, how in seen if not gradient} == {"ieee"}


def test_a_users_own_choice_is_restored() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with exact_float32():
            assert precision()[1] == "ieee"
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision("highest")
