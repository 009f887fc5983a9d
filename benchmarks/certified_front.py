"""How much of the proof in linf must be paid for robustness in l2? The front of ensembles, ELPV mono, 64 px.

A network that is proven in linf follows an attacker in l2, who puts all he has into one place; neighbours on plain
pixels do not. For ensembles of both with several weights: AUROC clean, proven at linf 2/255, and left by PGD-20 in l2
0.5. On validation images of split seed 0; with --test WEIGHT, one weight of one family on the test images of split
seeds 1 to 4.
The family `windows` is nothing of the product: how far the darkest pixels of a window lie below what is usual, as a
power mean, which spreads what an attacker in l2 has to change. Its proof in linf is exact, as it is monotone.
RESULT of every family and weight: clean/proven/l2. Target: proven >= 0.84 and l2 >= 0.60 by one detector.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from certified import attacked, proven
from certified_elsewhere import neighbours
from torch import Tensor, nn
from torch.nn import functional as F

from assay.attacks.pgd import pgd
from assay.contracts import Images, ThreatModel, TrainingData
from assay.data import splits
from assay.datasets.elpv import elpv
from assay.metrics import detection
from assay.models.scoring import clean_scores, pixels
from assay.norm_balls import streams
from trainables.ensemble import Sum
from trainables.monotone import Monotone

LINF, L2 = ThreatModel("linf", 2 / 255), ThreatModel("l2", 0.5)
WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)
STEPS = 20
SEEDS = (1, 2, 3, 4)


def network(data: TrainingData, l2: float) -> nn.Module:
    """The monotone network, trained against l2 as well up to that radius."""
    run = Monotone(data, seed=0, polarity="dark", l2=l2)
    for _ in range(run.epochs):
        run.train_epoch()
    return run.detector()


class Windows(nn.Module):
    """The largest power mean over windows of how far pixels lie below a quantile of the train images at their place.

    The excess is a little soft, so that scores do not tie at the lowest; an attack softens it more, to see gradients.
    """

    MONOTONE = "falling"

    def __init__(self, data: TrainingData, quantile: float, window: int, power: float) -> None:
        super().__init__()
        images = torch.from_numpy(data.train.pixels.copy()).float().div_(255)
        self.window, self.power, self.softness = window, power, SOFTNESS
        self.usual = torch.quantile(images, quantile, dim=0)
        self.offsets = torch.quantile(self.means(images), 0.95, dim=0)

    def means(self, images: Tensor) -> Tensor:
        """(B, places)."""
        below = F.softplus((self.usual - images) / self.softness) * self.softness
        means = F.avg_pool2d(below**self.power, self.window, max(1, self.window // 4))
        return (means + 1e-12).pow(1 / self.power).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,)."""
        return 0.001 * ((self.means(images) - self.offsets) / 0.001).logsumexp(1)


SOFTNESS = 0.003
WINDOWS = ((0.03, 16, 2.0), (0.03, 64, 2.0), (0.03, 16, 1.0), (0.03, 32, 1.0), (0.03, 32, 1.5), (0.1, 32, 1.0))
"""Quantile, side and power."""


def left_of_windows(detector: Windows, images: Images) -> float:
    """AUROC left in l2 by PGD on the softened score, its images scored by the true one."""
    direction = torch.from_numpy(1 - 2 * images.labels)
    clean = pixels(images, 0, len(images))
    worst = detector(clean) * direction
    for softness in (SOFTNESS, 0.01, 0.05):
        detector.softness = softness
        random = streams(torch.Generator().manual_seed(0), clean)
        moved = pgd(detector, clean, direction, L2, random, steps=STEPS).images
        detector.softness = SOFTNESS
        worst = torch.maximum(worst, detector(moved) * direction)
    return detection.auroc(images.labels, (worst * direction).numpy())


def print_windows(data: TrainingData) -> None:
    """The front of windows alone."""
    images = data.validation
    for quantile, window, power in WINDOWS:
        detector = Windows(data, quantile, window, power).eval()
        clean = detection.auroc(images.labels, clean_scores(detector, images))
        floor = detection.auroc(images.labels, proven(detector, images, LINF))
        told_of = told(np.array([clean, floor, left_of_windows(detector, images)]))
        print(f"RESULT windows quantile={quantile:g} window={window} power={power:g} {told_of}", flush=True)


FAMILIES: Mapping[str, Callable[[TrainingData], nn.Module]] = {
    "monotone": lambda data: network(data, 0.0),
    "monotone_l2": lambda data: network(data, 1.0),
}


def standardised(members: Sequence[nn.Module], data: TrainingData) -> Sum:
    """The sum of these detectors, each on the scale of the validation normals; their weights are still 1."""
    found, validation = Sum(members).eval(), data.validation
    scores = np.stack([clean_scores(member, validation)[validation.labels == 0] for member in members], axis=1)
    found.shifts = torch.from_numpy(scores.mean(0)).float()
    found.scales = torch.from_numpy(1 / scores.std(0)).float()
    return found


def figures(detector: nn.Module, images: Images) -> np.ndarray:
    """AUROC clean, proven in linf, left in l2."""
    scores = (clean_scores(detector, images), proven(detector, images, LINF), attacked(detector, images, L2, STEPS))
    return np.array([detection.auroc(images.labels, one) for one in scores])


def weighted(base: Sum, weight: float) -> Sum:
    """The same sum with that weight of its second member, a network's scores being the first."""
    found = Sum(list(base.members)).eval()
    found.shifts, found.scales = base.shifts, base.scales * torch.tensor([1.0, weight])
    return found


def told(values: np.ndarray) -> str:
    """As text."""
    return "/".join(f"{value:.3f}" for value in values)


def main() -> None:
    """Print the front, or the test figures of one point of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=[*FAMILIES, "windows"], default=[*FAMILIES, "windows"])
    parser.add_argument("--test", type=float, metavar="WEIGHT")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if "windows" in options.families:
        options.families.remove("windows")
        print_windows(splits.training_data(elpv(cells="mono", image_size=64)))
    for family in options.families:
        found = []
        for seed in [0] if options.test is None else SEEDS:
            dataset = elpv(cells="mono", image_size=64, split_seed=seed)
            data = splits.training_data(dataset)
            base = standardised([FAMILIES[family](data), neighbours(data)], data)
            if options.test is not None:
                found.append(figures(weighted(base, options.test), splits.test_images(dataset)))
                print(f"{family}, split seed {seed}: {told(found[-1])}", flush=True)
                continue
            for weight in WEIGHTS:
                print(
                    f"RESULT {family} weight={weight:g} {told(figures(weighted(base, weight), data.validation))}",
                    flush=True,
                )
        if found:
            print(f"RESULT {family} weight={options.test:g} test={told(np.mean(found, axis=0))}")


if __name__ == "__main__":
    main()
