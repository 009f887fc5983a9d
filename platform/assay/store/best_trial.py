"""Which trial is best: the rule of `best:`, where figures that cannot be told apart are a tie.

Trials are measured on the same validation images, so their figures are compared pair by pair, image by image. Of
those that cannot be told apart from the leader, the next objective decides. Scores of a trial's kept epoch are in
`sweeps/<name>/scores/`; of trials without them, those of an older version, the figures alone decide. A configuration
that was trained with several seeds is judged by their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assay import delong
from assay.config import objectives as choice
from assay.config.search_space import Spec
from assay.delong import Estimate
from assay.errors import SweepError
from assay.store import parquet, schemas, seeds, trials_table
from assay.store.store import Store
from assay.store.trial_log import Record

COLUMNS = {"clean_auroc": "clean_score", "robust_auroc": "adversarial_score"}
"""Objective -> the column of scores that it is the AUROC of; of others, which have none, the figure alone decides."""


@dataclass(frozen=True)
class Best:
    """The best trial's number, and what to say about trials that are as good; "" where it leads clearly."""

    trial: int
    said: str = ""


def key(sweep: str, number: int) -> str:
    """The store key of the scores of a trial's kept epoch, a table of schemas.VALIDATION_SCORES."""
    return f"sweeps/{sweep}/scores/trial-{number:05d}.parquet"


def choose(store: Store, spec: Spec, records: Mapping[int, Record]) -> Best:
    """The trial that `best:` of the search space chooses; raises SweepError if none is complete."""
    directions, rule = spec.directions, spec.plain()["best"]
    front = trials_table.pareto(directions, records, spec.constraints)
    if not front:
        raise SweepError(
            f"sweep '{spec.name}' has no complete trial; look at `assay trials {spec.name}`, then resume it"
        )
    measured = seeds.averaged(records, directions)
    missing = {n: (records[n].excess(spec.constraints), -choice.merit(measured[n], rule, directions)[0]) for n in front}
    least = min(missing.values())
    left = [n for n in front if missing[n] == least]  # those that meet every bound, or miss them by least
    wanted = rule["maximize"]
    order = [wanted, *(name for name in directions if name != wanted)]
    scores = {n: found for n in left if (found := _of_seeds(store, spec.name, seeds.complete(records, n)))}
    said: list[str] = []
    if least[0]:
        limits = ", ".join(f"{name} at most {most:g}" for name, most in spec.constraints.items())
        costs = ", ".join(f"{name} {cost:.4g}" for name, cost in records[left[0]].costs.items())
        said.append(f"No trial keeps within the constraints ({limits}).")
        said.append(f"Trial {left[0]} misses them by least ({costs}).")
    for place, name in enumerate(order):
        leader = max(left, key=lambda n: (_value(measured[n], name, directions), -n))
        tied = [n for n in left if n == leader or _alike(scores.get(n, []), scores.get(leader, []), name, directions)]
        if len(tied) == 1:
            return Best(leader, " ".join(said))
        if place + 1 < len(order):
            others = ", ".join(str(n) for n in tied if n != leader)
            said.append(
                f"{name} cannot be told apart between trials {leader} and {others}; {order[place + 1]} decides."
            )
        left = tied
    first = max(left, key=lambda n: (_value(measured[n], wanted, directions), -n))
    said.append(f"Nothing tells trials {', '.join(map(str, left))} apart; {first} has the highest {wanted}.")
    return Best(first, " ".join(said))


def _value(values: Mapping[str, float], name: str, directions: Mapping[str, str]) -> float:
    """An objective, or the mean of all, to be maximised."""
    if name == "mean":
        return choice.mean(values, directions)
    return -values[name] if directions[name] == "min" else values[name]


@dataclass(frozen=True)
class Scores:
    """A trial's scores of the validation images, by the images' ids; groups: None where each is its own."""

    samples: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: tuple[str, ...] | None
    columns: Mapping[str, NDArray[np.float64]]

    def estimate(self, name: str, directions: Mapping[str, str]) -> Estimate:
        """An objective with the influence of each image, or the mean of all objectives."""
        if name == "mean":
            return delong.mean([self._signed(one, directions[one]) for one in directions if choice.is_auroc(one)])
        return self._signed(name, directions[name])

    def _signed(self, name: str, direction: str) -> Estimate:
        found = delong.auroc(self.labels, self.columns[COLUMNS[name]], self.groups)
        return Estimate(-found.value, -found.influence) if direction == "min" else found


def _of_seeds(store: Store, sweep: str, trials: Sequence[int]) -> list[Scores]:
    """The scores of a trial and its repeats; none where those of one are missing."""
    found = [scores_of(store, key(sweep, number)) for number in trials]
    return [] if None in found else [one for one in found if one is not None]


def _alike(one: Sequence[Scores], leader: Sequence[Scores], name: str, directions: Mapping[str, str]) -> bool:
    """Whether two trials cannot be told apart by an objective: the paired 95 % interval holds 0.

    Each by the mean over its seeds; the interval is over the images.
    """
    if not one or not leader or {scores.samples for scores in one} != {leader[0].samples}:
        return False
    if not COLUMNS.keys() >= set(filter(choice.is_auroc, directions) if name == "mean" else [name]):
        return False
    means = [delong.mean([scores.estimate(name, directions) for scores in each]) for each in (leader, one)]
    lower, upper = delong.interval(means[0] - means[1], leader[0].groups)
    return lower <= 0 <= upper


def scores_of(store: Store, at: str) -> Scores | None:
    """The scores of a trial at this key, None where there are none."""
    if not store.exists(at):
        return None
    table = parquet.whole(store, [at], schemas.VALIDATION_SCORES, "delete it: the figures alone then decide")
    table = table.sort_by("sample")
    groups, samples = table[schemas.GROUP].to_pylist(), table["sample"].to_pylist()
    return Scores(
        tuple(samples),
        table["label"].to_numpy().astype(np.int64),
        tuple(groups) if len(set(groups)) < len(groups) else None,
        {column: table[column].to_numpy() for column in COLUMNS.values()},
    )


def table(
    samples: Sequence[str],
    groups: Sequence[str],
    labels: NDArray[np.int64],
    clean: NDArray[np.float64],
    adversarial: NDArray[np.float64],
) -> pa.Table:
    """Scores (N,) of the validation images as a table of schemas.VALIDATION_SCORES."""
    columns = {
        "sample": np.array(samples, dtype=object),
        schemas.GROUP: np.array(groups, dtype=object),
        "label": labels.astype(np.int8),
        "clean_score": clean,
        "adversarial_score": adversarial,
    }
    return parquet.table(columns, schemas.VALIDATION_SCORES)
