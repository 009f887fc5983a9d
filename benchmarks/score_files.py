"""Ten thousand images from disk by `assay score`, against a plain loop: open, convert, resize, detector, one at a time.

The files are ELPV's (300 x 300 PNG), each named as often as it takes; the detector is COBRA's residual network at 64
px, trained for no epoch, as only its time counts. The command is timed whole, its start included; the loop without one,
and on all threads. Decisions and scores must be the same. RESULT ratio= images_per_second= loop_images_per_second=
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from assay import shelves
from assay.data import splits
from assay.datasets.elpv import elpv
from assay.models import model_folder
from assay.models.scoring import clean_scores, normal_scores, threshold_of
from assay.store.store import Store

SIZE = 64


def write_model(store: Store) -> str:
    """A COBRA detector of default size on ELPV mono."""
    data = splits.training_data(elpv(cells="mono", image_size=SIZE))
    recipe = shelves.load("trainables", "cobra")
    detector = recipe(data, seed=0, device="cpu", **shelves.bind(recipe, {})).detector()  # type: ignore[operator]
    labels, scores = data.validation.labels, clean_scores(detector, data.validation)
    manifest = {
        "trainable": "cobra",
        "parameters": {},
        "channels": 1,
        "image_size": SIZE,
        "dataset": {"item": {"name": "elpv", "cells": "mono", "image_size": SIZE}, **data.description},
        "threshold": threshold_of(labels, scores, 0.05),
        "normal_scores": normal_scores(labels, scores),
    }
    return model_folder.write(store, detector, manifest)


def looped(detector: torch.nn.Module, paths: list[Path]) -> list[float]:
    """The scores, one image at a time."""
    scores = []
    with torch.no_grad():
        for path in paths:
            image = Image.open(path).convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            pixels = torch.from_numpy(np.array(image)).float().div_(255)
            scores.append(float(detector(pixels[None, None])))
    return scores


def main() -> None:
    """Time both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    count = parser.parse_args().images
    torch.set_num_threads(os.cpu_count() or 1)
    files = sorted(sample.path for sample in elpv(cells="mono", image_size=SIZE).samples)
    paths = list(itertools.islice(itertools.cycle(files), count))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        name = write_model(store)
        detector = model_folder.load(store, name).detector
        looped(detector, paths[:100])
        started = time.perf_counter()
        expected = looped(detector, paths)
        loop = time.perf_counter() - started
        command = [
            str(Path(sys.executable).with_name("assay")),
            "score",
            name,
            "-",
            "--format",
            "jsonl",
            "--store",
            folder,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())}
        started = time.perf_counter()
        told = subprocess.run(
            command, input="\n".join(map(str, paths)), capture_output=True, text=True, check=True, env=environment
        )
        ours = time.perf_counter() - started
    scores = [json.loads(line)["score"] for line in told.stdout.splitlines()]
    apart = np.abs(np.array(scores) - expected).max() / np.std(expected)
    print(
        f"{count} images: assay score {ours:.1f} s, plain loop {loop:.1f} s; scores at most {apart:.1g} deviations "
        "apart"
    )
    print(
        f"RESULT ratio={loop / ours:.2f} images_per_second={count / ours:.0f} loop_images_per_second={count / loop:.0f}"
    )


if __name__ == "__main__":
    main()
