"""A training step of `monotone` on its certified margin against a step of the same network on PGD-10, in time.

Both take the same normals and pseudo-anomalies, made beforehand, and end with an update of the weights. Ours passes
both ends of the ball, which are the exact worst case; the rival's ten steps of PGD move each image by the gradient of
the same loss and then train on what they found. Processor seconds of one thread, taken in turn; `step_ratio` is the
median over rounds of ours over the rival's of the same round. `loss_gap`: the exact loss less that on PGD's images,
with the same weights: what PGD did not find. Target: step_ratio at most 0.35. 1 minute on an idle core.
RESULT step_ratio= loss_gap=
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from assay.contracts import Images, TrainingData
from trainables._adversary import Adversary
from trainables.monotone import Monotone

IMAGES, SIDE, EPSILON, STEPS = 96, 64, 2 / 255, 10


def seconds(step: Callable[[], object]) -> float:
    """Of the processor, for one call."""
    started = time.process_time()
    step()
    return time.process_time() - started


def main() -> None:
    """Print the ratio of every round and its median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    pixels = np.random.default_rng(0).normal(150, 12, (IMAGES, 1, SIDE, SIDE)).clip(0, 255).astype(np.uint8)
    names = tuple(map(str, range(IMAGES)))
    images = Images(pixels, np.zeros(IMAGES, np.int64), names, ("normal",) * IMAGES, names)
    run = Monotone(TrainingData(images, images, {}), seed=0, polarity="dark")  # type: ignore[typeddict-item]
    normals = run.normals[: run.batch_size]
    anomalies, usual = run.one_sided(normals), run.usual_of_others(normals)
    adversary = Adversary(epsilon=EPSILON, steps=STEPS, budget="fixed")
    generator = torch.Generator().manual_seed(0)

    def on_images(at: Tensor) -> Tensor:
        return run.margin(*run.network.decomposed(at, at, torch.cat([usual, usual])).chunk(2))

    def found_by_pgd() -> Tensor:
        return on_images(adversary.worst(on_images, torch.cat([normals, anomalies]), generator))

    def exact() -> Tensor:
        return run.proven_margin(normals, anomalies, usual, EPSILON)

    gap = float(exact().detach()) - float(found_by_pgd().detach())
    ratios = []
    for number in range(rounds + 1):
        ours, rival = seconds(lambda: run.update(exact())), seconds(lambda: run.update(found_by_pgd()))
        if number:  # the first round warms up
            ratios.append(ours / rival)
            print(f"round {number}: ours {ours:.3f} s, PGD-{STEPS} {rival:.3f} s, ratio {ours / rival:.3f}", flush=True)
    print(f"RESULT step_ratio={statistics.median(ratios):.3f} loss_gap={gap:.4f}")


if __name__ == "__main__":
    main()
