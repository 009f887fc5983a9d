"""The figures of an audit: five metrics with intervals, clean, for every attack, and for the per-sample worst case.

Labels: 0 normal, 1 anomalous. Scores: higher is more anomalous. In the regime `evasion` anomalies are attacked and
normals are clean, in `false_alarm` the reverse, in `both` everything is attacked. A figure is over the samples that
were attacked; the counts beside it say how many.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from assay.errors import DataError
from assay.metrics import bootstrap, intervals
from assay.metrics import groups as grouping
from assay.metrics.groups import Groups
from assay.metrics.intervals import Interval, newcombe
from assay.metrics.worst_case import worst_cases
from assay.store import figures as figure_table
from assay.store.figures import Figure
from assay.store.score_matrix import (
    ALL,
    CLEAN,
    SCORE,
    WORST,
    WORST_8BIT,
    WORST_CATEGORY,
    WORST_KIND,
    ScoreMatrix,
    Setting,
    read,
)

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

HIGHER_IS_BETTER = ("auroc", "average_precision")
"""The metrics that measure success; the others measure errors."""


class Case(NamedTuple):
    """What a figure is of: the line of the table, the scores of its normals and anomalies, and their groups, if any."""

    attack: str
    norm: str
    epsilon: float
    regime: str
    defect: str
    normals: Floats
    anomalies: Floats
    groups: Groups | None = None

    @property
    def classes(self) -> tuple[Floats, Floats, Groups | None]:
        """What a resample needs."""
        return self.normals, self.anomalies, self.groups


def flagged(scores: ArrayLike, threshold: float) -> NDArray[np.bool_]:
    """Which scores the deployed detector calls anomalous: those **above** the threshold.

    A threshold is the highest score still taken for normal, so the q-quantile of validation normals flags at most
    1 - q of them.
    """
    return np.asarray(scores, dtype=np.float64) > threshold


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The chance that an anomaly scores higher than a normal, a tie counting one half. Raises DataError."""
    return _ranking(labels, scores)["auroc"]


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Mean precision over the anomalies, in order of score; anomalous is positive. Raises DataError."""
    return _ranking(labels, scores)["average_precision"]


def fpr95(labels: ArrayLike, scores: ArrayLike) -> float:
    """False-alarm rate at the highest threshold that finds at least 95 % of the anomalies. Raises DataError."""
    return _ranking(labels, scores)["fpr95"]


def miss_rate(labels: ArrayLike, scores: ArrayLike, threshold: float) -> float:
    """Share of anomalies that are not flagged at the threshold. Raises DataError."""
    y, s = _checked(labels, scores, threshold)
    return float(np.mean(~flagged(s[y == 1], threshold)))


def false_alarm_rate(labels: ArrayLike, scores: ArrayLike, threshold: float) -> float:
    """Share of normals that are flagged at the threshold. Raises DataError."""
    y, s = _checked(labels, scores, threshold)
    return float(np.mean(flagged(s[y == 0], threshold)))


def figures(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float,
    groups: Sequence[str | None] | NDArray[np.object_] | None = None,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """All five metrics of labels (N,) and scores (N,), each with its interval.

    miss_rate and false_alarm_rate: exact (Clopper-Pearson). fpr95: see `intervals.fpr95`. auroc and average_precision:
    the percentile interval of a stratified bootstrap, widened where a closed form reaches further (Newcombe and Wilson
    over the smaller class; `intervals.average_precision`), so no figure, not even a perfect one, has an interval of
    width zero. The closed forms depend smoothly on the figure: being perfect never makes a bound worse.
    groups: the name of the group of each sample (N,), None for one of its own. Groups are resampled, not samples, and
    the closed forms count as many samples as the groups are worth (`groups.Worth`).
    Raises DataError where a class is absent or a score is not a number.
    """
    y, s = _checked(labels, scores, threshold)
    case = Case(CLEAN, "", 0.0, "", ALL, s[y == 0], s[y == 1], grouping.of(y, groups))
    [drawn] = bootstrap.distributions(lambda: [case.classes], len(y), replicates=replicates, seed=seed)
    return _intervals(case, drawn, threshold, confidence)


def table(
    scores: ScoreMatrix | pa.Table | Iterable[pa.Table],
    *,
    threshold: float,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    lines: Collection[tuple[str, str, str]] | None = None,
    prevalence: float | None = None,
) -> pa.Table:
    """METRICS of one audited model from its SCORES: a matrix, a table, or the parts of one.

    For clean; for every attack x norm x epsilon; for `worst`, the per-sample worst case (see `worst_case`), and
    `worst_8bit`, the same of the scores after rounding; each in the regimes whose samples were attacked. Clean, and
    worst in `evasion` and `both`, also for each kind of defect against all normals, if there are several, and for the
    worst of them. Where a dataset has several categories, kinds are set against the normals of their own; clean and
    worst, in every regime, each category and the worst of them have figures too. All figures see the same resamples.
    lines: only these (attack, norm, regime). prevalence: the share of anomalies at which average precision is computed,
    by default that of the samples. Raises DataError.
    """
    matrix = scores if isinstance(scores, ScoreMatrix) else read(scores)
    _checked(matrix.labels, matrix.clean, threshold)

    def wanted() -> Iterator[Case]:
        return (case for case in cases(matrix) if lines is None or (case.attack, case.norm, case.regime) in lines)

    def classes() -> Iterator[tuple[Floats, Floats, Groups | None]]:
        return (case.classes for case in wanted())

    drawn = bootstrap.distributions(
        classes, len(matrix.samples), replicates=replicates, seed=seed, prevalence=prevalence
    )
    rows: list[Figure] = []
    categories = set(_categories(matrix))
    kinds: list[tuple[Case, bootstrap.Distribution]] = []
    products: list[tuple[Case, bootstrap.Distribution]] = []
    for case, distribution in zip(wanted(), drawn, strict=True):
        if case.defect == ALL:
            rows += _worst(kinds, WORST_KIND, threshold, confidence, prevalence)
            rows += _worst(products, WORST_CATEGORY, threshold, confidence, prevalence)
            kinds, products = [], []
        else:
            (products if case.defect in categories else kinds).append((case, distribution))
        rows += _rows(case, _intervals(case, distribution, threshold, confidence, prevalence), confidence)
    rows += _worst(kinds, WORST_KIND, threshold, confidence, prevalence)
    rows += _worst(products, WORST_CATEGORY, threshold, confidence, prevalence)
    return figure_table.table(rows)


def cases(matrix: ScoreMatrix) -> Iterator[Case]:
    """Every case of the table: of a line first all defects, then each kind of them, then each category."""
    targets = {"evasion": matrix.labels == 1, "false_alarm": matrix.labels == 0, "both": matrix.labels >= 0}
    numbers = None if matrix.groups is None else grouping.codes(matrix.groups)
    yield from _by_kind(matrix, numbers, (CLEAN, "", 0.0, ""), matrix.clean, targets["both"], split=True)
    for setting, attacked, scores, split in _lines(matrix):
        for regime, target in targets.items():
            if len(np.unique(matrix.labels[attacked & target])) == len(np.unique(matrix.labels[target])):
                values = np.where(target, scores, matrix.clean)
                kept = attacked | ~target
                yield from _by_kind(matrix, numbers, (*setting, regime), values, kept, split)


def _lines(matrix: ScoreMatrix) -> Iterator[tuple[Setting, NDArray[np.bool_], Floats, bool]]:
    """What was done, to which samples, their scores, and whether kinds of defect have figures of their own."""
    for setting in matrix.settings:
        score = matrix.values[SCORE][setting]
        yield setting, ~np.isnan(score), score, False
    for worst in worst_cases(matrix):
        yield Setting(WORST, worst.norm, worst.epsilon), worst.attacked, worst.score, True
        yield Setting(WORST_8BIT, worst.norm, worst.epsilon), worst.attacked, worst.rounded, False


def _by_kind(
    matrix: ScoreMatrix,
    numbers: grouping.Codes | None,
    line: tuple[str, str, float, str],
    scores: Floats,
    kept: NDArray[np.bool_],
    split: bool,
) -> Iterator[Case]:
    normal, anomalous = kept & (matrix.labels == 0), kept & (matrix.labels == 1)

    def case(name: str, normals: NDArray[np.bool_], anomalies: NDArray[np.bool_]) -> Case:
        groups = None if numbers is None else grouping.among(numbers[normals], numbers[anomalies])
        return Case(*line, name, scores[normals], scores[anomalies], groups)

    yield case(ALL, normal, anomalous)
    if not split:
        return
    products = {name: matrix.categories == name for name in _categories(matrix)}
    whole = all((normal & of).any() and (anomalous & of).any() for of in products.values())
    kinds = sorted(set(matrix.defects[anomalous])) if line[-1] != "false_alarm" else []
    for kind in kinds if len(kinds) > 1 else []:
        of_kind = anomalous & (matrix.defects == kind)
        own = next((of for of in products.values() if whole and (of & of_kind).any()), True)
        yield case(kind, normal & own, of_kind)
    for name, of in products.items() if whole else ():
        yield case(name, normal & of, anomalous & of)


def _categories(matrix: ScoreMatrix) -> list[str]:
    """The categories of the samples, none where there is only one."""
    return [] if matrix.categories is None else sorted(set(matrix.categories))


def _intervals(
    case: Case, drawn: bootstrap.Distribution, threshold: float, confidence: float, prevalence: float | None = None
) -> dict[str, Interval]:
    worth = grouping.worth(len(case.normals), len(case.anomalies), case.groups)
    value = {
        name: float(values[0])
        for name, values in bootstrap.ranking(case.normals, case.anomalies, prevalence=prevalence).items()
    }
    result = {"fpr95": Interval(value["fpr95"], *intervals.fpr95(case.normals, case.anomalies, confidence, worth))}
    for name in ("auroc", "average_precision"):
        bounds = [bootstrap.percentiles(drawn[name], confidence)]
        if name == "auroc":
            bounds.append(intervals.auroc(value[name], *worth.paired, confidence))
            bounds.append(newcombe(value[name], *worth.paired, confidence))
        else:
            bounds.append(intervals.average_precision(*case.classes[:2], confidence, prevalence, worth))
        result[name] = Interval(value[name], min(low for low, _ in bounds), max(high for _, high in bounds))
    for name, wrong, worth_of_class in (
        ("miss_rate", ~flagged(case.anomalies, threshold), worth.anomalies),
        ("false_alarm_rate", flagged(case.normals, threshold), worth.normals),
    ):
        hits, count = int(wrong.sum()), len(wrong)
        result[name] = Interval(hits / count, *intervals.rate(hits, count, confidence, worth_of_class))
    return result


def _worst(
    kinds: list[tuple[Case, bootstrap.Distribution]],
    name_of_worst: str,
    threshold: float,
    confidence: float,
    prevalence: float | None = None,
) -> list[Figure]:
    """The figures of the worst of some kinds or categories, none where there are none.

    Take a figure that is better when higher. The least of the lower bounds is a lower bound of the least figure: it can
    only be too high if that of the truly worst kind is. The least of the upper bounds can be too low if any of them is,
    so these have their error divided among the kinds (Bonferroni). For errors, the same upside down.
    """
    if not kinds:
        return []
    divided = 1 - (1 - confidence) / len(kinds)
    plain, strict = (
        [_intervals(*kind, threshold, level, prevalence) for kind in kinds] for level in (confidence, divided)
    )
    by_metric = {}
    for name in plain[0]:
        worst = min if name in HIGHER_IS_BETTER else max
        bounds = plain, strict
        lower, upper = bounds if worst is min else bounds[::-1]
        by_metric[name] = Interval(
            worst(one[name].value for one in plain),
            worst(one[name].lower for one in lower),
            worst(one[name].upper for one in upper),
        )
    rarest = min((case for case, _ in kinds), key=lambda case: _groups(case)[1])
    return _rows(rarest._replace(defect=name_of_worst), by_metric, confidence)


def _rows(case: Case, by_metric: dict[str, Interval], confidence: float) -> list[Figure]:
    counts = len(case.normals), len(case.anomalies), *_groups(case)
    return [Figure(*case[:5], name, *interval, confidence, *counts) for name, interval in by_metric.items()]


def _groups(case: Case) -> tuple[int, int]:
    """How many groups hold its normals and its anomalies."""
    return grouping.counts(len(case.normals), len(case.anomalies), case.groups)


def _checked(labels: ArrayLike, scores: ArrayLike, threshold: float = 0.0) -> tuple[Labels, Floats]:
    y, s = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape:
        raise DataError(f"labels {y.shape} and scores {s.shape} must be two lists of the same length")
    if not np.isin(y, (0, 1)).all():
        raise DataError("labels must be 0 (normal) or 1 (anomalous)")
    if np.isnan(s).any():
        raise DataError(f"{int(np.isnan(s).sum())} of {len(s)} scores are NaN; the detector is broken for those images")
    if not np.isfinite(threshold):
        raise DataError(f"the threshold is {threshold}; it must be a finite number")
    if len(np.unique(y)) < 2:
        there = "only anomalies" if y.any() else "only normals" if len(y) else "no samples"
        raise DataError(f"the metrics need normals and anomalies; there are {there}")
    return y.astype(np.int64), s


def _ranking(labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    y, s = _checked(labels, scores)
    return {name: float(value[0]) for name, value in bootstrap.ranking(s[y == 0], s[y == 1]).items()}
