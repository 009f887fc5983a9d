"""Simulated audits of whole tables: the worst kind, curves, corruptions, the deployed file, maps, smallest epsilons.

Each shape of AUDITS draws the scores of an audit and has the functions that decide make figures of them. The truth is
what the same functions make of very many samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from coverage_shapes import Draw, DrawParts, Floats, binormal, hidden, on_top
from numpy.typing import NDArray

from assay.approval import worst_seed
from assay.metrics import certified, corruption, deployed, detection, localisation, security_curve
from assay.metrics.intervals import Interval
from assay.store import figures as figure_table
from assay.store.score_matrix import (
    ALL,
    CLEAN,
    DEPLOYED,
    ROUNDED,
    SCORE,
    WORST,
    WORST_CATEGORY,
    WORST_KIND,
    ScoreMatrix,
    Setting,
)

Random = np.random.Generator
Found = dict[str, Interval]
Audit = Callable[[Random, int, int, int], Found]
"""Random numbers, how many normals and anomalies, how many resamples -> the figures of a simulated audit."""
Shape = tuple[Draw, Draw]
Misses = dict[str, tuple[float, float]]

THRESHOLD = 1.0
PREVALENCE = 0.05
RESAMPLES = 1000
MANY, TIMES = 20_000, 6
"""A truth is the median of the figures of so many samples, so many times."""
FEWER = 1500
"""The same where a figure is of maps, which are larger than scores."""
NOMINAL = 0.025
EPSILONS = (1 / 255, 2 / 255, 4 / 255)
SIDE, MARKED = 8, 3
"""Of a map and of the region of it that a mask marks, in pixels."""


def matrix(
    labels: NDArray[np.int64],
    clean: Floats,
    defects: NDArray[Any] | None = None,
    categories: NDArray[Any] | None = None,
    attacked: Mapping[Setting, Floats] | None = None,
) -> ScoreMatrix:
    """The scores of an audit of independent samples."""
    made = dict(attacked or {})
    kinds = np.where(labels == 0, "normal", "crack").astype(object) if defects is None else defects
    samples, settings, values = np.arange(len(labels)), tuple(sorted(made)), {SCORE: made, ROUNDED: made}
    return ScoreMatrix("m", "d", samples, labels.astype(np.int8), kinds, clean, settings, values, None, categories)


def of(table: pa.Table, name: str, attack: str = CLEAN, defect: str = ALL, epsilon: float | None = None) -> Found:
    """`NAME METRIC` -> the interval of each figure of an attack on a kind of defect."""
    return {
        f"{name} {one.metric}": Interval(one.value, one.lower, one.upper)
        for one in figure_table.read(table)
        if (one.attack, one.defect) == (attack, defect) and epsilon in (None, one.epsilon)
    }


def at_prevalence(labels: NDArray[np.int64], scores: Floats, name: str, **options: Any) -> Found:
    """The average precision at a prevalence, as a gate has it."""
    table = detection.table(matrix(labels, scores), lines={(CLEAN, "", "")}, **options)
    return {name: of(table, "clean")["clean average_precision"]}


def alone(shape: Shape, random: Random, normals: int, anomalies: int, resamples: int) -> Found:
    """Every figure of clean images."""
    labels, scores = _clean(shape, random, normals, anomalies)
    options = {"threshold": THRESHOLD, "replicates": resamples}
    found = detection.figures(labels, scores, **options)  # type: ignore[arg-type]
    return found | at_prevalence(labels, scores, "AP at prevalence", prevalence=PREVALENCE, **options)


def of_parts(draw: DrawParts, random: Random, normals: int, anomalies: int, resamples: int) -> Found:
    """The same of images of so many parts."""
    made = draw(random, normals, anomalies)
    labels = np.repeat([0, 1], [len(made.normals), len(made.anomalies)])
    parts = np.r_[made[2:]].astype(str).astype(object)
    return detection.figures(labels, np.r_[made[:2]], threshold=THRESHOLD, replicates=resamples, groups=parts)


def kinds(shapes: Sequence[Shape], random: Random, normals: int, anomalies: int, resamples: int) -> Found:
    """The worst of several kinds of defect, each with so many anomalies."""
    drawn = [shapes[0][0](random, normals), *(draw(random, anomalies) for _, draw in shapes)]
    named = np.repeat(np.array(["normal", *map(str, range(len(shapes)))], object), [len(one) for one in drawn])
    labels = (named != "normal").astype(np.int64)
    whole = matrix(labels, np.concatenate(drawn), named)
    return of(_table(whole, (CLEAN, "", ""), resamples), "worst kind", defect=WORST_KIND)


def seeds(shapes: Sequence[Shape], random: Random, normals: int, anomalies: int, resamples: int) -> Found:
    """The least AUROC of detectors of several seeds, each with scores of its own."""
    labels = np.repeat([0, 1], [normals, anomalies])
    value = min(detection.auroc(labels, _clean(shape, random, normals, anomalies)[1]) for shape in shapes)
    return {"worst seed auroc": Interval(value, *worst_seed.bounds(value, normals, anomalies, len(shapes), 0.95))}


def categories(shapes: Sequence[Shape], random: Random, normals: int, anomalies: int, resamples: int) -> Found:
    """The worst of several categories, each with so many normals and anomalies of its own."""
    drawn = [draw(random, count) for pair in shapes for draw, count in zip(pair, (normals, anomalies), strict=True)]
    labels = np.tile(np.repeat([0, 1], [normals, anomalies]), len(shapes))
    products = np.repeat(np.arange(len(shapes)).astype(str).astype(object), normals + anomalies)
    whole = matrix(labels, np.concatenate(drawn), None, products)
    return of(_table(whole, (CLEAN, "", ""), resamples), "worst category", defect=WORST_CATEGORY)


def attacked(shape: Shape, hit: float, random: Random, normals: int, anomalies: int, resamples: int) -> Found:
    """The worst case over two attacks and its curve; hit: the share of samples that an attack moves at all."""
    labels, clean = _clean(shape, random, normals, anomalies)
    toward, made = 1 - 2 * labels, {}
    for attack in ("pgd", "square"):
        moved = np.where(random.random(len(labels)) < hit, random.exponential(0.5, len(labels)), 0.0)
        for place, epsilon in enumerate(EPSILONS, 1):
            made[Setting(attack, "linf", epsilon)] = clean + toward * moved * place
    table = _table(matrix(labels, clean, attacked=made), (WORST, "linf", "both"), resamples)
    curve = of(security_curve.areas(table), "worst case", WORST)
    return of(table, "worst case", WORST, epsilon=EPSILONS[-1]) | curve


def proven(random: Random, normals: int, anomalies: int, resamples: int) -> Found:
    """The figures of a certified floor and the area under it."""
    labels, clean = _clean(binormal(2.0), random, normals, anomalies)
    width = random.exponential(0.5, len(labels))
    names, tables = np.arange(len(labels)), []
    for place, radius in enumerate(EPSILONS[:2], 1):
        bounds = {"lower": clean - place * width, "upper": clean + place * width}
        about = {"norm": np.full(len(labels), "linf", object), "radius": np.full(len(labels), radius)}
        tables.append(pa.table({"sample": names, "label": labels, **about, **bounds}))
    empty = {name: pa.nulls(2 * len(labels)) for name in certified.CERTIFIED.names}
    both = pa.concat_tables(tables)
    both = pa.table({**empty, **{name: both[name] for name in both.column_names}})
    scores = pa.table({"sample": names, "clean_score": clean})
    table = certified.figures(both, scores, threshold=THRESHOLD, replicates=resamples)
    whole = pa.concat_tables([_table(matrix(labels, clean), (CLEAN, "", ""), resamples), table])
    areas = [one for one in figure_table.read(security_curve.areas(whole)) if one.regime == "both"]
    return of(figure_table.table(areas), "certified", certified.ATTACK)


def corrupted(shape: Shape, lost: float, random: Random, normals: int, anomalies: int, resamples: int) -> Found:
    """The mean over three corruptions; lost: the share of samples that one of them turns round."""
    labels, clean = _clean(shape, random, normals, anomalies)
    count, scores = len(labels), []
    for kind in range(3):
        moved = clean + random.normal(0, 0.3 * kind, count)
        scores.append(np.where(random.random(count) < lost, -9.0 * (2 * labels - 1), moved))
    columns = {
        "corruption": np.repeat(["blur", "fog", "noise"], count),
        "severity": np.ones(3 * count, np.int64),
        "sample": np.tile(np.char.zfill(np.arange(count).astype(str), 7), 3),
        "label": np.tile(labels, 3),
        "clean_score": np.tile(clean, 3),
        "score": np.concatenate(scores),
    }
    table = corruption.figures(columns, threshold=THRESHOLD, replicates=resamples)  # type: ignore[arg-type]
    return of(table, "corruptions", corruption.MEAN)


def differing(random: Random, normals: int, anomalies: int, resamples: int) -> Found:
    """The share of decisions that the deployed file makes otherwise: of nearly no normal, of some anomalies."""
    labels, clean = _clean(binormal(2.0), random, normals, anomalies)
    other = np.where(random.random(len(labels)) < np.where(labels, 0.2, 0.01), 2 * THRESHOLD - clean, clean)
    text = np.full(len(labels), "-", object)
    columns = dict.fromkeys(("model", "dataset", "defect", "attack", "norm"), text) | {
        "sample": np.arange(len(labels)).astype(str),
        "label": labels,
        "direction": 1 - 2 * labels,
        "epsilon": np.full(len(labels), EPSILONS[0]),
    }
    columns |= dict.fromkeys(("audited_clean_score", "audited_score"), clean)
    columns |= dict.fromkeys(("clean_score", SCORE, ROUNDED), other)
    thresholds = deployed.Thresholds(THRESHOLD, THRESHOLD)
    table = deployed.figures(pa.table(columns), thresholds, lines=(), replicates=resamples)
    return of(table, "deployed", DEPLOYED + CLEAN)


def maps(unseen: float, random: Random, normals: int, anomalies: int, resamples: int) -> Found:
    """Pixel AUROC and AUPRO; unseen: the share of images whose map is low where the defect is."""
    labels = np.repeat([0, 1], [normals, anomalies])
    found, marked = random.normal(0, 1, (len(labels), SIDE, SIDE)), np.zeros((len(labels), SIDE, SIDE), bool)
    for row in np.flatnonzero(labels):
        top, left = random.integers(SIDE - MARKED + 1, size=2)
        marked[row, top : top + MARKED, left : left + MARKED] = True
    height = np.where(random.random(len(labels)) < unseen, -3.0, random.normal(2.0, 0.5, len(labels)))
    table = localisation.table(found + marked * height[:, None, None], marked, labels, ["crack"] * len(labels))
    return {one["metric"]: Interval(one["value"], one["lower"], one["upper"]) for one in table.to_pylist()}


def smallest(tied: bool, alike: int, random: Random, normals: int, anomalies: int, resamples: int) -> Found:
    """Quartiles of the smallest epsilons of anomalies, a fifth never broken; alike: images of each part."""
    parts = np.repeat(np.arange(anomalies), alike)
    drawn = np.exp(random.normal(0, 1, anomalies))
    drawn = np.where(random.random(anomalies) < 0.2, np.inf, np.ceil(drawn * 2) / 2 if tied else drawn)[parts]
    right = random.random(len(parts)) < 0.9
    table = pa.table({
        "norm": np.full(len(parts), "linf", object), "label": np.ones(len(parts), np.int64), "clean_correct": right,
        "epsilon": np.where(right, drawn, 0.0), "largest": np.full(len(parts), 99.0), "group": parts.astype(str),
    })  # fmt: skip
    [one] = security_curve.quartiles(table)
    rows = zip(security_curve.CUTS, (one.quarter, one.half, one.three_quarters), one.intervals, strict=True)
    return {f"epsilon {cut:.0%}": Interval(value, *ends) for cut, value, ends in rows}


def _clean(shape: Shape, random: Random, normals: int, anomalies: int) -> tuple[NDArray[np.int64], Floats]:
    """Labels and scores."""
    drawn = [draw(random, count) for draw, count in zip(shape, (normals, anomalies), strict=True)]
    return np.repeat([0, 1], [normals, anomalies]), np.concatenate(drawn)


def _table(whole: ScoreMatrix, line: tuple[str, str, str], resamples: int) -> pa.Table:
    return detection.table(
        whole, threshold=THRESHOLD, lines={(CLEAN, "", ""), line}, replicates=resamples, prevalence=PREVALENCE
    )


ALIKE, ONE_WORSE = (binormal(1.5),) * 3, (binormal(0.8), binormal(2.0), binormal(3.0))
AUDITS: dict[str, tuple[Audit, tuple[tuple[int, int], ...]]] = {
    "three kinds alike": (partial(kinds, ALIKE), ((50, 20), (300, 50))),
    "one of three kinds worse": (partial(kinds, ONE_WORSE), ((50, 20), (300, 20))),
    "three kinds, 10 % hidden": (partial(kinds, (hidden(0.1),) * 3), ((50, 50), (300, 20))),
    "three seeds alike": (partial(seeds, ALIKE), ((50, 50), (300, 20))),
    "three seeds, 10 % hidden": (partial(seeds, (hidden(0.1),) * 3), ((50, 50), (300, 20))),
    "three seeds, 5 % on top": (partial(seeds, (on_top(0.05),) * 3), ((50, 300),)),
    "three categories alike": (partial(categories, ALIKE), ((50, 20), (50, 50))),
    "three categories, 5 % on top": (partial(categories, (on_top(0.05),) * 3), ((50, 50),)),
    "worst case, all move": (partial(attacked, binormal(2.5), 1.0), ((50, 50), (300, 20), (300, 300))),
    "worst case, a tenth moves": (partial(attacked, binormal(4.0), 0.05), ((50, 50), (300, 20))),
    "certified": (proven, ((50, 50), (300, 20))),
    "corruptions": (partial(corrupted, binormal(2.0), 0.0), ((50, 50), (300, 20), (20, 20))),
    "corruptions, 3 % turned round": (partial(corrupted, binormal(4.0), 0.03), ((50, 50), (300, 20))),
    "corruptions, 5 % hidden": (partial(corrupted, hidden(0.05), 0.0), ((50, 50), (300, 20))),
    "deployed file": (differing, ((50, 50), (300, 20))),
    "maps": (partial(maps, 0.0), ((30, 30),)),
    "maps, 5 % unseen": (partial(maps, 0.05), ((30, 30), (60, 60))),
    "maps, 20 % unseen": (partial(maps, 0.2), ((30, 30),)),
    "smallest epsilons": (partial(smallest, False, 1), ((20, 20), (50, 50))),
    "smallest epsilons that tie": (partial(smallest, True, 1), ((20, 20), (300, 300))),
    "smallest epsilons of parts": (partial(smallest, False, 3), ((20, 20), (50, 50))),
}
CELLS = [(name, sizes) for name, (_, all_sizes) in AUDITS.items() for sizes in all_sizes]


def misses(name: str, sizes: tuple[int, int], audits: int) -> Misses:
    """Those of a shape of AUDITS."""
    return simulated(AUDITS[name][0], sizes, audits, FEWER if "maps" in name else MANY)


def simulated(make: Audit, sizes: tuple[int, int], audits: int, many: int = MANY, again: bool = True) -> Misses:
    """Figure -> the shares of audits whose lower bound lies above the truth, and whose upper one below it.

    many: samples of a class that make a truth. again: of so few audits the share of a bound that is exact lies above
    nominal half of the time; what does is looked at four times as often, a rate, which needs no resamples, ten times.
    """
    random, drawn = np.random.default_rng(2), {}
    scale = many // max(sizes)  # some figures depend on the ratio of the classes
    for _ in range(TIMES):
        for figure, interval in make(random, scale * sizes[0], scale * sizes[1], 1).items():
            drawn.setdefault(figure, []).append(interval.value)
    true = {figure: np.median(values) for figure, values in drawn.items()}
    random, counts = np.random.default_rng(1), {figure: np.zeros(2) for figure in true}
    tried = dict.fromkeys(true, 0)

    def look(times: int, resamples: int, figures: Sequence[str]) -> None:
        for _ in range(times):
            for figure, interval in make(random, *sizes, resamples).items():
                if figure in figures:
                    value, tried[figure] = true[figure], tried[figure] + 1
                    counts[figure] += [interval.lower > value, interval.upper < value]

    look(audits, RESAMPLES, list(true))
    close = [figure for figure in true if again and max(counts[figure]) / audits > NOMINAL]
    look(9 * audits if close else 0, 1, [figure for figure in close if figure.endswith("rate")])
    others = [figure for figure in close if not figure.endswith("rate")]
    look(3 * audits if others else 0, RESAMPLES, others)
    return {figure: tuple(counts[figure] / tried[figure]) for figure in true}  # type: ignore[misc]
