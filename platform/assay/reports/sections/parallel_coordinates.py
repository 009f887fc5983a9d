"""Every complete trial of the sweep as one line through its parameters and its figures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from assay.reports.sections._figures import BLUE, GREY, HALO, VERMILION, Style, clipped, figure
from assay.reports.sections._html import Section, number, section, setting
from assay.reports.sections._sweep import NO_SWEEP, audited, called, objectives, parameters
from assay.store.audit_reader import Audit, Columns

ORDER = 81
SOURCES = ("trials.parquet",)

NOT_THERE = -0.14  # where a line passes an axis that its trial does not have
ROW = 0.62  # inches between two axes
ROOM = 34  # letters beside each other on the width of a figure

TEMPLATE = """
{% if picture %}
<p>One line for each complete trial, from the top to the bottom: through the value of every parameter, then through the
trial's figures on validation. Right is more. Lines that end far to the right at the bottom show where on the axes above
the good trials lie. A line left of the scale, at “none”: the trial does not have that parameter.</p>
<div class="panels">{{ picture }}</div>
<p class="note">{{ count }} complete trials of {{ all }}; pruned and failed ones
are left out. Intervals of the figures are in the table of the Pareto front; whether a pattern is more than chance is
said under the importance of hyperparameters.</p>
{% else %}
<p>{{ why }}</p>
{% endif %}
"""


def parallel_coordinates(audit: Audit) -> Section:
    """Parallel coordinates of all complete trials, the Pareto front and the audited model marked."""
    title, t = "Trials side by side", audit.trials
    if t is None:
        return section(title, TEMPLATE, picture=None, why=NO_SWEEP)
    rows = np.flatnonzero(t["state"] == "complete")
    axes = [name for name in parameters(t) if len(_seen(t, name, rows))] + objectives(t)
    if len(rows) < 2:
        return section(title, TEMPLATE, picture=None, why=f"{len(rows)} trials are complete; two are needed.")
    shown = picture(t, rows, axes, audited(audit, t))
    return section(title, TEMPLATE, picture=shown, count=len(rows), all=len(t["trial"]))


def _seen(t: Columns, name: str, rows: NDArray[Any]) -> list[Any]:
    """The different values of a column, rising, without those that are not there."""
    return sorted({value for value in t[name][rows].tolist() if not _missing(value)})


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _ticks(name: str, seen: list[Any]) -> list[tuple[float, str]]:
    """Where on an axis from 0 to 1 what is written below it: the ends of a range, every word of a choice."""
    if isinstance(seen[0], str):
        length = max(4, ROOM // len(seen))
        return [((place + 0.5) / len(seen), clipped(word, length)) for place, word in enumerate(seen)]
    low, high = (
        number(float(value)) if name.startswith("objective.") else setting(name, value) for value in (seen[0], seen[-1])
    )
    return [(0.5, low)] if len(seen) == 1 else [(0.0, low), (1.0, high)]


def _place(value: Any, seen: list[Any]) -> float:
    if _missing(value):
        return NOT_THERE
    if isinstance(value, str):
        return (seen.index(value) + 0.5) / len(seen)
    low, high = float(seen[0]), float(seen[-1])
    if low > 0 and high / low >= 100:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low) if high > low else 0.5


def picture(
    t: Columns, rows: NDArray[Any], names: list[str], marked: int | None, mark: str = "audited model"
) -> Markup:
    """Parallel coordinates of the trials in `rows` of a table of them through the columns `names`.

    marked: the number of the trial that is drawn on top of all, as `mark`; None for none.
    """
    seen = {name: _seen(t, name, rows) for name in names}
    kinds: dict[str, Style] = {
        "complete": {"color": "#9a9a9a", "linewidth": 0.7, "zorder": 2},
        "Pareto front": {
            "color": BLUE,
            "linewidth": 1.2,
            "linestyle": "--",
            "marker": "s",
            "markersize": 4,
            "zorder": 3,
        },
        mark: {"color": VERMILION, "linewidth": 2.2, "marker": "D", "markersize": 6, "zorder": 4},
    }

    def kind(row: int) -> str:
        front = bool(t["pareto"][row])
        return mark if t["trial"][row] == marked else "Pareto front" if front else "complete"

    def draw(axes: Axes) -> None:
        for style, label in ((style, label) for label, style in kinds.items()):
            of_kind = [row for row in rows if kind(row) == label]
            # All lines of a kind as one, lifted between two trials: thousands of lines would each take a while.
            across = [place for row in of_kind for place in [*(_place(t[n][row], seen[n]) for n in names), math.nan]]
            down = [float(-i) for i in range(len(names) + 1)] * len(of_kind)
            if of_kind:
                axes.plot(across, down, label=label, **style)
        for i, name in enumerate(names):
            axes.plot([0, 1], [-i, -i], color=GREY, linewidth=0.8, zorder=1)
            bold = "bold" if name.startswith("objective.") else "normal"
            axes.text(0, 0.1 - i, clipped(called(name), 40), va="bottom", weight=bold, zorder=5, gid=f"{HALO}-{i}")
            ticks = _ticks(name, seen[name])
            if any(_missing(value) for value in t[name][rows].tolist()):
                ticks = [(NOT_THERE, "none"), *ticks]
            for at, text in ticks:
                side = "left" if at <= 0 else "right" if at == 1 else "center"
                axes.text(at, -0.09 - i, text, ha=side, va="top", zorder=5, gid=f"{HALO}-{i}-{at:.2f}")
        axes.set_xlim(-0.18, 1.05)
        axes.set_ylim(0.5 - len(names), 0.55)
        axes.axis("off")

    values = "; ".join(f"{called(name)} {_told(t, marked, name)}" for name in names)
    told = f" The {mark}, trial {marked}: {values}." if marked is not None else ""
    description = f"{len(rows)} complete trials on {len(names)} axes.{told}"
    title = "Parameters and figures of all complete trials"
    return figure("parallel-coordinates", title, description, draw, height=ROW * len(names) + 0.2)


def _told(t: Columns, trial: int | None, name: str) -> str:
    at = np.flatnonzero(t["trial"] == trial)
    return setting(name, t[name][at[0]]) if len(at) else "not in the table"
