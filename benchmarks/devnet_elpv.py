"""DevNet on ELPV with 10 and with 1 labelled anomaly, beside what two papers report for it.

    python benchmarks/devnet_elpv.py                                                       the whole benchmark
    python benchmarks/devnet_elpv.py --epochs 5 --draws 1 --one-draws 2 --image-size 64    to see that it works

All cells, mono and poly; three quarters of the normals train, and the anomalies that are not labelled are tested with
the last quarter. A draw is another seed of the labelled anomalies and of the training, on the same split.

Published (mean of 3 runs): 0.846 with 10 labels and 0.514 with 1 in DRA (Ding et al. 2022, Table 1); 0.843 and 0.810 in
AHL (Zhu et al. 2024). Those train a ResNet-18 whole, at 448 pixels, on turned images. Here the backbone is
EfficientNet-Lite0, frozen, at 224 pixels and nothing is turned; with --backbone small_resnet a small network is trained
from random weights. The few validation images are not used: figures are of the last epoch, on the test split.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from assay import shelves
from assay.data import splits
from assay.datasets.elpv import elpv
from assay.metrics import detection
from assay.models.scoring import clean_scores
from trainables.devnet import Devnet

PUBLISHED = {10: "0.846 (DRA), 0.843 (AHL)", 1: "0.514 (DRA), 0.810 (AHL)"}
BACKBONES = {"efficientnet_lite0": {"name": "remembered_maps:remembered"}, "small_resnet": {"name": "small_resnet"}}


def one_draw(labels: int, draw: int, options: argparse.Namespace) -> float:
    """AUROC on the test split after training on the anomalies of one draw."""
    dataset = elpv(
        cells="all",
        image_size=options.image_size,
        train_fraction=0.74,
        validation_fraction=0.01,
        validation_anomalies="pseudo",
        labelled_anomalies=labels,
        labelled_seed=draw,
    )
    values = {"backbone": BACKBONES[options.backbone], "epochs": options.epochs}
    run = Devnet(splits.training_data(dataset), seed=draw, **shelves.bind(Devnet, values))
    for _ in range(run.epochs):
        run.train_epoch()
    test = splits.test_images(dataset)
    return detection.auroc(test.labels, clean_scores(run.detector(), test, "cpu"))


def main() -> None:
    """Print a line for every draw, the spread of either number of labels, and the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--draws", type=int, default=3, help="of 10 labelled anomalies")
    parser.add_argument("--one-draws", type=int, default=10, help="of 1 labelled anomaly")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--backbone", choices=sorted(BACKBONES), default="efficientnet_lite0")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = []
    for labels, draws in ((10, options.draws), (1, options.one_draws)):
        found = []
        for draw in range(draws):
            started = time.monotonic()
            found.append(one_draw(labels, draw, options))
            print(f"{labels} labelled, draw {draw}: {found[-1]:.3f}  {time.monotonic() - started:.0f} s", flush=True)
        mean, spread, low, high = np.mean(found), np.std(found, ddof=min(1, draws - 1)), min(found), max(found)
        print(f"{labels} labelled: mean {mean:.3f} sd {spread:.3f} min {low:.3f} max {high:.3f}")
        print(f"  published, of other backbones: {PUBLISHED[labels]}")
        result.append(
            f"mean_{labels}={mean:.3f} sd_{labels}={spread:.3f} min_{labels}={low:.3f} max_{labels}={high:.3f}"
        )
    print("RESULT", *result, f"epochs={options.epochs} image_size={options.image_size} backbone={options.backbone}")


if __name__ == "__main__":
    main()
