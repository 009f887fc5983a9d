"""Two audits of the same samples: is the candidate worse than the model it would replace?

Both models see the same test images, so a resample draws the same samples for both, and the interval is of the
difference. It is far narrower than what two separate intervals allow to say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from assay.errors import InputError
from assay.metrics import bootstrap, detection
from assay.metrics import groups as grouping
from assay.metrics.bootstrap import Counts, Distribution, Floats
from assay.metrics.detection import Case
from assay.store import formats
from assay.store.audit_reader import Audit, Content, SuiteEntry
from assay.store.score_matrix import ALL, CLEAN, SCORE, WORST, ScoreMatrix, Setting
from assay.units import in_255

EXIT_CODES = {"better or alike": 0, "not inferior": 0, "regression": 3, "not shown": 5}
"""Answer -> exit code of the command line."""
HEADLINE = ("auroc", "miss_rate", "false_alarm_rate")
"""The metrics that are tested, clean and in the worst case, of all kinds of defect together."""
CLASSES = ("normals", "anomalies")
REPLICATES = 5000
"""Resamples at least; more where the confidence of a tested figure asks for them."""


@dataclass(frozen=True)
class Side:
    """One of the two audits; the figures of one with failed checks must not be relied on.

    failed_checks: the required checks that it did not pass.
    """

    audit: str
    model: str
    suite: str
    threshold: float
    failed_checks: list[str]


@dataclass(frozen=True)
class Difference:
    """A figure of both audits, and that of `b` less that of `a` with its paired bootstrap interval.

    headline: whether it is tested; the others are shown and decide nothing. confidence: of this interval. regressed:
    whether it is tested and its whole interval is worse than by the margin. worst: by how much `b` may be worse at
    most, at the comparison's confidence for this figure alone.
    """

    attack: str
    norm: str
    epsilon: float
    regime: str
    defect: str
    metric: str
    a: float
    b: float
    headline: bool
    difference: float
    lower: float
    upper: float
    confidence: float
    regressed: bool
    worst: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """Audit `b`, the candidate, less audit `a`.

    confidence: of all tested figures together. left_out: a sentence for everything that was not made alike in both.
    non_inferior: the margin within which `b` was to be shown not to be worse, None where that was not asked. groups:
    how many groups hold the normals and the anomalies, None where these are independent.
    """

    a: Side
    b: Side
    margin: float
    confidence: float
    multiplicity: str
    replicates: int
    seed: int
    normals: int
    anomalies: int
    left_out: list[str]
    figures: list[Difference]
    non_inferior: float | None = None
    groups: tuple[int, int] | None = None

    @property
    def not_shown(self) -> list[Difference]:
        """The tested figures that may be worse by the margin of `non_inferior` or more; none where it was not asked.

        All must be shown, so each is tested at the full confidence (an intersection-union test).
        """
        if self.non_inferior is None:
            return []
        return [figure for figure in self.figures if figure.headline and figure.worst >= self.non_inferior]

    @property
    def answer(self) -> str:
        """`regression`, `not shown`, `not inferior`, or `better or alike` where nothing speaks against `b`."""
        if self.regression:
            return "regression"
        if self.non_inferior is None:
            return "better or alike"
        return "not shown" if self.not_shown else "not inferior"

    @property
    def regression(self) -> bool:
        """Whether any tested figure has regressed."""
        return any(figure.regressed for figure in self.figures)

    def _row(self, figure: Difference) -> Content:
        row = asdict(figure)
        if self.non_inferior is None:  # nothing was asked that it answers
            del row["worst"]
        return row

    def to_json(self) -> Content:
        """The content of comparison.json."""
        return {
            formats.FIELD: formats.written("comparison"),
            "a": asdict(self.a),
            "b": asdict(self.b),
            "regression": self.regression,
            "margin": self.margin,
            "confidence": self.confidence,
            "multiplicity": self.multiplicity,
            "replicates": self.replicates,
            "seed": self.seed,
            "samples": dict(zip(CLASSES, (self.normals, self.anomalies), strict=True)),
            **({} if self.groups is None else {"groups": dict(zip(CLASSES, self.groups, strict=True))}),
            "left_out": self.left_out,
            **({} if self.non_inferior is None else {"non_inferior": self.non_inferior, "answer": self.answer}),
            "figures": [self._row(figure) for figure in self.figures],
        }


def compare(
    a: Audit,
    b: Audit,
    *,
    margin: float = 0.0,
    non_inferior: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Every figure of audit `b`, the candidate, less that of `a`, with its paired bootstrap interval.

    Where images are of groups, such as the views of a part, groups are resampled.

    Only attacks and budgets of both count, also in the worst case; `left_out` names the others. Rates are at each
    audit's own threshold. A headline figure has regressed if its whole interval is worse than by `margin`. These
    intervals share the error (Bonferroni: of m of them each has confidence 1 - (1 - confidence) / m), so that
    `confidence` is that of the whole answer. The other figures are shown at `confidence` and decide nothing.
    That no regression was found is no evidence that there is none: non_inferior asks for that, within a margin.
    Raises InputError where the two cannot be compared, DataError for a damaged audit.
    """
    _same_samples(a, b)
    settings, left_out = _settings(a, b)
    pair = [dataclasses.replace(audit.matrix, settings=settings) for audit in (a, b)]
    thresholds = [float(audit.info["threshold"]["value"]) for audit in (a, b)]
    measured = _measured(pair, thresholds)
    tested = sum(figure.headline for figure in measured)
    replicates = max(REPLICATES, bootstrap.replicates(1 - (1 - confidence) / tested))
    drawn = _differences(pair, thresholds, seed, replicates)
    figures = []
    for figure, differences in zip(measured, drawn, strict=True):
        level = 1 - (1 - confidence) / tested if figure.headline else confidence
        lower, upper = bootstrap.percentiles(differences, level)
        alone = bootstrap.percentiles(differences, confidence)
        worst = -alone[0] if figure.metric in detection.HIGHER_IS_BETTER else alone[1]
        gone = upper < -margin if figure.metric in detection.HIGHER_IS_BETTER else lower > margin
        figures.append(
            Difference(
                *figure,
                difference=figure.b - figure.a,
                lower=lower,
                upper=upper,
                confidence=level,
                regressed=figure.headline and gone,
                worst=worst,
            )
        )
    labels, held = pair[0].labels, grouping.of(pair[0].labels, pair[0].groups)
    return Comparison(
        a=_side(a),
        b=_side(b),
        margin=margin,
        confidence=confidence,
        multiplicity=f"Bonferroni over {tested} headline figures",
        replicates=replicates,
        seed=seed,
        normals=int((labels == 0).sum()),
        anomalies=int((labels == 1).sum()),
        left_out=left_out,
        figures=figures,
        non_inferior=non_inferior,
        groups=held.counts if held else None,
    )


def _same_samples(a: Audit, b: Audit) -> None:
    names = [audit.info["audit"] for audit in (a, b)]
    if names[0] == names[1]:
        raise InputError(f"both are audit {names[0]}; name two")
    datasets = [audit.info["dataset"] for audit in (a, b)]
    if datasets[0].get("hash") != datasets[1].get("hash"):
        both = " and ".join(f"{dataset['name']} ({str(dataset.get('hash'))[:12]})" for dataset in datasets)
        raise InputError(
            f"the audits are of different datasets, {both}; only audits of the same images can be compared"
        )
    samples = [set(audit.matrix.samples) for audit in (a, b)]
    if samples[0] != samples[1]:
        only = [
            f"{len(mine - other)} are only in {name} (limit {audit.info.get('limit') or 'none'})"
            for mine, other, name, audit in zip(samples, samples[::-1], names, (a, b), strict=True)
        ]
        raise InputError(f"the audits are of different samples: {', '.join(only)}; audit both with the same --limit")
    held = [audit.matrix.samples if audit.matrix.groups is None else audit.matrix.groups for audit in (a, b)]
    if (held[0] != held[1]).any():
        raise InputError(f"the samples of {names[0]} and {names[1]} are of different groups; audit both anew")


def _settings(a: Audit, b: Audit) -> tuple[tuple[Setting, ...], list[str]]:
    """What was done in both in the same way to the same samples, and for the rest a sentence each."""
    entries = [{entry["name"]: entry for entry in audit.attacks()} for audit in (a, b)]
    held = [
        {setting: scores for setting, scores in audit.matrix.values[SCORE].items() if setting.attack in known}
        for audit, known in zip((a, b), entries, strict=True)
    ]
    same, left_out = [], []
    for setting in sorted({*held[0], *held[1]}):
        there = [setting in scores for scores in held]
        if not all(there):
            why = f"only in {(a if there[0] else b).info['audit']}"
        elif _how(entries[0][setting.attack]) != _how(entries[1][setting.attack]):
            why = "the attack or its parameters differ"
        elif (np.isnan(held[0][setting]) != np.isnan(held[1][setting])).any():
            why = "it was made on different samples"
        else:
            same.append(setting)
            continue
        left_out.append(f"{setting.attack} at {setting.norm} {in_255(setting.epsilon, setting.norm)}: {why}")
    if not same:
        both = " and ".join(f"{audit.info['audit']} is by suite {audit.info['suite']['name']}" for audit in (a, b))
        raise InputError(f"the audits have no attack in common: {both}; audit both with the same suite")
    return tuple(same), left_out


class _Measured(NamedTuple):
    """A figure of both audits, before its interval: the first fields of Difference."""

    attack: str
    norm: str
    epsilon: float
    regime: str
    defect: str
    metric: str
    a: float
    b: float
    headline: bool


def _measured(pair: list[ScoreMatrix], thresholds: list[float]) -> list[_Measured]:
    """The figures of both."""
    figures = []
    for cases in zip(*map(_cases, pair), strict=True):
        before, after = (_values(*case) for case in zip(cases, thresholds, strict=True))
        case = cases[0]
        for name in before:
            headline = case.attack in (CLEAN, WORST) and case.defect == ALL and name in HEADLINE
            values = float(before[name][0]), float(after[name][0])
            line = case.attack, case.norm, case.epsilon, case.regime, case.defect, name
            figures.append(_Measured(*line, *values, headline))
    return figures


def _differences(pair: list[ScoreMatrix], thresholds: list[float], seed: int, replicates: int) -> list[Floats]:
    """Of each figure its differences in all resamples."""
    drawn = []
    for block in bootstrap.blocks(replicates, len(pair[0].samples), seed):
        differences: list[Floats] = []
        for cases in zip(*map(_cases, pair), strict=True):
            counts = block.counts(len(cases[0].normals), len(cases[0].anomalies), cases[0].groups)
            before, after = (_values(*case, counts) for case in zip(cases, thresholds, strict=True))
            differences += [after[name] - before[name] for name in before]
        drawn.append(differences)
    return [np.concatenate(parts) for parts in zip(*drawn, strict=True)]


def _how(entry: SuiteEntry) -> tuple[str, str, object]:
    """What makes two attacks the same; the precision of a GPU's steps does not, and older audits do not name it."""
    return entry["attack"], entry["norm"], _without_precision(entry.get("parameters", {}))


def _without_precision(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of an attack, and of one within it."""
    return {
        key: _without_precision(value) if isinstance(value, Mapping) else value
        for key, value in parameters.items()
        if key != "precision"
    }


def _cases(matrix: ScoreMatrix) -> Iterator[Case]:
    """Clean, and everything under attack: in these lines no figure is without the attack that it suffers from."""
    return (case for case in detection.cases(matrix) if case.regime in ("", "both"))


def _values(case: Case, threshold: float, drawn: tuple[Counts, Counts] | None = None) -> Distribution:
    """All five metrics of a case in every resample; without one, of the samples as they are."""
    ones = (np.ones((1, len(scores)), np.uint8) for scores in (case.normals, case.anomalies))
    normals, anomalies = drawn or ones
    distribution = bootstrap.ranking(case.normals, case.anomalies, (normals, anomalies))
    missed = np.flatnonzero(~detection.flagged(case.anomalies, threshold))
    alarms = np.flatnonzero(detection.flagged(case.normals, threshold))
    for name, counts, wrong in (("miss_rate", anomalies, missed), ("false_alarm_rate", normals, alarms)):
        total = counts.sum(axis=1, dtype=np.int64)  # groups differ in size, and so do resamples of them
        distribution[name] = counts.take(wrong, 1).sum(axis=1, dtype=np.int64) / total
    return distribution


def _side(audit: Audit) -> Side:
    checks, info = audit.checks, audit.info
    failed = [
        str(name)
        for name, required, passed in zip(checks["check"], checks["required"], checks["passed"], strict=True)
        if required and not passed
    ]
    return Side(info["audit"], info["model"], info["suite"]["name"], float(info["threshold"]["value"]), failed)
