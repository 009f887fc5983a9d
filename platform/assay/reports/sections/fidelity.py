"""The sweep's cheap figures beside the audited ones: how much too good they are, and whether they rank models alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from assay.metrics.intervals import Interval
from assay.metrics.sweep_audit_gap import FEWEST, rank_correlation
from assay.reports.sections._figures import BLUE, GREY, VERMILION, Style, figure
from assay.reports.sections._html import Section, budget, section, words
from assay.reports.sections._sweep import NO_SWEEP, kept
from assay.store.audit_reader import Audit, Columns, ThreatBudget
from assay.store.schemas import FIDELITY

ORDER = 83
SOURCES = ("fidelity.parquet", "audit.yaml")

STYLES: dict[str, Style] = {
    "clean_auroc": {"color": BLUE, "marker": "o", "label": "clean AUROC"},
    "robust_auroc": {"color": VERMILION, "marker": "s", "label": "robust AUROC"},
}

TEMPLATE = """
{% if why %}
<p>{{ why }}</p>
{% else %}
<p>Cheap: on validation, under the sweep's own short attack, by which the model was chosen. Audited: on test, each
sample with its worst score over all attacks of the audit, at the same budget ({{ at }}). The gap holds both what a
stronger attack finds and what being chosen among many has flattered.</p>
<div class="panels">{{ picture }}</div>
<p>{{ models }} {{ "model" if models == 1 else "models" }} of this sweep {{ "is" if models == 1 else "are" }} audited in
this store. {% for name, found in ranks.items() %}
{% if found %}Rank correlation (Spearman) of the {{ name }}: {{ found | estimate }}. {% endif %}
{% endfor %}
{% if not ranks.values() | select | list %}A rank correlation needs {{ fewest }} models with both figures.{% endif %}
</p>
{% call table("Cheap against audited figures") %}
<caption>Gap: cheap less audited. In brackets 95% intervals{{ "; bold: this model" if models > 1 }}</caption>
<thead><tr><th>Model</th><th>Figure</th><th>Cheap, validation</th><th>Audited, test</th><th>Gap</th><th>Audit</th></tr>
</thead>
<tbody>
{% for row in rows %}
<tr class="{{ "group" if loop.changed(row.metric) }}{{ " chosen" if row.mine }}">
<th class="nowrap">trial {{ row.trial }}, <code>{{ row.model[:8] }}</code></th>
<td class="nowrap">{{ row.metric | words }}</td>
<td>{{ row.cheap | estimate }}</td>
{% if row.audited is none %}
<td>its suite has no such budget</td><td>–</td>
{% else %}
<td>{{ row.audited | estimate }}</td><td>{{ row.gap | estimate }}</td>
{% endif %}
<td class="nowrap">{{ row.suite }}{{ ", %d of each class" | format(row.limit) if row.limit }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
<p class="note">As it stood when this audit was made; models that were audited later come in when the same command is
given again. Intervals: cheap, Newcombe's closed form over the validation images, as if the model had not been chosen by
this very figure: it is the best of many, so the truth lies lower more often than its interval says; audited, as
everywhere in this report; gap, from both; rank correlation, models and figures drawn anew.</p>
{% endif %}
"""


def fidelity(audit: Audit) -> Section:
    """Cheap and audited AUROC of every audited model of the sweep, their gaps and rank correlation, with intervals."""
    title, compared = "Cheap against audited", kept(audit, "fidelity", FIDELITY)
    if compared is None or not len(compared["model"]):
        again = f"It was not computed: no fidelity.parquet. Make it with: {audit.command}"
        return section(title, TEMPLATE, why=NO_SWEEP if audit.trials is None else again)
    return section(
        title,
        TEMPLATE,
        why=None,
        at=budget(ThreatBudget(compared["norm"][0], float(compared["epsilon"][0]))),
        picture=_picture(compared, audit.info["model"]),
        models=len(set(compared["model"])),
        fewest=FEWEST,
        ranks={style["label"]: rank_correlation(compared, metric) for metric, style in STYLES.items()},
        rows=[_row(compared, row, audit.info["model"]) for row in range(len(compared["model"]))],
    )


class FidelityRow(NamedTuple):
    """A line of the table; audited and gap are None where the audit's suite has no such budget."""

    trial: int
    model: str
    mine: bool
    metric: str
    suite: str
    limit: int | None
    cheap: Interval | None
    audited: Interval | None
    gap: Interval | None


def _row(compared: Columns, row: int, mine: str) -> FidelityRow:
    limit, model = compared["limit"][row], str(compared["model"][row])
    return FidelityRow(
        trial=int(compared["trial"][row]),
        model=model,
        mine=model == mine,
        metric=str(compared["metric"][row]),
        suite=str(compared["suite"][row]),
        limit=int(limit) if limit is not None and np.isfinite(limit) else None,
        cheap=_interval(compared, row, "cheap"),
        audited=_interval(compared, row, "audited"),
        gap=_interval(compared, row, "gap"),
    )


def _interval(compared: Columns, row: int, name: str) -> Interval | None:
    value, lower, upper = (float(compared[key][row]) for key in (name, f"{name}_lower", f"{name}_upper"))
    return Interval(value, lower, upper) if np.isfinite(value) else None


def _picture(compared: Columns, mine: str) -> Markup:
    def draw(axes: Axes) -> None:
        for metric, style in STYLES.items():
            for this in (False, True):
                at = (compared["metric"] == metric) & ((compared["model"] == mine) == this)
                cheap, audited = compared["cheap"][at], compared["audited"][at]
                if not np.isfinite(audited).any():
                    continue
                wide: Style = {
                    "xerr": [cheap - compared["cheap_lower"][at], compared["cheap_upper"][at] - cheap],
                    "yerr": [audited - compared["audited_lower"][at], compared["audited_upper"][at] - audited],
                }
                more = (
                    {"markersize": 7, "label": f"{style['label']}, this model"}
                    if this
                    else {"markerfacecolor": "white"}
                )
                axes.errorbar(cheap, audited, **wide, linestyle="none", elinewidth=0.8, **{**style, **more})
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
        low = float(np.nanmin([compared["cheap_lower"], compared["audited_lower"]]))
        axes.set_xlim(max(0.0, low - 0.05), 1.0)
        axes.set_ylim(max(0.0, low - 0.05), 1.0)
        axes.set_xlabel("cheap: sweep, validation")
        axes.set_ylabel("audited: test")

    points = "; ".join(
        f"trial {compared['trial'][row]}, {words(compared['metric'][row])}: cheap {compared['cheap'][row]:.3f}, "
        f"audited {compared['audited'][row]:.3f}"
        for row in range(len(compared["model"]))
    )
    title = "On the dotted line the audit confirms the sweep; below it the sweep was too good"
    return figure("fidelity", title, f"Cheap against audited figures with intervals. {points}.", draw, height=3.0)
