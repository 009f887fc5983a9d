"""Trials of earlier sweeps that a new sweep's sampler learns from, where the searches agree."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import distribution_to_json

from assay.config import space
from assay.config.search_space import Spec
from assay.contracts import Plain
from assay.hashing import canonical
from assay.store import trials_table
from assay.store.store import Store
from assay.store.trial_log import Record

MUST_AGREE = ("trainable", "dataset", "fixed", "evaluation", "objectives")
"""Sections of the search space in which two sweeps must be alike, or their figures mean different things."""


@dataclass
class Earlier:
    """Complete trials that fit the new space, and a sentence on each earlier sweep."""

    trials: list[Plain] = field(default_factory=list)  # parameters, distributions, values, costs
    said: list[str] = field(default_factory=list)


def collected(spec: Spec, store: Store) -> Earlier:
    """The trials of `search.start_from`; raises UnknownName for a sweep that is not in the store."""
    found, here = Earlier(), spec.plain()
    for name in spec.search.start_from:
        other, records = trials_table.load(store, name)
        there = other.plain()
        differ = [key for key in MUST_AGREE if canonical(_same(here, key)) != canonical(_same(there, key))]
        if differ:
            found.said.append(f"start_from: nothing is taken from {name}, whose {', '.join(differ)} differ")
            continue
        complete = [record for record in records.values() if record.state == "complete"]
        measured = [record for record in complete if set(spec.constraints) <= set(record.costs)]
        fitting = [trial for record in measured if (trial := _fitted(spec, record)) is not None]
        found.trials += fitting
        left = len(complete) - len(measured)
        unmeasured = f", {left} without {', '.join(spec.constraints)}" if left else ""
        found.said.append(
            f"start_from: {len(fitting)} of {len(complete)} complete trials of {name}; "
            f"{len(measured) - len(fitting)} lie outside this space{unmeasured}"
        )
    return found


def _same(plain: Mapping[str, Any], key: str) -> Any:
    """A section without what changes no figure: of several trainables only that there are, the space says the rest."""
    section = plain[key]
    return "several" if key == "trainable" and not isinstance(section, str) else section


def _fitted(spec: Spec, record: Record) -> Plain | None:
    """A trial as one of the new space; None where a parameter is missing there, or lies outside its domain."""
    trial = optuna.trial.FixedTrial(record.parameters)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of a value outside its domain
            space.suggest(spec.domains, trial)  # type: ignore[arg-type]
    except (ValueError, UserWarning):
        return None
    if trial.params.keys() != record.parameters.keys():
        return None
    return {
        "parameters": dict(trial.params),
        "distributions": {name: distribution_to_json(one) for name, one in trial.distributions.items()},
        "values": list(record.values(spec.directions).values()),
        "costs": {name: record.costs[name] for name in spec.constraints},
    }
