"""How often an interval of an audit misses the truth on one side, nominal 2.5 %, in simulated audits.

    python benchmarks/coverage.py [--audits 1000] [--processes 2]

Every cell is a shape of scores, a number of normals and of anomalies, and a figure that a gate may act on. Its audits
go through `metrics.detection.figures`, which also decides. The truth is the figure of 400,000 samples. The rival is the
percentile interval of the bootstrap alone, on the same audits.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache

import numpy as np
from numpy.typing import NDArray

from assay.metrics import bootstrap, detection
from assay.metrics.intervals import clopper_pearson

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]

SIZES = ((20, 20), (50, 50), (300, 20), (300, 50), (50, 300), (300, 300))
TRUE = 400_000
THRESHOLD = 1.0


def binormal(apart: float) -> tuple[Draw, Draw]:
    """Normals N(0, 1), anomalies N(apart, 1)."""
    return (lambda random, n: random.normal(0, 1, n)), (lambda random, n: random.normal(apart, 1, n))


def hidden(share: float) -> tuple[Draw, Draw]:
    """Well separated, but a share of the anomalies scores below every normal: a kind of defect that is not seen."""
    normals, anomalies = binormal(4)
    return normals, lambda random, n: np.where(random.random(n) < share, -9.0, anomalies(random, n))


def on_top(share: float) -> tuple[Draw, Draw]:
    """Well separated, but a share of the normals scores above every anomaly."""
    normals, anomalies = binormal(4)
    return (lambda random, n: np.where(random.random(n) < share, 99.0, normals(random, n))), anomalies


def rounded(apart: float) -> tuple[Draw, Draw]:
    """Whole numbers: nearly all scores tie."""
    normals, anomalies = binormal(apart)
    return (lambda random, n: normals(random, n).round()), (lambda random, n: anomalies(random, n).round())


def saturated(apart: float) -> tuple[Draw, Draw]:
    """Scores clipped to [-1, 1.5], as a clamped detector gives them."""
    normals, anomalies = binormal(apart)
    return (lambda random, n: normals(random, n).clip(-1, 1.5)), (lambda random, n: anomalies(random, n).clip(-1, 1.5))


SHAPES: dict[str, tuple[Draw, Draw]] = {
    "binormal 0.76": binormal(1.0),
    "binormal 0.98": binormal(3.0),
    "5 % hidden": hidden(0.05),
    "10 % hidden": hidden(0.1),
    "5 % of normals on top": on_top(0.05),
    "rounded": rounded(1.5),
    "saturated": saturated(1.5),
}


@cache
def truth(shape: str) -> dict[str, float]:
    """Every figure of so many samples that it is the truth."""
    random = np.random.default_rng(2)
    normals, anomalies = (draw(random, TRUE) for draw in SHAPES[shape])
    found = {name: float(value[0]) for name, value in bootstrap.ranking(normals, anomalies).items()}
    found["miss_rate"] = float((anomalies <= THRESHOLD).mean())
    found["false_alarm_rate"] = float((normals > THRESHOLD).mean())
    return found


def precision(shape: str, sizes: tuple[int, int]) -> float:
    """The true average precision at the prevalence of these class sizes."""
    random, factor = np.random.default_rng(3), TRUE // max(sizes)
    normals, anomalies = (draw(random, factor * n) for draw, n in zip(SHAPES[shape], sizes, strict=True))
    return float(bootstrap.ranking(normals, anomalies)["average_precision"][0])


def rates(true: float, count: int, draws: int = 20_000) -> tuple[float, float]:
    """How often the bounds of a rate miss on each side: they depend on a count alone, so many more can be drawn."""
    seen = np.random.default_rng(4).binomial(count, true, draws)
    bounds = {hits: clopper_pearson(int(hits), count, 0.95) for hits in np.unique(seen)}
    lower, upper = np.array([bounds[hits] for hits in seen]).T
    return float((lower > true).mean()), float((upper < true).mean())


def cell(shape: str, sizes: tuple[int, int], audits: int) -> dict[str, tuple[float, float, float, float]]:
    """Figure -> shares of audits: misses of the lower and upper bound, and the same of the bootstrap alone."""
    true = truth(shape) | {"average_precision": precision(shape, sizes)}
    random = np.random.default_rng(1)
    labels = np.repeat([0, 1], sizes)
    misses = {name: np.zeros(4) for name in true}
    for number in range(audits):
        scores = np.r_[SHAPES[shape][0](random, sizes[0]), SHAPES[shape][1](random, sizes[1])]
        found = detection.figures(labels, scores, threshold=THRESHOLD, seed=number, replicates=1000)
        drawn = _resampled(scores[labels == 0], scores[labels == 1], number)
        for name, value in true.items():
            low, high = bootstrap.percentiles(drawn[name], 0.95) if name in drawn else found[name][1:]
            one = found[name]
            misses[name] += [one.lower > value, one.upper < value, low > value, high < value]
    shares = {name: tuple(count / audits) for name, count in misses.items()}
    for name, count in (("miss_rate", sizes[1]), ("false_alarm_rate", sizes[0])):
        shares[name] = rates(true[name], count) * 2
    return shares  # type: ignore[return-value]


def _resampled(normals: Floats, anomalies: Floats, seed: int) -> bootstrap.Distribution:
    samples = len(normals) + len(anomalies)
    [drawn] = bootstrap.distributions(lambda: [(normals, anomalies)], samples, replicates=400, seed=seed)
    return drawn


def main() -> None:
    """Print every cell and the worst."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--audits", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    todo = list(itertools.product(SHAPES, SIZES))
    with ProcessPoolExecutor(options.processes) as pool:
        found = list(pool.map(cell, *zip(*todo, strict=True), [options.audits] * len(todo)))
    worst, rival, cells = 0.0, 0.0, 0
    for (shape, (normals, anomalies)), figures in zip(todo, found, strict=True):
        for name, (low, high, low_alone, high_alone) in figures.items():
            cells += 1
            worst, rival = max(worst, low, high), max(rival, low_alone, high_alone)
            where = f"{shape:22s} {normals:3d}/{anomalies:3d} {name:18s}"
            print(f"{where} {low:.3f} {high:.3f}   {low_alone:.3f} {high_alone:.3f}")
    print(f"RESULT worst_miss={worst:.3f} bootstrap_alone={rival:.3f} cells={cells} audits={options.audits}")


if __name__ == "__main__":
    main()
