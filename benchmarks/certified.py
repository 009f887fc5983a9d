"""How robust are detectors that are robust by construction, proven, and what do they cost on clean images?

On ELPV mono at 64 px, test splits of split seeds 1 to 4, linf 2/255 and l2 0.25, both regimes: the mean AUROC clean,
under the best of PGD-40 and the corners of the ball, and proven, of `local_pixels` (nothing trained) and of `monotone`
(trained), by its defaults and with the parameters of the best trial of a search. All of it was chosen on the validation
split of split seed 0. RESULT clean= attacked= certified= l2= of the searched one; certified <= attacked must hold. 8
minutes on an idle core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from assay.attacks.corner import corner
from assay.attacks.pgd import pgd
from assay.contracts import Images, ThreatModel, TrainingData
from assay.data import splits
from assay.datasets.elpv import elpv
from assay.metrics import detection
from assay.models.certificates import bounds
from assay.models.scoring import batches, clean_scores, pixels
from assay.norm_balls import streams
from trainables.local_pixels import LocalPixels
from trainables.monotone import Monotone

EPSILON, RADIUS, STEPS = 2 / 255, 0.25, 40
SEEDS = (1, 2, 3, 4)
EPOCHS = 8


def proven(detector: nn.Module, images: Images, threat: ThreatModel) -> NDArray[np.float64]:
    """Scores (N,) that no attack can go beyond: the least of an anomaly, the largest of a normal."""
    radii, worst = torch.tensor([threat.epsilon], dtype=torch.float64), []
    for first, last in batches(images):
        lower, upper = bounds(detector, pixels(images, first, last), threat.norm, radii, [], 1)
        worst.append(np.where(images.labels[first:last] == 1, lower[:, 0], upper[:, 0]))
    return np.concatenate(worst)


def attacked(detector: nn.Module, images: Images, threat: ThreatModel, steps: int = STEPS) -> NDArray[np.float64]:
    """Scores (N,) that attacks reach."""
    generator, worst = torch.Generator().manual_seed(0), []
    for first, last in batches(images):
        clean, direction = pixels(images, first, last), torch.from_numpy(1 - 2 * images.labels[first:last])
        random = streams(generator, clean)
        start = corner(detector, clean, direction, threat, random).images if threat.norm == "linf" else None
        worst.append(pgd(detector, clean, direction, threat, random, start=start, steps=steps).scores.numpy())
    return np.concatenate(worst)


def local_pixels(data: TrainingData) -> nn.Module:
    """The untrained detector."""
    return LocalPixels(data, seed=0, polarity="dark").detector()


def monotone(data: TrainingData, epochs: int = EPOCHS, **parameters: Any) -> nn.Module:
    """The trained one, by default with its default parameters."""
    run = Monotone(data, seed=0, polarity="dark", epochs=epochs, **parameters)
    for _ in range(run.epochs):
        run.train_epoch()
    return run.detector()


SEARCHED: Mapping[str, Any] = {
    "epochs": 10,
    "learning_rate": 0.002587,
    "average": 0.9,
    "surroundings": 0.2161,
    "quantile": 0.9544,
    "depth": 4,
    "epsilon": 1.3512 / 255,
    "sharpness": 0.0778,
}
"""Of the best trial of `search_spaces/elpv_monotone.yaml`, by its validation images."""

DETECTORS: Mapping[str, Callable[[TrainingData], nn.Module]] = {
    "local_pixels": local_pixels,
    "monotone": monotone,
    "searched": partial(monotone, **SEARCHED),
}


def figures(name: str, split_seed: int) -> Mapping[str, float]:
    """The figures of one redraw of the split, each printed as it is known."""
    dataset = elpv(cells="mono", image_size=64, split_seed=split_seed)
    detector = DETECTORS[name](splits.training_data(dataset))
    test, linf, l2 = splits.test_images(dataset), ThreatModel("linf", EPSILON), ThreatModel("l2", RADIUS)
    found: dict[str, float] = {}
    measures: dict[str, Callable[[], NDArray[np.float64]]] = {
        "clean": lambda: clean_scores(detector, test),
        "certified": lambda: proven(detector, test, linf),
        "attacked": lambda: attacked(detector, test, linf),
        "l2": lambda: attacked(detector, test, l2),
    }
    for key, measure in measures.items():
        found[key] = detection.auroc(test.labels, measure())
        print(f"{name}, split seed {split_seed}: {key} {found[key]:.4f}", flush=True)
    return found


def means(name: str, seeds: Sequence[int]) -> str:
    """The means over split seeds, as text."""
    found = [figures(name, seed) for seed in seeds]
    return " ".join(f"{key}={np.mean([one[key] for one in found]):.4f}" for key in found[0])


def main() -> None:
    """Print the figures of every split seed and their means, the trained detector last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detectors", nargs="+", choices=DETECTORS, default=list(DETECTORS))
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.detectors:
        print(f"{name}:" if name != options.detectors[-1] else "RESULT", means(name, options.seeds), flush=True)


if __name__ == "__main__":
    main()
