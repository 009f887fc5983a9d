"""How often an interval of an audit misses the truth on one side, nominal 2.5 %, in simulated audits.

    python benchmarks/coverage.py [--audits 1000] [--processes 2]

Every cell is a shape of scores, a number of normals and of anomalies, and a figure that a gate may act on. Its audits
go through `metrics.detection.figures`, which also decides. The truth is the figure of 400,000 samples. The rival is the
percentile interval of the bootstrap alone, on the same audits. In the cells of grouped images the numbers are of parts,
of which each has several images, and the rival takes these images for independent.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.metrics import bootstrap, detection, groups, intervals
from assay.metrics.intervals import clopper_pearson

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]


class Parts(NamedTuple):
    """Images of parts: the scores of normals and anomalies, and the number of the part of each."""

    normals: Floats
    anomalies: Floats
    normal_parts: NDArray[np.int64]
    anomaly_parts: NDArray[np.int64]


DrawParts = Callable[[np.random.Generator, int, int], Parts]

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


IMAGES = 6
"""Of each part."""
ALIKE = 0.7
"""The share of the variance of scores that all images of a part have in common."""


def views(shape: tuple[Draw, Draw], sizes: Callable[[np.random.Generator, int], NDArray[np.int64]]) -> DrawParts:
    """Parts of one class each. The first image is drawn from the shape, and the others are like it or drawn anew."""

    def draw(random: np.random.Generator, normals: int, anomalies: int) -> Parts:
        made = []
        for one, count in zip(shape, (normals, anomalies), strict=True):
            part = np.repeat(np.arange(count), sizes(random, count))
            same = random.random(len(part)) < ALIKE
            made.append((np.where(same, one(random, count)[part], one(random, len(part))), part))
        return Parts(made[0][0], made[1][0], made[0][1], normals + made[1][1])

    return draw


def copies(shape: tuple[Draw, Draw]) -> DrawParts:
    """Parts whose images all have the same score, such as a part as a whole that is not seen."""

    def draw(random: np.random.Generator, normals: int, anomalies: int) -> Parts:
        scores = [np.repeat(one(random, count), IMAGES) for one, count in zip(shape, (normals, anomalies), strict=True)]
        parts = np.repeat(np.arange(normals + anomalies), IMAGES)
        return Parts(scores[0], scores[1], parts[: len(scores[0])], parts[len(scores[0]) :])

    return draw


def defects_in_all(apart: float, opposite: float, sign: int) -> DrawParts:
    """Parts with four normal images and two of a defect, so much alike that all of one class have the same score.

    opposite: the share of parts in which the defect is not seen and the rest looks like one. sign: whether what a part
    adds to its normals is added to its defects too (1), or taken from them (-1).
    """

    def draw(random: np.random.Generator, parts: int, _: int) -> Parts:
        effect, wrong = random.normal(0, 1, parts), random.random(parts) < opposite
        normals, anomalies = np.where(wrong, 99.0, effect), np.where(wrong, -99.0, apart + sign * effect)
        number = np.arange(parts)
        return Parts(np.repeat(normals, 4), np.repeat(anomalies, 2), np.repeat(number, 4), np.repeat(number, 2))

    return draw


def equal(_: np.random.Generator, count: int) -> NDArray[np.int64]:
    """The same number of images of each part."""
    return np.full(count, IMAGES)


def unequal(random: np.random.Generator, count: int) -> NDArray[np.int64]:
    """One image of most parts, many of a few."""
    return random.geometric(1 / IMAGES, count)


GROUPED: dict[str, DrawParts] = {
    "views, 0.76": views(binormal(1.0), equal),
    "views, 0.98": views(binormal(3.0), equal),
    "views, unequal": views(binormal(1.0), unequal),
    "views, 10 % hidden": views(hidden(0.1), unequal),
    "5 % of parts hidden": copies(hidden(0.05)),
    "10 % of parts hidden": copies(hidden(0.1)),
    "5 % of parts on top": copies(on_top(0.05)),
    "copies, rounded": copies(rounded(1.5)),
    "defects in all, alike": defects_in_all(1.0, 0.0, 1),
    "defects in all, opposed": defects_in_all(1.0, 0.0, -1),
    "5 % of parts wrong": defects_in_all(4.0, 0.05, 1),
}
GROUPED_SIZES = ((20, 20), (50, 20), (50, 50))


@cache
def truth(shape: str) -> dict[str, float]:
    """Every figure of so many samples that it is the truth."""
    random = np.random.default_rng(2)
    if shape in GROUPED:
        normals, anomalies = GROUPED[shape](random, TRUE, TRUE)[:2]
    else:
        normals, anomalies = (draw(random, TRUE) for draw in SHAPES[shape])
    found = {name: float(value[0]) for name, value in bootstrap.ranking(normals, anomalies).items()}
    found["miss_rate"] = float((anomalies <= THRESHOLD).mean())
    found["false_alarm_rate"] = float((normals > THRESHOLD).mean())
    return found


def precision(shape: str, sizes: tuple[int, int]) -> float:
    """The true average precision at the prevalence of these class sizes."""
    random, factor = np.random.default_rng(3), TRUE // max(sizes)
    if shape in GROUPED:
        normals, anomalies = GROUPED[shape](random, *(factor // IMAGES * n for n in sizes))[:2]
        return float(bootstrap.ranking(normals, anomalies)["average_precision"][0])
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


def grouped_cell(shape: str, sizes: tuple[int, int], audits: int) -> dict[str, tuple[float, float, float, float]]:
    """The same of so many parts; the last two are the misses of intervals that take their images for independent."""
    true = truth(shape) | {"average_precision": precision(shape, sizes)}
    random = np.random.default_rng(1)
    misses = {name: np.zeros(4) for name in true}
    for number in range(audits):
        drawn = GROUPED[shape](random, *sizes)
        labels = np.repeat([0, 1], [len(drawn.normals), len(drawn.anomalies)])
        scores, parts = np.r_[drawn[:2]], np.r_[drawn[2:]].astype(str).astype(object)
        found, naive = (
            detection.figures(labels, scores, threshold=THRESHOLD, seed=number, replicates=count, groups=held)
            for held, count in ((parts, 1000), (None, 200))
        )
        for name, value in true.items():
            one, other = found[name], naive[name]
            misses[name] += [one.lower > value, one.upper < value, other.lower > value, other.upper < value]
    shares = {name: tuple(count / audits) for name, count in misses.items()}
    for name, ours in grouped_rates(shape, sizes, true).items():
        shares[name] = (*ours, *shares[name][2:])
    return shares  # type: ignore[return-value]


def grouped_rates(
    shape: str, sizes: tuple[int, int], true: dict[str, float], draws: int = 10_000
) -> dict[str, tuple[float, float]]:
    """How often the bounds of the two rates miss on each side: they need no resamples, so many more can be drawn."""
    random = np.random.default_rng(4)
    misses = {"miss_rate": np.zeros(2), "false_alarm_rate": np.zeros(2)}
    for _ in range(draws):
        drawn = GROUPED[shape](random, *sizes)
        worth = groups.worth(0, 0, groups.among(drawn.normal_parts, drawn.anomaly_parts))
        for name, wrong, count in (
            ("miss_rate", drawn.anomalies <= THRESHOLD, worth.anomalies),
            ("false_alarm_rate", drawn.normals > THRESHOLD, worth.normals),
        ):
            lower, upper = intervals.rate(int(wrong.sum()), len(wrong), 0.95, count)
            misses[name] += [lower > true[name], upper < true[name]]
    return {name: tuple(count / draws) for name, count in misses.items()}  # type: ignore[misc]


def _resampled(normals: Floats, anomalies: Floats, seed: int) -> bootstrap.Distribution:
    samples = len(normals) + len(anomalies)
    [drawn] = bootstrap.distributions(lambda: [(normals, anomalies, None)], samples, replicates=400, seed=seed)
    return drawn


def main() -> None:
    """Print every cell and the worst."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--audits", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--grouped", action="store_true", help="the cells of grouped images alone")
    options = parser.parse_args()
    work = [] if options.grouped else [(cell, *one) for one in itertools.product(SHAPES, SIZES)]
    work += [(grouped_cell, shape, sizes) for shape, sizes in itertools.product(GROUPED, GROUPED_SIZES)]
    todo = [(shape, sizes) for _, shape, sizes in work]
    with ProcessPoolExecutor(options.processes) as pool:
        made = [pool.submit(function, shape, sizes, options.audits) for function, shape, sizes in work]
        found = [one.result() for one in made]
    worst, rival, grouped, naive, cells = 0.0, 0.0, 0.0, 0.0, 0
    for (shape, (normals, anomalies)), figures in zip(todo, found, strict=True):
        for name, (low, high, low_alone, high_alone) in figures.items():
            cells += 1
            worst = max(worst, low, high)
            if shape in GROUPED:
                grouped, naive = max(grouped, low, high), max(naive, low_alone, high_alone)
            else:
                rival = max(rival, low_alone, high_alone)
            where = f"{shape:24s} {normals:3d}/{anomalies:3d} {name:18s}"
            print(f"{where} {low:.3f} {high:.3f}   {low_alone:.3f} {high_alone:.3f}")
    print(
        f"RESULT worst_miss={worst:.3f} bootstrap_alone={rival:.3f} cells={cells} audits={options.audits} "
        f"grouped_miss={grouped:.3f} taken_for_independent={naive:.3f}"
    )


if __name__ == "__main__":
    main()
