"""A training step whose freed memory is kept for the next, as every trial keeps it, against the same step as it comes.

Processes of either kind in turn, each after 5 steps to warm up; `ratio` is the median over the rounds of the kept one's
median step over the other's of the same round. `extra_mb` is by how much more memory it peaked.

    python benchmarks/kept_memory.py             target: at most 0.95 of the time
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch
from torch.nn import functional as F

from assay.runtime import malloc
from trainables.backbones.resnet18 import resnet18

TARGET, ROUNDS, WARM_UP, STEPS = 0.95, 3, 5, 15
SIZES = ((64, 64), (16, 224))


def steps(batch: int, side: int) -> None:
    """Train a ResNet-18 and print the median step in seconds and the most memory held, in MB."""
    torch.manual_seed(0)
    net = resnet18(channels=3, stem="imagenet")
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
    images = torch.rand(batch, 3, side, side)
    seconds = []
    for _ in range(WARM_UP + STEPS):
        started = time.perf_counter()
        optimiser.zero_grad()
        F.normalize(net(images).flatten(1)).square().mean().backward()
        optimiser.step()
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(statistics.median(seconds[WARM_UP:]), peak)


def measured(batch: int, side: int, *, keep: bool) -> tuple[float, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--steps", str(batch), str(side), *(["--keep"] if keep else [])]
    seconds, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", nargs=2, type=int, metavar=("BATCH", "SIDE"), help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.steps:
        torch.set_num_threads(2)
        if arguments.keep and not malloc.keep():
            sys.exit("memory cannot be kept here: glibc is needed, and no MALLOC_ or GLIBC_TUNABLES variable set")
        steps(*arguments.steps)
        return
    worst, extra = 0.0, 0.0
    for batch, side in SIZES:
        rounds = [(measured(batch, side, keep=True), measured(batch, side, keep=False)) for _ in range(ROUNDS)]
        ratio = statistics.median(kept[0] / plain[0] for kept, plain in rounds)
        more = statistics.median(kept[1] - plain[1] for kept, plain in rounds)
        worst, extra = max(worst, ratio), max(extra, more)
        kept, plain = (1000 * statistics.median(pair[i][0] for pair in rounds) for i in (0, 1))
        print(
            f"{batch} images of {side} px: {kept:.0f} ms kept, {plain:.0f} ms as it comes, {ratio:.3f}; {more:+.0f} MB"
        )
    print(f"RESULT ratio={worst:.3f} extra_mb={extra:.0f} target={TARGET}")


if __name__ == "__main__":
    main()
