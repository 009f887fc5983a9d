"""What a smaller neighbour bank would cost in AUROC and save in time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from assay.metrics.intervals import Interval
from assay.reports.sections._figures import BLUE, GREEN, GREY, VERMILION, figure
from assay.reports.sections._html import Section, section
from assay.reports.sections._html import budget as told_budget
from assay.reports.sections._sweep import kept
from assay.store.audit_reader import Audit, Columns, ThreatBudget
from assay.store.schemas import BANK_SIZE

ORDER = 64
SOURCES = ("bank_size.parquet",)

TEMPLATE = """
{% if rows %}
<p>The deployed bank of {{ deployed | number }} rows was reduced to coresets of itself, without training anew, and each
was scored on {{ counts.normals }} normal and {{ counts.anomalies }} anomalous test images.
{% if attacked %}The attack, at {{ at }}, is one short PGD for comparing sizes; those of the whole audit find more.
{%- else %}None of them was attacked: the score has no gradient that PGD could follow at {{ at }}.{% endif %}</p>
<div class="panels">{% for panel in panels %}{{ panel }}{% endfor %}</div>
{% call table("AUROC and time by size of the bank") %}
<caption>In brackets {{ (confidence * 100) | round | int }}% intervals; of times, the quartiles of repeated passes on
the machine of the audit</caption>
<thead><tr><th>Rows</th><th>Share</th><th>Clean AUROC</th><th>AUROC under attack</th><th>ms per image</th></tr>
</thead>
<tbody>
{% for row in rows %}
<tr{% if loop.last %} class="chosen"{% endif %}><th>{{ row.rows | number }}{{ " (deployed)" if loop.last }}</th>
<td>{{ "%.3g %%" | format(100 * row.share) }}</td>
<td>{{ row.clean | estimate }}</td><td>{{ row.robust | estimate }}</td><td>{{ row.time | estimate }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
<p class="note">Made of the scores in <code>bank/</code>. The sizes share images
and attack, so differences between them are surer than the intervals look.</p>
{% else %}
<p>Not measured: {{ why }}.</p>
{% endif %}
"""


def bank_size(audit: Audit) -> Section:
    """AUROC clean and attacked, and time per image, against the size of the neighbour bank, as curves and a table."""
    title, sizes = "Size of the neighbour bank", kept(audit, "bank_size", BANK_SIZE)
    if sizes is None:
        asked = audit.info["suite"].get("bank_sizes")
        why = "the detector has no bank of neighbours that can be reduced" if asked else "the suite does not ask for it"
        return section(title, TEMPLATE, rows=[], why=why)
    return section(
        title,
        TEMPLATE,
        rows=[_row(sizes, row) for row in range(len(sizes["rows"]))],
        deployed=int(sizes["rows"].max()),
        counts={"normals": int(sizes["normals"][0]), "anomalies": int(sizes["anomalies"][0])},
        attacked=bool(np.isfinite(sizes["robust_auroc"]).all()),
        at=told_budget(ThreatBudget(sizes["norm"][0], float(sizes["epsilon"][0]))),
        confidence=float(sizes["confidence"][0]),
        panels=[_aurocs(sizes), _times(sizes)],
    )


class BankRow(NamedTuple):
    """One size of the bank. robust: None where it was not attacked. time: milliseconds per image, with quartiles."""

    rows: int
    share: float
    clean: Interval | None
    robust: Interval | None
    time: Interval | None


def _row(sizes: Columns, row: int) -> BankRow:
    def interval(*names: str, unit: float = 1.0) -> Interval | None:
        value, lower, upper = (unit * float(sizes[name][row]) for name in names)
        return Interval(value, lower, upper) if np.isfinite(value) else None

    return BankRow(
        rows=int(sizes["rows"][row]),
        share=float(sizes["share"][row]),
        clean=interval("clean_auroc", "clean_lower", "clean_upper"),
        robust=interval("robust_auroc", "robust_lower", "robust_upper"),
        time=interval("seconds_50", "seconds_25", "seconds_75", unit=1000),
    )


def _aurocs(sizes: Columns) -> Markup:
    lines = {"clean": (BLUE, "-", "o"), "robust": (VERMILION, "--", "s")}

    def draw(axes: Axes) -> None:
        for name, (colour, line, marker) in lines.items():
            value, lower, upper = (sizes[f"{name}_{part}"] for part in ("auroc", "lower", "upper"))
            if np.isfinite(value).any():
                axes.fill_between(sizes["rows"], lower, upper, color=colour, alpha=0.12, linewidth=0)
                label = "clean" if name == "clean" else "under attack"
                axes.plot(sizes["rows"], value, color=colour, linestyle=line, marker=marker, label=label)
        axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("AUROC")
        _rows_axis(axes, sizes)

    points = "; ".join(
        f"{rows} rows: clean {clean:.3f}, attacked {robust:.3f}"
        for rows, clean, robust in zip(sizes["rows"], sizes["clean_auroc"], sizes["robust_auroc"], strict=True)
    )
    return figure("bank-auroc", "AUROC by size of the bank", f"AUROC by rows in the bank. {points}.", draw)


def _times(sizes: Columns) -> Markup:
    def draw(axes: Axes) -> None:
        axes.fill_between(
            sizes["rows"], 1000 * sizes["seconds_25"], 1000 * sizes["seconds_75"], color=GREEN, alpha=0.15, linewidth=0
        )
        axes.plot(sizes["rows"], 1000 * sizes["seconds_50"], color=GREEN, marker="^")
        axes.set_ylim(0, None)
        axes.set_ylabel("ms per image")
        _rows_axis(axes, sizes)

    points = "; ".join(f"{r} rows: {1000 * s:.3g} ms" for r, s in zip(sizes["rows"], sizes["seconds_50"], strict=True))
    return figure(
        "bank-time", "Time by size of the bank", f"Milliseconds per image by rows in the bank. {points}.", draw
    )


def _rows_axis(axes: Axes, sizes: Columns) -> None:
    axes.set_xscale("log")
    axes.set_xticks(sizes["rows"], [f"{rows:,}" for rows in sizes["rows"]])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("rows in the bank")
