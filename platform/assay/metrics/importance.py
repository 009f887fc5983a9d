"""Which hyperparameter decided an objective: PED-ANOVA over the complete trials of a sweep, with intervals.

Optuna's evaluator asks how far the best quarter of the trials differs from all of them in each parameter. A conditional
parameter is compared among the trials that have it and weighted by how many those are.
Source: Watanabe et al. 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces".
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assay.store.schemas import IMPORTANCE

if TYPE_CHECKING:
    import optuna

    from assay.store.trials_table import Trial

NEEDED = 20
"""Complete trials: the best quarter is then the five that PED-ANOVA needs at least."""
QUARTER = 0.25
WITH_IT = 5
"""Trials that must have a conditional parameter."""
ANALYSED = 500
"""Complete trials, beside the front, that are looked at where a person waits; more take minutes."""
RESAMPLES = 400
"""A quantile at 2.5 % then has ten resamples beyond it."""
CONFIDENCE = 0.95
EPOCH = datetime.datetime(1970, 1, 1)
"""When the trials of a resample were made, which nobody asks."""
DECADES = 100
"""A parameter above 0 whose largest value is so many times its smallest is analysed on a logarithmic scale."""

CHOICES = 5
"""A numeric parameter with no more distinct values than this is treated as a choice between them."""

Values = Mapping[str, Sequence[Any]]


class _Share(NamedTuple):
    """The importance of a parameter, its interval, and the level that chance reaches."""

    importance: float
    lower: float
    upper: float
    chance: float


UNKNOWN = _Share(*[float("nan")] * 4)


class Importance(NamedTuple):
    """A row of IMPORTANCE."""

    objective: str
    parameter: str
    importance: float
    lower: float
    upper: float
    chance: float
    confidence: float
    trials: int
    complete: int


def sample(trials: Sequence[Trial], most: int = ANALYSED) -> list[Trial]:
    """The complete trials that the search drew, or of many the front and `most` others evenly from first to last."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.repeats is None]
    others = [trial for trial in complete if not trial.pareto]
    if len(others) <= most:
        return complete
    kept = {others[int(at)].number for at in np.linspace(0, len(others) - 1, most)}
    return [trial for trial in complete if trial.pareto or trial.number in kept]


def table(trials: pa.Table, directions: Mapping[str, str], *, seed: int = 0) -> pa.Table:
    """IMPORTANCE of every varied parameter for every objective, from a table of trials (schemas.TRIALS).

    directions: objective -> `max` or `min`. Interval: percentiles over trials redrawn with replacement, widened to hold
    the figure: how it would vary if the trials had been drawn one by one, which those of a guided search were not.
    Chance: what one parameter without any effect stays below in that share of the shuffles of the objective among the
    trials. Where there are too few trials the numbers are NaN and the counts say why.
    """
    drawn = (row for row in trials.to_pylist() if row.get("repeats") is None)  # not a training with another seed
    complete = [row for row in drawn if row["state"] == "complete"]
    rows: list[Importance] = []
    for objective, direction in directions.items():
        measured = [row for row in complete if row.get(f"objective.{objective}") is not None]
        varied = _varied(measured)
        figures = np.array([row[f"objective.{objective}"] for row in measured], dtype=np.float64)
        rows += _rows(objective, varied, figures if direction == "min" else -figures, seed)
    return pa.Table.from_pylist([row._asdict() for row in rows], schema=IMPORTANCE)


def _varied(trials: Sequence[Mapping[str, Any]]) -> Values:
    """Parameter -> its value in every trial, None where a trial does not have it; only those that some have."""
    names = sorted({name for row in trials for name in row if name.startswith("parameter.")})
    columns = {name.partition(".")[2]: [row[name] for row in trials] for name in names}
    return {name: column for name, column in columns.items() if any(v is not None for v in column)}


def _rows(objective: str, varied: Values, losses: NDArray[np.float64], seed: int) -> list[Importance]:
    count = len(losses)
    counts = {name: sum(value is not None for value in column) for name, column in varied.items()}
    able = [name for name in varied if count >= NEEDED and counts[name] >= WITH_IT]
    figures = _figures({name: varied[name] for name in able}, losses, seed) if able else {}
    return [
        Importance(objective, name, *figures.get(name, UNKNOWN), CONFIDENCE, counts[name], count) for name in varied
    ]


def _figures(varied: Values, losses: NDArray[np.float64], seed: int) -> dict[str, _Share]:
    ranges = {name: _range(column) for name, column in varied.items()}
    trials = [dict(zip(varied, values, strict=True)) for values in zip(*varied.values(), strict=True)]
    random, study = np.random.default_rng(seed), _study(ranges, trials)
    value, redrawn, shuffled = _importance(study, list(varied), losses), [], []
    for _ in range(RESAMPLES):
        at = random.integers(len(losses), size=len(losses))
        redrawn.append(_importance(_study(ranges, [trials[i] for i in at]), list(varied), losses[at]))
        shuffled.append(_importance(study, list(varied), random.permutation(losses)))
    low, high = np.quantile(redrawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    chance = np.quantile(shuffled, CONFIDENCE, axis=0)
    shares = zip(value, np.minimum(low, value), np.maximum(high, value), chance, strict=True)
    return {name: _Share(*map(float, share)) for name, share in zip(varied, shares, strict=True)}


def _study(
    ranges: Mapping[str, optuna.distributions.BaseDistribution], trials: Sequence[Mapping[str, Any]]
) -> optuna.Study:
    """A study of complete trials, each with the parameters it has.

    Its storage only holds them: one that copies every trial would take most of the time of a resample.
    """
    import optuna

    done = [_complete(ranges, trial, place) for place, trial in enumerate(trials)]

    class Held(optuna.storages.InMemoryStorage):
        def get_all_trials(self, *_: Any, **__: Any) -> list[optuna.trial.FrozenTrial]:
            return done

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it would announce the new study
    study = optuna.create_study(storage=Held())
    optuna.logging.set_verbosity(before)
    return study


def _complete(
    ranges: Mapping[str, optuna.distributions.BaseDistribution], trial: Mapping[str, Any], place: int
) -> optuna.trial.FrozenTrial:
    import optuna

    there = {name: value for name, value in trial.items() if value is not None}
    return optuna.trial.FrozenTrial(
        number=place,
        trial_id=place,
        state=optuna.trial.TrialState.COMPLETE,
        value=0.0,
        datetime_start=EPOCH,
        datetime_complete=EPOCH,
        params=there,
        distributions={name: ranges[name] for name in there},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def _importance(study: optuna.Study, names: Sequence[str], losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of each parameter in the importance of all for a low loss, 0 where no trial has it."""
    from optuna.importance import PedAnovaImportanceEvaluator

    present = sorted({name for trial in study.get_trials(deepcopy=False) for name in trial.params})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental, and that few trials have a parameter
        evaluator = PedAnovaImportanceEvaluator(target_quantile=QUARTER)
        importances = evaluator.evaluate(study, present, target=lambda trial: float(losses[trial.number]))
    total = sum(importances[name] for name in present)
    return np.array([importances.get(name, 0.0) / total if total else 0.0 for name in names])


def _range(column: Sequence[Any]) -> optuna.distributions.BaseDistribution:
    """The smallest domain that holds the values seen."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    seen = [value for value in column if value is not None]
    if isinstance(seen[0], str) or len(set(seen)) <= CHOICES:
        return CategoricalDistribution(sorted(set(seen)))
    low, high = float(min(seen)), float(max(seen))
    return FloatDistribution(low, high, log=low > 0 and high / low >= DECADES)
