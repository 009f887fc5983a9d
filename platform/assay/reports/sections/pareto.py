"""The sweep the model came from: clean against robust, and where the audited model stands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from assay.reports.sections._figures import BLUE, GREY, VERMILION, Style, figure
from assay.reports.sections._html import Section, estimate, number, section, short
from assay.reports.sections._sweep import audited, called, figure_of, objectives, parameters
from assay.store import seeds
from assay.store.audit_reader import Audit, Columns

ORDER = 80
SOURCES = ("trials.parquet", "audit.yaml", "manifest.json")

TEMPLATE = """
{% if trials is none %}
<p>{% if sweep %}The table of sweep {{ sweep }} was not kept with this audit (no <code>trials.parquet</code>).
{% else %}The model did not come from a sweep.{% endif %}</p>
{% else %}
<p>Sweep <strong>{{ sweep }}</strong>:
{% for state, count in states.items() %}{{ count }} {{ state }}{{ ", " if not loop.last }}{% endfor %}.
{{ "The audited model is trial %d%s." | format(trial, place) if trial is not none }}
Figures are on validation, under the sweep's own attack; they chose the model and are not the audit's. The best of many
trials looks better than it is.</p>
{% if seeds %}<p>{{ seeds }}. These figures are of validation, too; the audit is of one of the models.</p>{% endif %}
{% if picture %}
<div class="panels">{{ picture }}</div>
{% else %}
<p>The sweep had fewer than two objectives, so there is no front to draw.</p>
{% endif %}
<h3>The Pareto front{{ " and the audited model" if place else "" }}</h3>
{% if front %}
{% call table("Trials on the Pareto front") %}
<thead><tr><th>Trial</th><th class="right">Epoch</th>{% for name in goals %}<th>{{ name }}</th>{% endfor %}
<th>Parameters</th></tr></thead>
<tbody>
{% for row in front %}
<tr{% if row.trial == trial %} class="chosen"{% endif %}>
<th><span class="in-card">Trial </span>{{ row.trial }}{{ " (audited)" if row.trial == trial }}</th>
<td class="right">{{ row.epoch }}</td>{% for cell in row.goals %}<td>{{ cell }}</td>{% endfor %}
<td class="wide">{{ row.parameters | parameters }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
{% else %}
<p>No trial is on the front.</p>
{% endif %}
<p class="note">{% if counts %}In brackets and as crosses: 95% intervals,
Newcombe's closed form over the {{ counts.normal }} normal and {{ counts.anomalous }} anomalous validation images.
{%- else %}How many validation images there were is not recorded, so the figures have no intervals.{% endif %}</p>
{% endif %}
"""


def pareto(audit: Audit) -> Section:
    """Clean against robust validation figures of all trials, the front and its parameters, the audited model."""
    t, sweep = audit.trials, audit.info.get("sweep")
    if t is None:
        return section("The sweep", TEMPLATE, trials=None, sweep=sweep)
    goals = objectives(t)
    states, counts = np.unique(t["state"].astype(str), return_counts=True)
    trial = audited(audit, t)
    front = t["pareto"].astype(bool)
    listed = np.flatnonzero(front | (t["trial"] == trial))
    listed = listed[np.argsort(-t[goals[0]][listed])] if goals else listed
    return section(
        "The sweep",
        TEMPLATE,
        trials=t,
        sweep=sweep,
        states=dict(zip(states, counts, strict=True)),
        trial=trial,
        seeds=_seeds(audit),
        place=", which is not on the front" if trial is not None and not front[t["trial"] == trial].any() else "",
        picture=_picture(audit, t, goals[0], goals[1]) if len(goals) > 1 else None,
        goals=[called(name) for name in goals],
        front=[_trial(audit, t, row, goals) for row in listed.tolist()],
        counts=(audit.info["dataset"].get("counts") or {}).get("validation"),
    )


def _seeds(audit: Audit) -> str:
    """What the manifest says of trainings with other seeds; "" where it says nothing."""
    told = audit.manifest.get("seeds")
    if not isinstance(told, dict):
        return ""
    try:
        return seeds.sentence(told).capitalize()
    except (KeyError, TypeError, ValueError):
        return "What the manifest says of other seeds of training cannot be read"


class FrontTrial(NamedTuple):
    """A trial of the front, or the audited one; goals: a text for each objective."""

    trial: int
    epoch: int
    goals: list[str]
    parameters: dict[str, object]


def _trial(audit: Audit, t: Columns, row: int, goals: list[str]) -> FrontTrial:
    return FrontTrial(
        trial=int(t["trial"][row]),
        epoch=int(t["epoch"][row]),
        goals=[_goal(audit, name, float(t[name][row])) for name in goals],
        parameters={called(n): t[n][row] for n in parameters(t) if short(t[n][row]) != "–"},
    )


def _goal(audit: Audit, name: str, value: float) -> str:
    interval = figure_of(audit, name, value)
    return estimate(interval) if interval else number(value)


def _picture(audit: Audit, t: Columns, across: str, up: str) -> Markup:
    chosen, front = t["trial"] == audited(audit, t), t["pareto"].astype(bool)
    complete = t["state"] == "complete"
    kinds = (
        ("pruned or running", ~complete, {"marker": "x", "color": GREY, "markersize": 4}),
        ("complete", complete & ~front, {"marker": "o", "color": GREY, "markerfacecolor": "none"}),
        ("Pareto front", front, {"marker": "s", "color": BLUE, "markersize": 5}),
        ("audited model", chosen, {"marker": "D", "color": VERMILION, "markersize": 10, "markerfacecolor": "none"}),
    )

    def draw(axes: Axes) -> None:
        edge = np.flatnonzero(front)[np.argsort(t[across][front])]
        axes.plot(t[across][edge], t[up][edge], color=BLUE, linewidth=0.8, linestyle=":")
        for row in np.flatnonzero(front | chosen):
            x, y = (figure_of(audit, name, t[name][row]) for name in (across, up))
            if x and y:
                style: Style = {"colors": VERMILION if chosen[row] else BLUE, "linewidth": 0.6}
                axes.hlines(y.value, x.lower, x.upper, **style)
                axes.vlines(x.value, y.lower, y.upper, **style)
        for label, rows, style in kinds:
            if np.isfinite(t[across][rows] + t[up][rows]).any():
                axes.plot(t[across][rows], t[up][rows], linestyle="none", label=label, **style)
        axes.set_xlabel(called(across) + ", validation")
        axes.set_ylabel(called(up) + ", validation")

    points = "; ".join(f"trial {t['trial'][r]} {t[across][r]:.3f} / {t[up][r]:.3f}" for r in np.flatnonzero(front))
    description = f"{int(complete.sum())} complete trials, {across} against {up}. On the front: {points}."
    return figure("pareto", "Clean against robust, all trials of the sweep", description, draw, height=2.7)
