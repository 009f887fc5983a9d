"""A study as one HTML page: the table that papers print, paired differences, ranks. No network, no script."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from assay.reports.sections._figures import figure
from assay.reports.sections._html import ENVIRONMENT, slug, style
from assay.store import references
from assay.store.store import Store
from assay.studies import comparison
from assay.studies.comparison import Ranks
from assay.studies.results import Result
from assay.studies.study_file import Study

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Study {{ study.name }}</title>
<style>{{ css }}</style>
</head>
<body>
<header><h1>Study {{ study.name }}</h1>
<p class="identity">{{ study.detectors | length }} detectors, {{ study.datasets | length }} datasets,
{{ study.seeds | length }} seeds; figures are of validation images, under the attack {{ attack }}</p></header>
<main>
{% for metric in metrics %}
<section id="{{ metric.slug }}"><h2>{{ metric.name | words }}</h2>
{% call table(metric.name) %}
<caption>Mean over the seeds, with the standard deviation between them; the best of a row in bold</caption>
<thead><tr><th>Dataset</th>{% for detector in study.detectors %}<th>{{ detector }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in metric.rows %}
<tr class="{{ "group" if row.dataset == "mean" }}"><th class="name">{{ row.dataset }}</th>
{% for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
{% endcall %}
{% if metric.differences %}
<h3>Paired differences</h3>
{% call table("Paired differences of " ~ metric.name) %}
<caption>On the same images, mean over the datasets; p corrected by Holm for {{ metric.differences | length }} pairs
</caption>
<thead><tr><th>Detectors</th><th>Difference</th><th>p</th><th>Told apart</th><th>Datasets</th></tr></thead>
<tbody>
{% for pair in metric.differences %}
<tr><th class="name">{{ pair.a }} less {{ pair.b }}</th><td>{{ pair | estimate }}</td><td>{{ pair.p | number }}</td>
<td>{{ "yes" if pair.p < 0.05 else "no" }}</td><td>{{ pair.datasets }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
{% endif %}
{% if metric.picture %}
<h3>Ranks</h3>
<div class="panels">{{ metric.picture }}</div>
<p>Mean rank over {{ metric.ranks.datasets }} datasets, 1 is best. Two detectors differ at 95% where their ranks lie
further apart than the critical difference of {{ metric.ranks.critical | number }} (Nemenyi){% if metric.tested %};
Friedman's test that all are alike: p {{ metric.ranks.p | number }}{% endif %}.</p>
{% else %}
<p>Ranks need two detectors and two datasets for which every detector has a figure.</p>
{% endif %}
</section>
{% endfor %}
<section id="cells"><h2>Cells</h2>
{% call table("Cells") %}
<caption>95% intervals over the images, of groups where there are any; what to audit by name</caption>
<thead><tr><th>Detector</th><th>Dataset</th><th>Seed</th>{% for name in study.directions %}<th>{{ name | words }}</th>
{% endfor %}<th>Seconds</th><th>MB stored</th><th>Audit, or how to</th></tr></thead>
<tbody>
{% for cell in cells %}
<tr><th class="name">{{ cell.result.cell.detector }}</th><td>{{ cell.result.cell.dataset }}</td>
<td>{{ cell.result.cell.seed }}</td>
{% if cell.result.missing %}<td>{{ cell.result.missing }}</td>
{% for _ in cell.figures[1:] %}<td>–</td>{% endfor %}<td>{{ cell.result.seconds | number }}</td><td>–</td><td>–</td>
{% else %}
{% for one in cell.figures %}<td>{{ one | estimate }}</td>{% endfor %}
<td>{{ cell.result.seconds | number }}</td><td>{{ cell.result.stored_mb | number }}</td>
<td>{% if cell.audit %}<a href="../../audits/{{ cell.audit }}/report.html">audit {{ cell.audit }}</a>
{% else %}<code>assay audit {{ cell.result.cell.spec.name }}:best</code>{% endif %}</td>
{% endif %}</tr>
{% endfor %}
</tbody>
{% endcall %}
</section>
</main>
</body>
</html>
"""


def render(study: Study, results: Sequence[Result], audits: Mapping[str, str] = {}) -> str:
    """The page; the same results give the same text. audits: model -> its newest finished audit."""
    return ENVIRONMENT.from_string(TEMPLATE).render(
        study=study,
        css=style(),
        attack=study.cells[0].spec.evaluation.attack.name,
        metrics=[_metric(study, results, name) for name in study.directions],
        cells=[
            {
                "result": one,
                "figures": [_figure(one, name) for name in study.directions],
                "audit": audits.get(one.model),
            }
            for one in results
        ],
    )


def write(store: Store, study: Study, results: Sequence[Result]) -> str:
    """Write studies/NAME/study.html and return where it lies."""
    key = f"studies/{study.name}/study.html"
    newest_last, _ = references.readable(store)
    audits = {str(one.info["model"]): str(one.info["audit"]) for one in newest_last}
    store.write(key, render(study, results, audits).encode())
    return store.place(key)


def _figure(result: Result, name: str) -> Mapping[str, float | None]:
    lower, upper = result.intervals.get(name, (None, None))
    return {"value": result.values.get(name), "lower": lower, "upper": upper}


def _metric(study: Study, results: Sequence[Result], name: str) -> Mapping[str, object]:
    ranks = comparison.ranks(results, name, study.directions[name])
    return {
        "name": name,
        "slug": slug(name),
        "rows": _rows(study, results, name),
        "differences": comparison.differences(results, name),
        "ranks": ranks,
        "tested": ranks is not None and np.isfinite(ranks.p),
        "picture": _picture(ranks) if ranks else None,
    }


def _rows(study: Study, results: Sequence[Result], name: str) -> list[Mapping[str, object]]:
    best: Callable[[Collection[float]], float] = max if study.directions[name] == "max" else min
    rows: list[Mapping[str, object]] = []
    found = comparison.means(results, name)
    for dataset in study.datasets:
        there = [found[key] for key in found if key[1] == dataset]
        cells = []
        for detector in study.detectors:
            seeds = [
                r.values[name]
                for r in results
                if (r.cell.detector, r.cell.dataset) == (detector, dataset) and name in r.values
            ]
            cells.append(_cell(seeds, bool(there) and found.get((detector, dataset)) == best(there), len(study.seeds)))
        rows.append({"dataset": dataset, "cells": cells})
    if len(study.datasets) > 1:
        whole = {
            one: [found[one, dataset] for dataset in study.datasets if (one, dataset) in found]
            for one in study.detectors
        }
        full = {one: float(np.mean(v)) for one, v in whole.items() if len(v) == len(study.datasets)}
        cells = [
            _bold(f"{full[one]:.3f}", full[one] == best(full.values())) if one in full else Markup("–")
            for one in study.detectors
        ]
        rows.append({"dataset": "mean", "cells": cells})
    return rows


def _cell(seeds: Sequence[float], leads: bool, wanted: int) -> Markup:
    """`0.873 ± 0.012`, bold for the best of its row; with the number of seeds where some are missing."""
    if not seeds:
        return Markup("–")
    spread = f" ± {np.std(seeds, ddof=1):.3f}" if len(seeds) > 1 else ""
    some = f" ({len(seeds)} of {wanted} seeds)" if len(seeds) < wanted else ""
    return _bold(f"{np.mean(seeds):.3f}{spread}{some}", leads)


def _bold(text: str, leads: bool) -> Markup:
    return Markup("<strong>{}</strong>").format(text) if leads else Markup("{}").format(text)


def _picture(ranks: Ranks) -> Markup:
    """A critical-difference plot: every detector at its mean rank, a bar over those that cannot be told apart."""
    order = sorted(ranks.mean.items(), key=lambda pair: pair[1])

    def draw(axes: Axes) -> None:
        for place, (name, rank) in enumerate(order):
            axes.plot(rank, -place, "o", color="black")
            axes.text(rank + 0.06, -place, name, va="center")
        groups: list[tuple[float, float]] = []
        for _, rank in order:
            alike = [other for _, other in order if 0 <= other - rank <= ranks.critical]
            if len(alike) > 1 and not any(first <= alike[0] and alike[-1] <= last for first, last in groups):
                groups.append((alike[0], alike[-1]))
        for place, (first, last) in enumerate(groups):
            axes.plot([first, last], [0.5 + 0.25 * place] * 2, color="black", linewidth=3, solid_capstyle="butt")
        axes.set_xlim(0.8, len(order) + 0.9)
        axes.set_ylim(0.5 - len(order), 1 + 0.25 * len(groups))
        axes.set_xticks(range(1, len(order) + 1))
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"mean rank; bars: within the critical difference of {ranks.critical:.2f}")

    listed = "; ".join(f"{name} {rank:.2f}" for name, rank in order)
    title = f"Mean ranks, {ranks.metric.replace('_', ' ').replace('auroc', 'AUROC')}"
    described = f"{title}: {listed}. Critical difference {ranks.critical:.2f}."
    return figure(f"ranks-{slug(ranks.metric)}", title, described, draw, height=0.34 * len(order) + 0.9)
