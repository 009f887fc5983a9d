"""How often an interval of an audit misses the truth on one side, nominal 2.5 %, in simulated audits.

    python benchmarks/coverage.py [--audits 1000] [--processes 2] [--only TEXT]          about 8 minutes on 2 cores

Every cell is a shape of scores, a number of normals and of anomalies, and a figure that a gate may act on, or that a
report shows with an interval. Its audits go through the functions that decide: `metrics.detection`, `.corruption`,
`.security_curve`, `.deployed`, `.localisation`. The truth is the same figure of so many samples that it is one. Average
precision is at a prevalence, as in a gate, and at that of the samples. Cells `first of six gates` are at the confidence
that Holm's correction asks of the first of six, nominal 0.42 %.

The rival is the percentile interval of the bootstrap alone, in the cells of grouped images our intervals of images that
are taken for independent; both on the first 200 audits of a cell. There the numbers are of parts, not of images.
"""

from __future__ import annotations

import argparse
import functools
import itertools
from concurrent.futures import ProcessPoolExecutor

import coverage_audits
import numpy as np
from coverage_shapes import GROUPED, IMAGES, SHAPES, Floats

from assay.metrics import bootstrap, detection, groups, intervals
from assay.metrics.intervals import clopper_pearson

Misses = tuple[float, float, float, float]
"""Shares of audits: the lower bound lies above the truth, the upper one below it; and the same of the rival."""

SIZES = ((20, 20), (50, 50), (300, 20), (300, 50), (50, 300), (300, 300))
AT_PREVALENCE = ((50, 50), (300, 20), (50, 300))
GROUPED_SIZES = ((20, 20), (50, 20), (50, 50))
FIRST_OF_SIX = 1 - 0.05 / 6
FIRST = (("10 % hidden", (50, 50)), ("10 % hidden", (300, 20)), ("5 % of normals on top", (50, 50)))
TRUE = 400_000
THRESHOLD = 1.0
PREVALENCE = 0.05
AT = "AP at 5 %"
RIVALS = 200


def remember_resamples() -> None:
    """Draw the resamples of every size once: an audit has the same ones each time, too."""
    made = functools.cache(lambda replicates, samples, seed: list(blocks(replicates, samples, seed)))
    blocks = bootstrap.blocks
    bootstrap.blocks = made  # type: ignore[assignment]


def scores(shape: str, random: np.random.Generator, normals: int, anomalies: int) -> tuple[Floats, Floats]:
    """Those of so many normals and anomalies, or parts of them."""
    if shape in GROUPED:
        return GROUPED[shape](random, normals, anomalies)[:2]
    first, second = SHAPES[shape]
    return first(random, normals), second(random, anomalies)


@functools.cache
def whole_truth(shape: str) -> dict[str, float]:
    """Every figure of so many samples that it is the truth, but the average precision of some numbers of samples."""
    normals, anomalies = scores(shape, np.random.default_rng(2), TRUE, TRUE)
    found = {name: float(value[0]) for name, value in bootstrap.ranking(normals, anomalies).items()}
    found[AT] = float(bootstrap.ranking(normals, anomalies, prevalence=PREVALENCE)["average_precision"][0])
    found["miss_rate"] = float((anomalies <= THRESHOLD).mean())
    found["false_alarm_rate"] = float((normals > THRESHOLD).mean())
    return found


def truth(shape: str, sizes: tuple[int, int]) -> dict[str, float]:
    """All of them, the average precision at the prevalence of these sizes."""
    factor = TRUE // max(sizes) // (IMAGES if shape in GROUPED else 1)
    pair = scores(shape, np.random.default_rng(3), *(factor * size for size in sizes))
    return whole_truth(shape) | {"average_precision": float(bootstrap.ranking(*pair)["average_precision"][0])}


def cell(shape: str, sizes: tuple[int, int], audits: int, confidence: float = 0.95) -> dict[str, Misses]:
    """Figure -> its misses, and those of the bootstrap alone."""
    true = truth(shape, sizes)
    if sizes not in AT_PREVALENCE or confidence != 0.95:
        del true[AT]
    random, labels = np.random.default_rng(1), np.repeat([0, 1], sizes)
    ours, rivals = {name: np.zeros(2) for name in true}, {name: np.zeros(2) for name in true}
    for number in range(audits):
        normals, anomalies = (draw(random, n) for draw, n in zip(SHAPES[shape], sizes, strict=True))
        values = np.r_[normals, anomalies]
        options = {"threshold": THRESHOLD, "confidence": confidence, "replicates": bootstrap.replicates(confidence)}
        found = detection.figures(labels, values, **options)  # type: ignore[arg-type]
        if AT in true:
            found |= coverage_audits.at_prevalence(labels, values, AT, prevalence=PREVALENCE, **options)
        for name, value in true.items():
            ours[name] += [found[name].lower > value, found[name].upper < value]
        if number < RIVALS:
            [drawn] = bootstrap.distributions(
                lambda pair=(normals, anomalies, None): [pair], sum(sizes), replicates=400, seed=0  # type: ignore[misc]
            )  # fmt: skip
            for name, resampled in drawn.items():
                low, high = bootstrap.percentiles(resampled, confidence)
                rivals[name] += [low > true[name], high < true[name]]
    shares = {name: (*(ours[name] / audits), *(rivals[name] / min(audits, RIVALS))) for name in true}
    if confidence != 0.95:
        return {name: misses for name, misses in shares.items() if not name.endswith("rate")}
    for name, count in (("miss_rate", sizes[1]), ("false_alarm_rate", sizes[0])):
        shares[name] = (*rates(true[name], count), 0.0, 0.0)
    return shares


def rates(true: float, count: int, draws: int = 20_000) -> tuple[float, float]:
    """How often the bounds of a rate miss on each side: they depend on a count alone, so many more can be drawn."""
    seen = np.random.default_rng(4).binomial(count, true, draws)
    bounds = {hits: clopper_pearson(int(hits), count, 0.95) for hits in np.unique(seen)}
    lower, upper = np.array([bounds[hits] for hits in seen]).T
    return float((lower > true).mean()), float((upper < true).mean())


def grouped_cell(shape: str, sizes: tuple[int, int], audits: int) -> dict[str, Misses]:
    """The same of so many parts; the rival takes their images for independent."""
    true = {name: value for name, value in truth(shape, sizes).items() if name != AT}
    random = np.random.default_rng(1)
    ours, rivals = {name: np.zeros(2) for name in true}, {name: np.zeros(2) for name in true}
    for number in range(audits):
        drawn = GROUPED[shape](random, *sizes)
        labels = np.repeat([0, 1], [len(drawn.normals), len(drawn.anomalies)])
        scores, parts = np.r_[drawn[:2]], np.r_[drawn[2:]].astype(str).astype(object)
        for held, misses, count in ((parts, ours, 1000), (None, rivals, 200)):
            if held is None and number >= RIVALS:
                continue
            found = detection.figures(labels, scores, threshold=THRESHOLD, replicates=count, groups=held)
            for name, value in true.items():
                misses[name] += [found[name].lower > value, found[name].upper < value]
    shares = {name: (*(ours[name] / audits), *(rivals[name] / min(audits, RIVALS))) for name in true}
    for name, of_ours in grouped_rates(shape, sizes, true).items():
        shares[name] = (*of_ours, *shares[name][2:])
    return shares


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


def audit_cell(name: str, sizes: tuple[int, int], audits: int) -> dict[str, Misses]:
    """The same of the other figures of an audit, which have no rival."""
    return {figure: (*both, 0.0, 0.0) for figure, both in coverage_audits.misses(name, sizes, audits).items()}


def main() -> None:
    """Print every cell and the worst."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--audits", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="the cells whose shape holds this text")
    options = parser.parse_args()
    work = [
        *((audit_cell, name, sizes, options.audits) for name, sizes in coverage_audits.CELLS),
        *((grouped_cell, *one, options.audits) for one in itertools.product(GROUPED, GROUPED_SIZES)),
        *((cell, *one, options.audits, FIRST_OF_SIX) for one in FIRST),
        *((cell, *one, options.audits) for one in itertools.product(SHAPES, SIZES)),
    ]
    work = [one for one in work if options.only in one[1]]
    with ProcessPoolExecutor(options.processes, initializer=remember_resamples) as pool:
        made = [pool.submit(*one) for one in work]
        found = [one.result() for one in made]
    worst = dict.fromkeys(("worst", "rival", "grouped", "naive", "first"), 0.0)
    cells = 0
    for (function, shape, (normals, anomalies), *more), figures in zip(work, found, strict=True):
        first = more[1:] == [FIRST_OF_SIX]
        for name, (low, high, low_rival, high_rival) in figures.items():
            cells += 1
            for key in ("first",) if first else ("worst", "grouped") if function is grouped_cell else ("worst",):
                worst[key] = max(worst[key], low, high)
            if function is not audit_cell and not first:
                rival = "naive" if function is grouped_cell else "rival"
                worst[rival] = max(worst[rival], low_rival, high_rival)
            where = f"{'first of six gates, ' * first + shape:44s} {normals:3d}/{anomalies:3d} {name:22s}"
            print(f"{where} {low:.3f} {high:.3f}   {low_rival:.3f} {high_rival:.3f}")
    print(
        f"RESULT worst_miss={worst['worst']:.3f} bootstrap_alone={worst['rival']:.3f} cells={cells} "
        f"audits={options.audits} grouped_miss={worst['grouped']:.3f} taken_for_independent={worst['naive']:.3f} "
        f"first_of_six={worst['first']:.4f}"
    )


if __name__ == "__main__":
    main()
