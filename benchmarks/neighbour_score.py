"""Scoring against a bank of 50,000 normals of 512 features: memory beyond the bank, and speed beside the bare product.

`extra_mb` is the rise of the process's peak memory over what it held with the bank and the images' features in place,
for a score and its gradient. `speed_fraction` is the time of the bare matrix product over that of the search (which
makes that product too, in blocks, and keeps the three nearest), the least of several, taken in turn.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables._nearest import nearest

BANK, FEATURES, NEIGHBOURS = 50_000, 512, 3


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def held_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def unit(rows: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(rows, FEATURES, generator=torch.Generator().manual_seed(seed)), dim=1)


def seconds(what: Callable[[], object]) -> float:
    started = time.process_time()
    what()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    bank, rows = torch.empty(BANK, FEATURES), unit(arguments.batch, 1)
    for first in range(0, BANK, 1000):  # in parts: a passing peak here would hide one of the search
        bank[first : first + 1000] = unit(1000, first + 2)
    rows @ bank[:100].T  # the libraries' own buffers
    before = held_mb()
    asked = rows.clone().requires_grad_(True)
    scores = nearest(asked, bank, NEIGHBOURS)
    torch.autograd.grad(scores.sum(), asked)
    extra = max(0.0, peak_mb() - before)
    with torch.no_grad():
        whole = torch.cat([1 - part @ bank.T for part in rows.split(64)]).topk(NEIGHBOURS, largest=False).values.mean(1)
        print(f"largest difference from a whole search: {(scores.detach() - whole).abs().max():.1e}")
        times = [
            (seconds(lambda: rows @ bank.T), seconds(lambda: nearest(rows, bank, NEIGHBOURS)))
            for _ in range(arguments.repeat)
        ]
    bare, search = (min(each) for each in zip(*times, strict=True))
    print(f"batch {arguments.batch}: bare product {1000 * bare:.0f} ms, search {1000 * search:.0f} ms")
    print(f"RESULT extra_mb={extra:.0f} speed_fraction={bare / search:.2f}")


if __name__ == "__main__":
    main()
