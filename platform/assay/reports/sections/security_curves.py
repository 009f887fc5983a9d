"""AUROC over epsilon: the worst case, the attacks behind it, the proven floor under it, and the gates it must keep."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup
from matplotlib.axes import Axes

from assay.reports.sections._figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LINES,
    VERMILION,
    Style,
    clipped,
    epsilon_axis,
    figure,
)
from assay.reports.sections._html import REGIMES, Section, norm, section, slug
from assay.store.audit_reader import Audit, SuiteEntry
from assay.store.figures import Figure
from assay.store.score_matrix import ALL, WORST
from assay.units import PERCENT, in_255, scale

ORDER = 54
SOURCES = ("metrics.parquet", "verdict.json")

REGIME_LINES = {
    "both": {"color": BLACK, "linestyle": "-", "marker": "o"},
    "evasion": {"color": VERMILION, "linestyle": "--", "marker": "s"},
    "false_alarm": {"color": BLUE, "linestyle": "-.", "marker": "^"},
}
FLOOR: Style = {"color": GREEN, "linestyle": (0, (1, 1)), "marker": "d"}
GATE: Style = {
    "marker": "_", "markersize": 12, "markeredgewidth": 2.5, "linestyle": "none", "color": BLACK,
}  # fmt: skip
THIN = {"linewidth": 0.7, "markersize": 2.5}
Curve = list[tuple[float, Figure]]


class GateMark(NamedTuple):
    """Where a gate is drawn, and what the legend calls it."""

    epsilon: float
    limit: float
    label: str


TEMPLATE = """
<p>Lower is worse for the detector; 0.5 is chance, and below it the ranking is turned around. Bands are
{{ (confidence * 100) | round | int }}% intervals. Each curve starts at the clean figure.
{% if controls %}Noise of the same size is the control: an attack that does no better than noise is not working.
{% else %}The suite has no noise control.{% endif %}
{% if proven %}The certified floor is proven: no attack, known or not, can go below it, and the truth lies between it
and the worst case. A wide bracket between the two says that little is known.{% endif %}</p>
<div class="panels">
{% for panel in panels %}{{ panel }}{% endfor %}
</div>
<p class="note">Worst case: each sample with its worst score over all attacks up to the budget.
Each attack, in thin lines: both regimes at once.
{%- if gates %} Gates: a bar at the limit, at the budget it is for.{% endif %}</p>
"""


def security_curves(audit: Audit) -> Section:
    """AUROC over epsilon with interval bands: by regime, then with the attacks behind it and the floor under it."""
    curved = [name for name in audit.norms if name not in PERCENT]
    return section(
        "Security curves",
        TEMPLATE,
        panels=[panel(audit, name) for name in curved for panel in (_by_regime, _behind)],
        confidence=audit.confidence,
        controls=any(_is_noise(entry) for entry in audit.attacks()),
        gates=any(_gates(audit, name) for name in curved),
        proven=any(len(_curve(audit, name, "certified", "both")) > 1 for name in curved),
    )


def _by_regime(audit: Audit, name: str) -> Markup:
    curves = {REGIMES[regime]: _curve(audit, name, "worst", regime) for regime in REGIME_LINES}

    def draw(axes: Axes) -> None:
        for style, (label, curve) in zip(REGIME_LINES.values(), curves.items(), strict=True):
            _plot(axes, name, curve, label, style, band=0.1)
        _frame(axes, audit, name)

    return figure(f"security-{slug(name)}-worst", f"{norm(name)}: worst case by regime", _spoken(name, curves), draw)


def _behind(audit: Audit, name: str) -> Markup:
    entries = audit.attacks(name)
    curves = {entry["name"]: _curve(audit, name, entry["name"], "both") for entry in entries}
    worst, floor = _curve(audit, name, "worst", "both"), _curve(audit, name, "certified", "both")
    all_curves = {"worst case": worst, **({"certified floor": floor} if len(floor) > 1 else {}), **curves}
    styles = iter(LINES * (len(entries) // len(LINES) + 1))

    def draw(axes: Axes) -> None:
        _plot(axes, name, worst, "worst case", REGIME_LINES["both"], band=0.12)
        for entry in entries:
            control = _is_noise(entry)
            style = {"color": GREY, "linestyle": ":", "marker": "x"} if control else next(styles)
            label = clipped(entry["name"]) + (" (control)" if control else "")
            _plot(axes, name, curves[entry["name"]], label, {**style, **THIN})
        if len(floor) > 1:
            # Steps: between two radii only what is proven at the larger one is proven.
            _plot(axes, name, floor, f"certified floor ({_width(worst, floor)})", {**FLOOR, "drawstyle": "steps-pre"})
        for mark in _gates(audit, name):
            axes.plot([mark.epsilon * scale(name)], [mark.limit], label=clipped(mark.label, 40), **GATE)
        _frame(axes, audit, name)

    return figure(f"security-{slug(name)}-each", f"{norm(name)}: each attack", _spoken(name, all_curves), draw)


def _is_noise(entry: SuiteEntry) -> bool:
    return entry.get("knowledge") == "none"


def _curve(audit: Audit, name: str, attack: str, regime: str) -> Curve:
    points = [(budget.epsilon, audit.attacked("auroc", budget, regime, attack)) for budget in audit.budgets_of(name)]
    return [(epsilon, point) for epsilon, point in [(0.0, audit.clean("auroc")), *points] if point]


def _width(worst: Curve, floor: Curve) -> str:
    """`bracket 0.12 to 0.31 wide`, over the budgets of which both are known."""
    proven = {epsilon: point.value for epsilon, point in floor[1:]}
    widths = [point.value - proven[epsilon] for epsilon, point in worst if epsilon in proven]
    return f"bracket {min(widths):.2f} to {max(widths):.2f} wide"


def _plot(axes: Axes, name: str, curve: Curve, label: str, style: Style, band: float = 0.0) -> None:
    levels = [epsilon * scale(name) for epsilon, _ in curve]
    if band:
        lower, upper = [p.lower for _, p in curve], [p.upper for _, p in curve]
        axes.fill_between(levels, lower, upper, color=style["color"], alpha=band, linewidth=0)
    axes.plot(levels, [p.value for _, p in curve], label=label, **style)


def _frame(axes: Axes, audit: Audit, name: str) -> None:
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.set_ylabel("AUROC")
    epsilon_axis(axes, name, [0.0, *(budget.epsilon for budget in audit.budgets_of(name))])


def _spoken(name: str, curves: dict[str, Curve]) -> str:
    parts = (
        f"{label}: " + ", ".join(f"{point.value:.3f} at {in_255(epsilon, name)}" for epsilon, point in curve)
        for label, curve in curves.items()
    )
    return "AUROC over epsilon. " + "; ".join(parts) + "."


def _gates(audit: Audit, name: str) -> list[GateMark]:
    """The gates of the verdict that are about the curve of the worst case."""
    wanted = {"attack": WORST, "metric": "auroc", "norm": name, "regime": "both", "defect": ALL}
    gates = audit.verdict["gates"] if audit.verdict else []
    return [
        GateMark(gate["figure"]["epsilon"], gate["limit"], f"gate {gate['decision']}: {gate['name']}")
        for gate in gates
        if wanted.items() <= gate.get("figure", {}).items()
    ]
