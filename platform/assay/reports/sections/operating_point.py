"""What the attack does at the threshold that would be deployed: misses, false alarms, and the scores behind them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from assay.reports.sections._figures import BLACK, BLUE, ORANGE, VERMILION, epsilon_axis, figure
from assay.reports.sections._html import Section, budget, norm, section, slug
from assay.store.audit_reader import Audit, ThreatBudget
from assay.units import in_255, scale

ORDER = 56
SOURCES = ("metrics.parquet", "worst_case.parquet", "audit.yaml")

Numbers = NDArray[Any]


class Line(NamedTuple):
    """How a rate is drawn."""

    label: str
    colour: str
    style: str
    marker: str


RATES = {
    "miss_rate": Line("misses under evasion", VERMILION, "-", "o"),
    "false_alarm_rate": Line("false alarms when raised", BLUE, "--", "s"),
}

TEMPLATE = """
<p>The threshold is {{ threshold.value | number }}: a higher score raises the alarm. It was set from
{{ threshold.source }} ({{ threshold.count | number }} samples) for a false-alarm rate of
{{ threshold.false_alarm_rate | number }} on clean normals.</p>
<div class="panels">
{% for panel in rates %}{{ panel }}{% endfor %}
</div>
{% call table("Rates at the deployed threshold") %}
<caption>Worst case over all attacks up to the budget, with {{ (audit.confidence * 100) | round | int }}% intervals
</caption>
<thead><tr><th>Images</th><th>Miss rate, anomalies hidden</th><th>False-alarm rate, normals raised</th></tr></thead>
<tbody>
<tr><th>Clean</th><td>{{ audit.clean("miss_rate") | estimate }}</td>
<td>{{ audit.clean("false_alarm_rate") | estimate }}</td></tr>
{% for budget in audit.budgets %}
<tr{% if loop.changed(budget.norm) %} class="group"{% endif %}><th>{{ budget | budget }}</th>
<td>{{ audit.rate("miss_rate", budget) | estimate }}</td>
<td>{{ audit.rate("false_alarm_rate", budget) | estimate }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
<h3>Scores before and after the attack</h3>
<p>Above the line: clean scores. Below it: the worst score of each sample over all attacks up to the budget.
Anomalies left of the threshold are missed; normals right of it are false alarms.</p>
<div class="panels">
{% for panel in histograms %}{{ panel }}{% endfor %}
</div>
"""


def operating_point(audit: Audit) -> Section:
    """Miss and false-alarm rate over epsilon at the deployed threshold, and score histograms around it."""
    return section(
        "At the deployed threshold",
        TEMPLATE,
        audit=audit,
        threshold=audit.info["threshold"],
        rates=[_rates(audit, name) for name in audit.norms],
        histograms=_histograms(audit),
    )


def _rates(audit: Audit, name: str) -> Markup:
    budgets = audit.budgets_of(name)
    curves = {}
    for metric in RATES:
        points = [(0.0, audit.clean(metric)), *((each.epsilon, audit.rate(metric, each)) for each in budgets)]
        curves[metric] = [(epsilon, point) for epsilon, point in points if point]

    def draw(axes: Axes) -> None:
        for metric, line in RATES.items():
            levels = [epsilon * scale(name) for epsilon, _ in curves[metric]]
            points = [point for _, point in curves[metric]]
            axes.fill_between(
                levels, [p.lower for p in points], [p.upper for p in points],
                color=line.colour, alpha=0.12, linewidth=0,
            )  # fmt: skip
            axes.plot(
                levels, [p.value for p in points],
                label=line.label, color=line.colour, linestyle=line.style, marker=line.marker,
            )  # fmt: skip
        axes.set_ylim(-0.02, 1.02)
        axes.set_ylabel("rate at the threshold")
        epsilon_axis(axes, name, [0.0, *(each.epsilon for each in budgets)])

    description = "; ".join(
        f"{RATES[metric].label}: "
        + ", ".join(f"{point.value:.3f} at {in_255(epsilon, name)}" for epsilon, point in curve)
        for metric, curve in curves.items()
    )
    return figure(
        f"rates-{slug(name)}", f"{norm(name)}: rates at the threshold", f"Rates over epsilon. {description}.", draw
    )


def _histograms(audit: Audit) -> list[Markup]:
    """One panel per budget, all on the same scales."""
    threshold = float(audit.info["threshold"]["value"])
    worst = {each: audit.worst_scores(each) for each in audit.budgets}
    finite = [scores[np.isfinite(scores)] for _, *both in worst.values() for scores in both]
    ends = np.array([threshold, *(scores.min() for scores in finite), *(scores.max() for scores in finite)])
    labels, clean, _ = next(iter(worst.values()))
    width = float(np.subtract(*np.quantile(clean[labels == 0], [0.75, 0.25]))) or 1.0
    # Equal steps near the threshold and ever longer ones away from it: a few far scores do not squeeze all others.
    edges = width * np.sinh(np.histogram_bin_edges(np.arcsinh((ends - threshold) / width), bins=28))
    return [_histogram(at, scores, threshold, edges, width) for at, scores in worst.items()]


def _histogram(
    at: ThreatBudget, scores: tuple[Numbers, Numbers, Numbers], threshold: float, edges: Numbers, width: float
) -> Markup:
    labels, clean, attacked = scores

    def draw(axes: Axes) -> None:
        kinds = ((0, "normals", BLUE, "#003d61", None), (1, "anomalies", ORANGE, "#6b4a00", "////"))
        for label, name, colour, line, hatch in kinds:
            for drawn, sign in ((clean, 1), (attacked, -1)):
                counts = np.histogram(drawn[labels == label] - threshold, edges)[0] * sign
                axes.stairs(
                    counts, edges, fill=True, facecolor=colour, alpha=0.6, hatch=hatch, edgecolor=line,
                    label=name if sign > 0 else None,
                )  # fmt: skip
        axes.axhline(0, color=BLACK, linewidth=0.8)
        axes.axvline(0, color=BLACK, linewidth=1.2, linestyle="--", label=f"threshold {threshold:.3f}")
        highest = max(abs(bound) for bound in axes.get_ylim())
        axes.set_ylim(-1.15 * highest, 1.15 * highest)
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.text(0.01, 0.98, "clean", transform=axes.transAxes, va="top")
        axes.text(0.01, 0.02, "attacked", transform=axes.transAxes, va="bottom")
        axes.set_ylabel("samples")
        axes.set_xscale("asinh", linear_width=width)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if not 0 < abs(value) < 2 * width else "")
        axes.set_xlabel("score minus threshold, stretched near it")

    before, after = _errors(labels, clean, threshold), _errors(labels, attacked, threshold)
    return figure(
        f"scores-{slug(at.norm)}-{slug(in_255(at.epsilon, at.norm))}",
        f"{budget(at)}: scores before and after",
        f"Histograms around the threshold {threshold:.3f}. Clean: {before}. Attacked: {after}.",
        draw,
        height=2.4,
    )


def _errors(labels: Numbers, scores: Numbers, threshold: float) -> str:
    anomalies, normals = scores[labels == 1], scores[labels == 0]
    missed, stopped = int((anomalies <= threshold).sum()), int((normals > threshold).sum())
    return f"{missed} of {len(anomalies)} anomalies missed, {stopped} of {len(normals)} normals stopped"
