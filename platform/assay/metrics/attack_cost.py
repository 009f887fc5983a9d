"""What the attacks cost, and what it took to break a sample: passes, queries and seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assay.store.schemas import COST
from assay.store.score_matrix import SCORE, Floats, ScoreMatrix, Setting, columns, read

SPENT = ("forwards", "backwards", "seconds", "broken_at")
COLUMNS = columns(SPENT)
"""The columns of SCORES that `table` needs."""
ANY = "any"
"""The attack's name where all attacks of one knowledge are taken together."""


def table(scores: Mapping[str, Iterable[pa.Table]], *, threshold: float, knowledge: Mapping[str, str]) -> pa.Table:
    """COST of an audit, from the parts of SCORES of each attack and what the attacker must know to make it.

    A sample is broken if it was on the right side of the threshold when clean and no longer is, at this epsilon or a
    smaller one of the same attack, as each epsilon begins where the one before ended. The time to break it counts the
    whole way: all passes at smaller epsilons, and those up to the crossing at the epsilon where it broke. Over several
    attacks, the quickest counts. Raises DataError.
    """
    rows: list[Cost] = []
    together: dict[tuple[str, str, float], _Broken] = {}
    for attack, parts in scores.items():
        matrix = read(parts, more=SPENT)
        for setting, spent, broken in _by_epsilon(matrix, threshold):
            rows.append(_row(setting, knowledge[attack], spent, broken))
            key = (knowledge[attack], setting.norm, setting.epsilon)
            together[key] = together[key].joined(broken) if key in together else broken
    until: dict[tuple[str, str], _Broken] = {}
    for known, norm, epsilon in sorted(together):
        broken = together.pop((known, norm, epsilon))
        if (known, norm) in until:
            broken = broken.joined(until[known, norm])  # an attack need not be made at every epsilon
        until[known, norm] = broken
        same = [row for row in rows if (row.knowledge, row.norm, row.epsilon) == (known, norm, epsilon)]
        rows.append(_row(Setting(ANY, norm, epsilon), known, _summed(same, len(broken.samples)), broken))
    return pa.Table.from_pylist([row._asdict() for row in rows], schema=COST)


class Cost(NamedTuple):
    """A row of COST; share_broken and the quartiles are NaN where no sample counts."""

    attack: str
    norm: str
    epsilon: float
    knowledge: str
    samples: int
    forwards: int
    backwards: int
    seconds_per_sample: float
    at_risk: int
    broken: int
    share_broken: float
    timed: int
    queries_25: float
    queries_50: float
    queries_75: float
    seconds_25: float
    seconds_50: float
    seconds_75: float


class _Spent(NamedTuple):
    """What attacks cost together, in seconds of all workers."""

    samples: int
    forwards: int
    backwards: int
    seconds: float


@dataclass(frozen=True)
class _Broken:
    """Samples (N,) that were attacked, which were at risk, which of them broke, and after what; NaN where unknown."""

    samples: NDArray[Any]
    at_risk: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    queries: Floats
    seconds: Floats

    def joined(self, other: _Broken) -> _Broken:
        """Broken by either; the quicker counts."""
        same = np.array_equal(self.samples, other.samples)
        samples = self.samples if same else np.union1d(self.samples, other.samples)
        at_risk, broken = np.zeros(len(samples), dtype=bool), np.zeros(len(samples), dtype=bool)
        queries, seconds = np.full(len(samples), np.nan), np.full(len(samples), np.nan)
        for one in (self, other):
            at = slice(None) if same else np.searchsorted(samples, one.samples)
            at_risk[at] |= one.at_risk
            broken[at] |= one.broken
            queries[at] = np.fmin(queries[at], one.queries)
            seconds[at] = np.fmin(seconds[at], one.seconds)
        return _Broken(samples, at_risk, broken, queries, seconds)


def _by_epsilon(matrix: ScoreMatrix, threshold: float) -> Iterable[tuple[Setting, _Spent, _Broken]]:
    """Each epsilon of one attack, smaller before larger: what it cost, and what it has broken until then."""
    count = len(matrix.samples)
    anomalous = matrix.labels == 1
    at_risk = (matrix.clean > threshold) == anomalous
    attacked, broken = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    before = {"forwards": np.zeros(count), "seconds": np.zeros(count)}
    reached = {"forwards": np.full(count, np.nan), "seconds": np.full(count, np.nan)}
    for setting in matrix.settings:
        score = matrix.values[SCORE][setting]
        here = ~np.isnan(score)
        spent = {name: np.where(here, matrix.values[name][setting], 0) for name in SPENT}
        now = here & at_risk & ~broken & ((score > threshold) != anomalous)
        attacked, broken = attacked | here, broken | now
        timed = now & (spent["broken_at"] >= 0)
        share = np.divide(spent["broken_at"], spent["forwards"], out=np.ones(count), where=spent["forwards"] > 0)
        for name in before:
            reached[name] = np.where(timed, before[name] + spent[name] * share, reached[name])
            before[name] = before[name] + spent[name]
        forwards, backwards, seconds = (float(spent[name].sum()) for name in SPENT[:3])
        cost = _Spent(int(here.sum()), int(forwards), int(backwards), seconds)
        arrays = (matrix.samples, at_risk, broken, reached["forwards"], reached["seconds"])
        yield setting, cost, _Broken(*(values[attacked] for values in arrays))


def _row(setting: Setting, knowledge: str, spent: _Spent, broken: _Broken) -> Cost:
    at_risk, count = int(broken.at_risk.sum()), int(broken.broken.sum())
    timed = ~np.isnan(broken.queries)
    return Cost(
        *setting,
        knowledge,
        spent.samples,
        spent.forwards,
        spent.backwards,
        spent.seconds / spent.samples,
        at_risk,
        count,
        count / at_risk if at_risk else np.nan,
        int(timed.sum()),
        *_quartiles(broken.queries[timed]),
        *_quartiles(broken.seconds[timed]),
    )


def _quartiles(values: Floats) -> tuple[float, float, float]:
    if not len(values):
        return np.nan, np.nan, np.nan
    low, middle, high = np.percentile(values, (25, 50, 75)).tolist()
    return low, middle, high


def _summed(rows: Sequence[Cost], samples: int) -> _Spent:
    """What several attacks cost together."""
    seconds = sum(row.seconds_per_sample * row.samples for row in rows)
    return _Spent(samples, sum(row.forwards for row in rows), sum(row.backwards for row in rows), seconds)
