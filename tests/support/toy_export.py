"""Models of the trainables of the shelf, trained on images of several sizes: for tests of exports and of scoring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import toy_audit
from PIL import Image

from assay import shelves
from assay.data import splits
from assay.metrics import detection
from assay.models import model_folder
from assay.models.scoring import clean_scores, normal_scores, threshold_of
from assay.runtime.provenance import environment
from assay.store.store import Store

ELSEWHERE = {"smoothed", "anomalib"}
"""Trainables that no format can hold (smoothed), and that need another library (exported in tests/anomalib)."""
SMALL = {"backbone": {"name": "small_resnet", "width": 4}, "steps_per_epoch": 2, "epochs": 1}
NEEDED: dict[str, dict[str, Any]] = {
    "devnet": {"pseudo_anomaly": "cutout"},
    "draem": {"learning_rate": 0.05, "batch_size": 2, "width": 4},
    "tiled": {"tile": 8, "highest": 2, "of": {"name": "patchcore", "backbone": {"name": "small_resnet", "width": 4}}},
}
"""What they need besides to train at all, or in one epoch."""


def pictures(folder: Path) -> dict[str, Any]:
    """The images of `toy_audit.pictures`, stretched to sizes of their own; returns the dataset item."""
    item = toy_audit.pictures(folder)
    random = np.random.default_rng(1)
    for file in sorted(folder.rglob("*.png")):
        width, height = random.integers(20, 60, 2)
        Image.open(file).resize((int(width), int(height))).save(file)
    return item


def write_model(store: Store, item: dict[str, Any], trainable: str, **parameters: Any) -> str:
    """Train one epoch of a trainable and write its model as a trial does; returns its hash."""
    recipe: Any = shelves.load("trainables", trainable)
    small = {key: value for key, value in SMALL.items() if key in shelves.fields(recipe)}
    values = {**small, **NEEDED.get(trainable, {}), **parameters}
    arguments = shelves.bind(recipe, values)
    data = splits.training_data(model_folder.dataset_of(item))
    run = recipe(data, seed=0, device="cpu", **arguments)
    run.train_epoch()
    detector = run.detector()
    scores, labels = clean_scores(detector, data.validation), data.validation.labels
    manifest = {
        "trainable": trainable,
        "parameters": values,
        "channels": 1,
        "image_size": toy_audit.SIZE,
        "seed": 0,
        "dataset": {"item": item, **data.description},
        "threshold": threshold_of(labels, scores, 0.2),
        "normal_scores": normal_scores(labels, scores),
        "figures": {"split": "validation", "clean_auroc": detection.auroc(labels, scores)},
        "environment": environment(),
    }
    return model_folder.write(store, detector, manifest)
