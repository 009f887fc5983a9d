"""Every family of detectors on test images, clean, attacked and proven: the table of robust-by-construction.md.

    IMAGES=FOLDER python benchmarks/robust_families.py --sets magnetic_tile brain_mri       about 20 minutes on one core

Means over split seeds 1 to 3, linf at the set's budget, attacked by PGD-20 (--steps) and the ball's corners. Nothing is
tuned: the settings are the defaults, but that the polarity of `local_pixels` and `monotone` (and of the `ensemble` of
both) is the one with the highest proven AUROC on the validation images of split seed 0. FOLDER as of
`certified_elsewhere.py`.
RESULT of every set and family: clean/attacked/proven, `-` where nothing is proven.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from certified import attacked, proven
from certified_elsewhere import SETS, Set
from torch import nn

from assay import delong, shelves
from assay.contracts import TrainingData
from assay.data import splits
from assay.datasets.elpv import elpv
from assay.models import certificates
from assay.models.scoring import clean_scores

STEPS = 20  # of PGD
SEEDS = (1, 2, 3)
ALL: Mapping[str, Set] = {"elpv_mono": Set(partial(elpv, cells="mono", image_size=64)), **SETS}
FAMILIES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "neighbours on pixels": (
        "neighbours",
        {"backbone": {"pixels": {"side": 64}}, "k": 9, "distance": "cosine"},
    ),
    "gaussian": ("gaussian", {}),
    "patchcore": ("patchcore", {}),
    "cobra": (
        "cobra",
        {
            "epochs": 20,
            "backbone": {"small_resnet": {"width": 16}},
            "pseudo_anomaly": "perlin",
            "score": {"pixels": 1.0},
        },
    ),
    "cobra, certified": (
        "cobra",
        {
            "epochs": 60,
            "backbone": {"plain_cnn": {"width": 16}},
            "pseudo_anomaly": "shade",
            "loss": {"certified": 1.0},
            "adversary": {"epsilon": 2 / 255, "views": "contrastive"},
            "score": {"neighbours": 0.0},
            "learning_rate": 4e-3,
        },
    ),
    "local_pixels": ("local_pixels", {}),
    "overlap": ("overlap", {}),
    "monotone": ("monotone", {}),
    "lipschitz": ("lipschitz", {}),
    "ensemble": ("ensemble", {}),
}


def trained(name: str, data: TrainingData, given: Mapping[str, Any]) -> nn.Module:
    """A detector of that trainable with these parameters."""
    function = shelves.load("trainables", name)
    run = function(data, seed=0, **shelves.bind(function, dict(given)))
    for _ in range(run.epochs):
        run.train_epoch()
    detector: nn.Module = run.detector()
    return detector


def of_polarity(family: str, polarity: str) -> Mapping[str, Any]:
    """The family's parameters with defects that are darker, brighter or either."""
    name, given = FAMILIES[family]
    if name == "ensemble":
        members = {part: {"item": {part: {"polarity": polarity}}} for part in ("monotone", "local_pixels")}
        return {**given, "of": members}
    return {**given, "polarity": polarity}


def chosen(of: Set, families: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
    """The parameters of these families, polarities by what is proven on the validation images of split seed 0."""
    needed = {*families, *(["monotone"] if "ensemble" in families else [])}
    data, found = splits.training_data(of.make(split_seed=0)), {}
    for family, (name, given) in FAMILIES.items():
        if family not in needed:
            continue
        found[family] = given
        if name in ("local_pixels", "monotone"):
            tried = {}
            for polarity in of.polarities:
                scores = proven(trained(name, data, of_polarity(family, polarity)), data.validation, of.threat)
                tried[polarity] = delong.auroc(data.validation.labels, scores).value
            best = max(tried, key=lambda polarity: tried[polarity])
            print(f"  {family}: {best} of {tried}", flush=True)
            found[family] = of_polarity(family, best)
        elif name == "ensemble":
            found[family] = of_polarity(family, found["monotone"]["polarity"])
    return found


def figures(family: str, of: Set, given: Mapping[str, Any], split_seed: int, steps: int) -> tuple[float, float, float]:
    """AUROC of a split's test images: clean, attacked, proven; NaN where nothing is proven."""
    dataset = of.make(split_seed=split_seed)
    detector, test = trained(FAMILIES[family][0], splits.training_data(dataset), given), splits.test_images(dataset)
    clean = delong.auroc(test.labels, clean_scores(detector, test)).value
    left = delong.auroc(test.labels, attacked(detector, test, of.threat, steps)).value
    if "linf" not in certificates.norms(detector):
        return clean, left, float("nan")
    return clean, left, delong.auroc(test.labels, proven(detector, test, of.threat)).value


def main() -> None:
    """Print a row for each set and family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=ALL, default=list(ALL))
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--steps", type=int, default=STEPS, help="of PGD: fewer do where they leave nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.sets:
        print(f"{name}:", flush=True)
        settings = chosen(ALL[name], options.families)
        for family in options.families:
            found = np.mean(
                [figures(family, ALL[name], settings[family], seed, options.steps) for seed in SEEDS], axis=0
            )
            told = "/".join("-" if np.isnan(value) else f"{value:.3f}" for value in found)
            print(f"RESULT {name} {family.replace(',', '').replace(' ', '_')}={told}", flush=True)


if __name__ == "__main__":
    main()
