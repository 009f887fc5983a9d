"""Certifying a monotone detector at ten radii against scoring the same images once: how many forwards does it cost?

`monotone` with its default parameters, 64 images of 64 px, one thread, processor seconds, taken in turn; the median
over rounds. A proof at one radius is two forwards, at both ends of the ball, so that ten need 20 and the making of the
ends. Target: forward_ratio at most 25. Half a minute on an idle core. RESULT per_image_ms= forward_ratio=
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from assay.models import certificates
from trainables._monotone import MonotoneNetwork

IMAGES, SIDE, ROUNDS = 64, 64, 9
RADII = [n / 255 for n in range(1, 11)]


def seconds(call: Callable[[], object]) -> float:
    """Of the processor, for one call."""
    started = time.process_time()
    call()
    return time.process_time() - started


def main() -> None:
    """Print the medians."""
    torch.set_num_threads(1)
    images = torch.rand(IMAGES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    detector = MonotoneNetwork(1, SIDE, polarity="dark", surroundings=0.5, width=8, depth=3).eval()
    detector.requires_grad_(False)
    radii, certified, ratios = torch.tensor(RADII, dtype=torch.float64), [], []
    for number in range(ROUNDS + 1):
        forward = statistics.mean(seconds(lambda: detector(images)) for _ in range(3))
        proof = seconds(lambda: certificates.bounds(detector, images, "linf", radii, [], 1))
        if number:  # the first round warms up
            certified.append(1000 * proof / IMAGES)
            ratios.append(proof / forward)
            print(f"round {number}: {certified[-1]:.2f} ms an image, {ratios[-1]:.1f} forwards", flush=True)
    print(f"RESULT per_image_ms={statistics.median(certified):.2f} forward_ratio={statistics.median(ratios):.1f}")


if __name__ == "__main__":
    main()
