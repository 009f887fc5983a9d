"""The trainable `anomalib` against anomalib's own engine: AUROC on the same images, with the same backbone and epochs.

Three models, a number of seeds each: padim and patchcore, whose training is a memory of features, and stfpm, which is
trained by gradients for some epochs. Images are drawn here, with defects so faint that AUROCs lie well below 1; the
weights of the backbone are random, and the same. The noise is the standard deviation between seeds. Prints

    RESULT auroc_difference=... noise=...

auroc_difference: the largest difference of any model's mean AUROC. noise: the standard error of that difference. Needs
the environment of `make test-anomalib`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
import toy_anomalib_auroc

MODELS = {
    "Padim": ({"n_features": 40}, 1),
    "Patchcore": ({"backbone": "resnet18", "coreset_sampling_ratio": 0.05}, 1),
    "Stfpm": ({}, 6),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    seeds = range(parser.parse_args().seeds)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    worst = (0.0, 0.0)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["ASSAY_CACHE"] = str(place / "cache")
        data, test = toy_anomalib_auroc.data_of(toy_anomalib_auroc.photographs(place / "images"))
        weights = toy_anomalib_auroc.weights_in(place / "resnet18.pth")
        for model, (parameters, epochs) in MODELS.items():
            same = ({model: parameters}, data, test, weights)
            own = np.array([toy_anomalib_auroc.ours(*same, seed, epochs) for seed in seeds])
            other = np.array([toy_anomalib_auroc.theirs(*same, seed, epochs, place / model) for seed in seeds])
            apart = abs(own.mean() - other.mean())
            noise = float(np.sqrt((own.var(ddof=1) + other.var(ddof=1)) / len(seeds)))
            print(
                f"{model:10} ours {own.round(4)} theirs {other.round(4)}: {apart:.4f} apart, standard error {noise:.4f}"
            )
            worst = max(worst, (float(apart), noise))
    print(f"RESULT auroc_difference={worst[0]:.3f} noise={worst[1]:.3f}")


if __name__ == "__main__":
    main()
