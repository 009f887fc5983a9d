"""How much of the proof in linf must be paid for robustness in l2? The front of ensembles, ELPV mono, 64 px.

A network that is proven in linf follows an attacker in l2, who puts all he has into one place; neighbours on plain
pixels do not. For ensembles of both with several weights: AUROC clean, proven at linf 2/255, and left by PGD-20 in l2
0.5. On validation images of split seed 0; with --test WEIGHT, one weight of one family on the test images of split
seeds 1 to 4.
RESULT of every family and weight: clean/proven/l2. Target: proven >= 0.84 and l2 >= 0.60 by one detector.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from certified import attacked, proven
from certified_elsewhere import neighbours
from torch import nn

from assay.contracts import Images, ThreatModel, TrainingData
from assay.data import splits
from assay.datasets.elpv import elpv
from assay.metrics import detection
from assay.models.scoring import clean_scores
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
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--test", type=float, metavar="WEIGHT")
    options = parser.parse_args()
    torch.set_num_threads(1)
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
