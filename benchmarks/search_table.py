"""A table of real trainings: every configuration of a finite space, measured by every attack of a fidelity ladder.

    python benchmarks/search_table.py --record FILE.parquet      about an hour of one core; what FILE has is kept

COBRA and three kinds of detectors with a proof on ELPV mono, 32 px. How to search is to be chosen on the table of one
--split-seed, and looked at once on that of another. At each of EPOCHS a detector is measured by the attack of the rung
that ends there and by the full one, on IMAGES validation images of each class, and what training, scoring and each
attack took is noted in seconds of a processor, of one thread. `search_quality.py` searches this table: as the space is
finite and the table has all of it, a search on a virtual clock meets nothing that was not trained.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from assay import shelves
from assay.config import reader
from assay.config.search import fidelity
from assay.config.search_space import Spec
from assay.contracts import TrainingData
from assay.data import splits
from assay.data.reduced import take
from assay.hashing import canonical
from assay.metrics import detection
from assay.models import scoring
from assay.runtime.float32 import exact_float32
from assay.store.store import Store
from assay.sweeps.evaluation import attacked_scores
from assay.sweeps.study import Study
from assay.sweeps.trial import TrialConfig

EPOCHS = (1, 3, 9, 27)
IMAGES = 60
LADDER: tuple[dict[str, Any], ...] = (
    {"until": EPOCHS[0], "attack": "fgsm"},
    {"until": EPOCHS[1], "attack": "pgd", "steps": 5},
    {"until": EPOCHS[2], "attack": "pgd", "steps": 20, "restarts": 2},
)
TOP: dict[str, Any] = {"attack": "apgd", "steps": 50, "epsilon": "2/255", "every": EPOCHS[-1]}
ATTACKS = {fidelity.label(rung): rung for rung in (*LADDER, {"attack": "apgd", "steps": 50})}
FULL = fidelity.label(TOP)

COBRA = {
    "epochs": EPOCHS[-1],
    "backbone": {"small_resnet": {"width": 8, "shrink": 4}},
    "adversary.epsilon": {"choice": [0.0, "2/255", "4/255", "8/255"]},
    "pseudo_anomaly": {"choice": ["perlin", "cutpaste", "scar"]},
    "learning_rate": {"choice": [5e-4, 4e-3]},
    "loss.pairs": {"choice": ["none", "supcon"]},
    "score.pixels": {"choice": [0.0, 1.0]},
}
MONOTONE = {
    "epochs": EPOCHS[-1],
    "steps_per_epoch": 10,
    "polarity": {"choice": ["dark", "bright", "both"]},
    "surroundings": {"choice": [0.0, 0.25, 0.5]},
    "learning_rate": {"choice": [1e-3, 5e-3]},
    "pseudo_anomaly": {"choice": ["shade", "scar"]},
}
LIPSCHITZ = {
    "epochs": EPOCHS[-1],
    "steps_per_epoch": 10,
    "learning_rate": {"choice": [1e-3, 3e-3, 1e-2]},
    "radius": {"choice": [0.05, 0.25, 0.5]},
}
LOCAL_PIXELS = {
    "polarity": {"choice": ["dark", "bright", "both"]},
    "patches": {"choice": [0.0, 1.0, 2.0]},
    "size": {"choice": [2, 4]},
}
SPACE: dict[str, Any] = {
    "name": "search-quality",
    "trainable": {
        "choice": [
            {"cobra": COBRA},
            {"monotone": MONOTONE},
            {"lipschitz": LIPSCHITZ},
            {"local_pixels": LOCAL_PIXELS},
        ]
    },
    "dataset": {"name": "elpv", "cells": "mono", "image_size": 32},
    "evaluation": TOP,
    "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
    "search": {"sampler": "grid", "trials": 1000, "seed": 0},
    "tracking": {"wandb": False},
}


SCHEMA = pa.schema(
    [
        ("trial", pa.int64()),
        ("parameters", pa.string()),  # under Optuna's names, as JSON
        ("epoch", pa.int64()),
        ("done", pa.bool_()),  # whether the training has ended
        ("trained", pa.float64()),  # processor seconds of training so far
        ("scoring", pa.float64()),  # of the clean figure
        ("clean", pa.float64()),  # AUROC
        *((name, pa.float64()) for name in ATTACKS),  # AUROC under each attack, null where it was not made
        *((f"{name} seconds", pa.float64()) for name in ATTACKS),
    ]
)


def space(**changes: Any) -> Spec:
    """The space that the table holds, with other sections where given."""
    return reader.check({**SPACE, **changes}, "the benchmark's search space")


def orders() -> Iterator[tuple[TrialConfig, Mapping[str, Any]]]:
    """Every configuration once, in an order drawn at random, with its parameters under Optuna's names."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(space(), Store(folder))
        while order := study.next_order():
            yield order, study.records[order.number].parameters
            study.end(order.number, "pruned")
        study.log.close()


def measured(order: TrialConfig, data: TrainingData) -> Iterator[dict[str, Any]]:
    """Train one configuration: a row for each of EPOCHS, the last at the end of its training.

    A detector that is not trained has one row, of the full attack alone: no lower rung would ever measure it.
    """
    item: Any = shelves.load("trainables", order.trainable)
    clock = time.process_time
    trained = -clock()
    run = item(data, seed=order.seed, device=order.device, **shelves.bind(item, order.config))
    trained += clock()
    images = take(data.validation, scoring.some_of_each(data.validation.labels, IMAGES))
    epoch = 0
    for rung, until in zip([*ATTACKS], EPOCHS, strict=True):
        trained -= clock()
        while epoch < min(until, run.epochs):
            run.train_epoch()
            epoch += 1
        trained += clock()
        scored = -clock()
        with exact_float32():
            detector = run.detector()
        clean = detection.auroc(images.labels, scoring.clean_scores(detector, images, order.device))
        scored += clock()
        row = {"epoch": epoch, "done": epoch == run.epochs, "trained": trained, "scoring": scored, "clean": clean}
        for name in ATTACKS:
            row |= {name: None, f"{name} seconds": None}
        for name in {FULL} if row["done"] else {rung, FULL}:
            began, evaluation = clock(), fidelity.at(order.evaluation, ATTACKS[name])
            scores = attacked_scores(detector, images, evaluation, order.evaluation_seed)
            row |= {name: detection.auroc(images.labels, scores), f"{name} seconds": clock() - began}
        yield row
        if epoch == run.epochs:
            return


def load(file: Path) -> list[dict[str, Any]]:
    """The rows of a table; none where there is no file."""
    rows: list[dict[str, Any]] = pq.read_table(file).to_pylist() if file.exists() else []
    return rows


def record(file: Path, split_seed: int) -> None:
    """Train what the table does not have yet; it is written anew after each configuration."""
    torch.set_num_threads(1)
    dataset = space().dataset
    data = splits.training_data(dataset.function(**dataset.arguments() | {"split_seed": split_seed}))
    rows = load(file)
    there = {row["parameters"] for row in rows}
    for order, parameters in orders():
        name = canonical(dict(parameters)).decode()
        if name in there:
            continue
        began = time.monotonic()
        found = [{"trial": order.number, "parameters": name, **row} for row in measured(order, data)]
        rows += found
        half = file.with_suffix(".part")
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), half)
        half.replace(file)
        last = found[-1]
        print(
            f"{order.number}: {time.monotonic() - began:.1f} s ({last['trained']:.1f} of training), clean "
            f"{last['clean']:.3f}, {FULL} {last[FULL]:.3f}: {json.dumps(parameters)}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, required=True, metavar="FILE", help="the Parquet file to be continued")
    parser.add_argument("--split-seed", type=int, default=0)
    options = parser.parse_args()
    record(options.record, options.split_seed)


if __name__ == "__main__":
    main()
