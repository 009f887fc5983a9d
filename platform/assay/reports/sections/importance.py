"""Which hyperparameter decided each objective of the sweep, and whether the trials are enough to say so."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from assay.metrics.importance import NEEDED, WITH_IT
from assay.reports.sections._figures import BLACK, BLUE, VERMILION, Style, clipped, figure
from assay.reports.sections._html import Section, section, slug, words
from assay.reports.sections._sweep import NO_SWEEP, kept
from assay.store.audit_reader import Audit, Columns
from assay.store.schemas import IMPORTANCE

ORDER = 82
SOURCES = ("importance.parquet", "trials.parquet")

ROW = 0.42  # inches a parameter

TEMPLATE = """
{% if why %}
<p>{{ why }}</p>
{% endif %}
{% if panels %}
<p>Importance is the parameter's share in what makes the best quarter of the trials differ from all (PED-ANOVA); the
shares of one objective add up to 1. A share that is not above its chance level says nothing: one parameter without any
effect would stay below it 19 times in 20 if all values were tried alike. A guided search such as TPE tries what did
well more often, and then more of them rise above it by chance. {{ verdict }}</p>
<div class="panels">{% for panel in panels %}{{ panel }}{% endfor %}</div>
{% endif %}
{% if rows %}
{% call table("Importance of each hyperparameter") %}
<caption>Complete trials: {{ complete }}; in brackets {{ (confidence * 100) | round | int }}% intervals</caption>
<thead><tr><th>Parameter</th><th>Objective</th><th>Importance</th><th>Chance level</th><th>Trials that have it</th></tr>
</thead>
<tbody>
{% for row in rows %}
<tr class="{{ "group" if loop.changed(row.objective) }}"><th class="name">{{ row.parameter }}</th>
<td class="nowrap">{{ row.objective | words }}</td>
{% if not row.measured %}
<td>too few trials</td><td>–</td>
{% else %}
<td>{{ row | estimate }}</td><td>{{ row.chance | number }}</td>
{% endif %}
<td>{{ row.trials }} of {{ complete }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
<p class="note">Of the complete trials. Intervals: the trials redrawn with replacement, as if each had been drawn on
its own; of a guided search they are a rough guide, and probably too narrow. A parameter that only some
trials have is compared among those, and weighted by how many they are. A search does not try all values alike: what
it soon gave up is known least.</p>
{% endif %}
"""


def importance(audit: Audit) -> Section:
    """Importance of each hyperparameter for each objective with intervals and chance levels, or why there is none."""
    title, importances = "Importance of hyperparameters", kept(audit, "importance", IMPORTANCE)
    if audit.trials is None:
        return section(title, TEMPLATE, why=NO_SWEEP)
    if importances is None or not len(importances["parameter"]):
        again = f"It was not computed: no importance.parquet. Make it with: {audit.command}"
        return section(
            title, TEMPLATE, why=again if importances is None else "No complete trial of the sweep varied anything."
        )
    measured = np.isfinite(importances["importance"])
    complete = int(importances["complete"].max())
    few = (
        f"Too few trials to say anything: {complete} are complete, and {NEEDED} are needed, {WITH_IT} of them with the "
        "parameter; the figures of fewer would be noise. The counts are in importance.parquet."
    )
    return section(
        title,
        TEMPLATE,
        why=None if measured.any() else few,
        verdict=_verdict(importances, measured),
        panels=[
            picture(importances, name)
            for name in _objectives(importances)
            if measured[importances["objective"] == name].any()
        ],
        rows=[_row(importances, row) for row in _order(importances)] if measured.any() else [],
        complete=complete,
        confidence=float(importances["confidence"][0]),
    )


def _objectives(importances: Columns) -> list[str]:
    return sorted(set(importances["objective"]), key=lambda name: ("clean" not in name, name))


def _order(importances: Columns) -> list[int]:
    """Rows by objective, the most important parameter first, those without a number last."""
    places = {name: place for place, name in enumerate(_objectives(importances))}
    rank = np.nan_to_num(importances["importance"], nan=-1.0)
    return sorted(range(len(rank)), key=lambda row: (places[str(importances["objective"][row])], -rank[row]))


class ImportanceRow(NamedTuple):
    """A parameter's share in what decided an objective; not measured where too few trials have it."""

    parameter: str
    objective: str
    value: float
    lower: float
    upper: float
    chance: float
    trials: int

    @property
    def measured(self) -> bool:
        """Whether there is a number."""
        return bool(np.isfinite(self.value))


def _row(importances: Columns, row: int) -> ImportanceRow:
    value, lower, upper, chance = (float(importances[name][row]) for name in ("importance", "lower", "upper", "chance"))
    return ImportanceRow(
        parameter=str(importances["parameter"][row]),
        objective=str(importances["objective"][row]),
        value=value,
        lower=lower,
        upper=upper,
        chance=chance,
        trials=int(importances["trials"][row]),
    )


def _verdict(importances: Columns, measured: NDArray[np.bool_]) -> str:
    above = [row for row in np.flatnonzero(measured) if importances["importance"][row] > importances["chance"][row]]
    if not above:
        return "Here none is above it: these trials do not show which parameter matters."
    names = (f"{importances['parameter'][row]} for {words(importances['objective'][row])}" for row in above)
    shares = int(measured.sum())
    expected = f"of {shares} shares without any effect about {shares / 20:.1f} would be"
    return f"Above it: {', '.join(names)}; {expected}, more after a guided search."


def picture(importances: Columns, objective: str) -> Markup:
    """The shares of all parameters in one objective with intervals and chance levels, from a table of IMPORTANCE."""
    rows = [_row(importances, row) for row in _order(importances) if importances["objective"][row] == objective]
    rows = [row for row in rows if row.measured]

    def draw(axes: Axes) -> None:
        for place, row in enumerate(rows):
            axes.barh(-place, row.value, height=0.34, color=BLUE, alpha=0.75, label="importance" if not place else None)
            wide = [[row.value - row.lower], [row.upper - row.value]]
            axes.errorbar(row.value, -place, xerr=wide, color=BLACK, linewidth=1, capsize=3, fmt="none")
            style: Style = {"color": VERMILION, "linewidth": 2, "linestyle": (0, (2, 1))}
            axes.plot(
                [row.chance] * 2, [-place - 0.24, 0.24 - place], label="chance level" if not place else None, **style
            )
            axes.text(0, 0.22 - place, clipped(row.parameter, 40), va="bottom")
        axes.set_xlim(0, 1)
        axes.set_ylim(0.6 - len(rows), 0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("share of the importance of all")

    listed = "; ".join(
        f"{row.parameter} {row.value:.2f}, interval {row.lower:.2f} to {row.upper:.2f}, chance "
        f"{row.chance:.2f}, {row.trials} trials"
        for row in rows
    )
    title = f"Importance for {words(objective)}"
    return figure(f"importance-{slug(objective)}", title, f"{title}. {listed}.", draw, height=ROW * len(rows) + 0.6)
