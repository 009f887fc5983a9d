"""Which attack hides which kind of defect: a map of the AUROC, attack by kind, at one budget of each norm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from assay.metrics.intervals import Interval, newcombe
from assay.reports.sections._figures import BLACK, clipped, figure
from assay.reports.sections._html import Section, budget, section, slug
from assay.store.audit_reader import Audit, ThreatBudget
from assay.store.figures import Figure
from assay.store.score_matrix import ALL, SCORE, WORST, Setting
from assay.units import epsilon_key

ORDER = 53
SOURCES = ("scores/", "metrics.parquet")

KINDS = 3
"""Kinds beside each other in one map; more of them go into the next, so that a phone has room for the figures."""
DARK = 0.38
"""Fields of a lower AUROC than this are dark enough for white text."""
SHADES = LinearSegmentedColormap.from_list("shades", ["#00263f", "#0072b2", "#8cc4e8", "#ffffff"])
Row = tuple[str, list[Figure | Interval | None]]

TEMPLATE = """
<p>AUROC of each kind of defect against all normals, both regimes at once, with its {{ (confidence * 100) | round | int
}}% interval in brackets. The darker a field, the better the attack. A dark column is a kind of defect that is easily
hidden; a dark row is an attack that works on all of them.</p>
<div class="panels">
{% for panel in panels %}{{ panel }}{% endfor %}
</div>
<p class="note">The worst case takes each sample's worst score over all attacks up to the budget. The budget shown is
the suite's headline where the norm has one, else the middle one. Intervals of one attack on one kind are Newcombe's,
from the scores; all others are in <code>metrics.parquet</code>.</p>
{% if audit.defects %}
<h3>Worst case of each kind, at every budget</h3>
{% for norm in audit.norms %}
{% call table("Worst case of each kind, " ~ (norm | norm)) %}
<thead><tr><th>Kind</th>
{% for budget in audit.budgets_of(norm) %}<th>{{ budget | budget }}</th>{% endfor %}</tr></thead>
<tbody>
{% for kind in audit.defects %}
<tr><th class="name">{{ kind }}</th>
{% for budget in audit.budgets_of(norm) %}
<td>{{ audit.attacked("auroc", budget, defect=kind) | estimate }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
{% endcall %}
{% endfor %}
{% endif %}
"""


def attack_map(audit: Audit) -> Section:
    """A map of AUROC, attack x kind of defect, for each norm, and the worst case of each kind at every budget."""
    panels = [panel for name in audit.norms for panel in _maps(audit, audit.shown(name))]
    return section("Attacks by kind of defect", TEMPLATE, audit=audit, panels=panels, confidence=audit.confidence)


def _maps(audit: Audit, at: ThreatBudget) -> Iterator[Markup]:
    """The map of one budget, KINDS kinds at a time, after `all kinds` where there are several."""
    anomalies = audit.matrix.defects[audit.matrix.labels == 1]
    names, counts = np.unique(anomalies.astype(str), return_counts=True)
    kinds = dict(zip(names.tolist(), counts.tolist(), strict=True))
    if len(kinds) > 1:
        kinds = {ALL: len(anomalies), **kinds}
    rows = list(_rows(audit, at, list(kinds)))
    headings = [f"{clipped('all kinds' if kind == ALL else kind, 14)}\n({count})" for kind, count in kinds.items()]
    for first in range(0, len(kinds), KINDS):
        some = slice(first, first + KINDS)
        yield _map(at, first, headings[some], [(name, figures[some]) for name, figures in rows])


def _rows(audit: Audit, at: ThreatBudget, kinds: list[str]) -> Iterator[Row]:
    """Every attack that was made at this budget, then the worst case; a figure per kind."""
    scores = {s.attack: column for s, column in audit.matrix.values[SCORE].items() if _at(s, at)}
    for attack in [*(entry["name"] for entry in audit.attacks(at.norm) if entry["name"] in scores), WORST]:
        figures: list[Figure | Interval | None] = []
        for kind in kinds:
            known = audit.attacked("auroc", at, attack=attack, defect=kind if len(kinds) > 1 else ALL)
            figures.append(known or (_auroc(audit, scores[attack], kind) if attack in scores else None))
        yield "worst case" if attack == WORST else attack, figures


def _at(setting: Setting, at: ThreatBudget) -> bool:
    return setting.norm == at.norm and epsilon_key(setting.epsilon) == epsilon_key(at.epsilon)


def _auroc(audit: Audit, scores: NDArray[Any], kind: str) -> Interval | None:
    """Of one kind against all normals, of those samples that were attacked; None without either."""
    labels = audit.matrix.labels
    rows = ~np.isnan(scores) & ((labels == 0) | (audit.matrix.defects == kind))
    labels, scores = labels[rows], scores[rows]
    normals, anomalies = int((labels == 0).sum()), int((labels == 1).sum())
    if not (normals and anomalies):
        return None
    value = float(roc_auc_score(labels, scores))
    return Interval(value, *newcombe(value, normals, anomalies, audit.confidence))


def _map(at: ThreatBudget, first: int, kinds: list[str], rows: list[Row]) -> Markup:
    values = np.array([[figure.value if figure else np.nan for figure in figures] for _, figures in rows])

    def draw(axes: Axes) -> None:
        axes.imshow(values, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(kinds)), kinds)
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(rows)), [clipped(name, 16) for name, _ in rows])
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(0.5, len(kinds) - 1), minor=True)
        axes.set_yticks(np.arange(0.5, len(rows) - 1), minor=True)
        axes.grid(visible=True, which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="minor", length=0)
        for row, (_, figures) in enumerate(rows):
            for column, one in enumerate(figures):
                text = f"{one.value:.2f}\n[{one.lower:.2f}, {one.upper:.2f}]" if one else "–"
                colour = "white" if one and one.value < DARK else BLACK
                axes.text(column, row, text, ha="center", va="center", color=colour, linespacing=1.15)

    description = "; ".join(
        f"{name}: " + ", ".join(f"{kind} {one.value:.3f}" for kind, one in zip(kinds, figures, strict=True) if one)
        for name, figures in rows
    ).replace("\n", " ")
    more = f", part {first // KINDS + 1}" if first else ""
    return figure(
        f"map-{slug(at.norm)}-{first}", f"{budget(at)}: AUROC by attack and kind{more}",
        f"Map of AUROC, attacks in rows and kinds of defect in columns. {description}.", draw,
        height=0.45 + 0.36 * len(rows),
    )  # fmt: skip
