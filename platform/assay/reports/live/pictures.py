"""Pictures of a running sweep: the front, all trials side by side. Drawn of a sample where there are thousands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from assay.metrics import importance
from assay.reports import notebook
from assay.reports.sections import parallel_coordinates
from assay.reports.sections._sweep import objectives, parameters
from assay.store import trials_table
from assay.store.audit_reader import Columns
from assay.store.trials_table import Trial

MOST = 300
"""Trials that a picture shows at most, beside the front; more cannot be told apart and take long to draw."""


def drawn(directions: Mapping[str, str], trials: Sequence[Trial]) -> list[Markup]:
    """The pictures that these trials allow: with two objectives the front, with two complete trials all of them."""
    shown = importance.sample(trials, MOST)
    found = [notebook.scatter(list(directions), shown)]
    if len(shown) > 1:
        table = columns(shown)
        names = [name for name in [*parameters(table), *objectives(table)] if any(map(_there, table[name].tolist()))]
        found.append(parallel_coordinates.picture(table, np.arange(len(shown)), names, None))
    return [picture for picture in found if picture]


def columns(trials: Sequence[Trial]) -> Columns:
    """Trials as numpy columns, as a report reads them from trials.parquet."""
    table = trials_table.table(trials)
    return {name: table[name].to_numpy() for name in table.column_names}


def _there(value: object) -> bool:
    return value is not None and value == value
