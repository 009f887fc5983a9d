"""A sweep as a study in a storage of Optuna, for optuna-dashboard and Optuna's own plots."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import json_to_distribution
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from assay.config.search_space import Spec
from assay.errors import InputError
from assay.store.trial_log import Record, excesses

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


def write(spec: Spec, records: Mapping[int, Record], url: str) -> int:
    """Write the ended trials as a study named like the sweep and return how many there are.

    url: of an SQL storage, such as `sqlite:///sweeps.db`. A study of that name is written anew. Raises InputError.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    of = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
    directions = [of[direction] for direction in spec.directions.values()]
    try:
        if spec.name in optuna.get_all_study_names(url):
            optuna.delete_study(study_name=spec.name, storage=url)
        study = optuna.create_study(study_name=spec.name, storage=url, directions=directions)
    except Exception as error:  # SQLAlchemy and its drivers raise errors of many kinds for a storage that is none
        raise InputError(
            f"cannot write to {url}: {str(error).splitlines()[0]}; write it as sqlite:///sweeps.db"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of no interest to users
        study.set_metric_names(list(spec.directions))
    ended = [record for _, record in sorted(records.items()) if record.state in STATES]
    study.add_trials([_trial(record, spec) for record in ended])
    return len(ended)


def _trial(record: Record, spec: Spec) -> FrozenTrial:
    done = record.state == "complete"
    about: dict[str, Any] = {"trial": record.number, "failure": record.failure, **record.costs}
    constraints = excesses(record.costs, spec.constraints)
    return create_trial(
        state=STATES[record.state],
        values=list(record.values(spec.directions).values()) if done else None,
        params=record.parameters,
        distributions={name: json_to_distribution(text) for name, text in record.distributions.items()},
        user_attrs={key: value for key, value in about.items() if value != ""},
        system_attrs={f"constraints:{name}": share for name, share in constraints.items()},
    )
