"""AUROC over epsilon: the worst case in each regime, and every attack by itself beside plain noise."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from assay.audit_folder import Audit, Estimate
from assay.sections._figures import BLACK, BLUE, GREY, LINES, VERMILION, clipped, epsilon_axis, figure
from assay.sections._html import REGIMES, Section, norm, section, slug
from assay.units import in_255, scale

ORDER = 40

REGIME_LINES = {
    "both": {"color": BLACK, "linestyle": "-", "marker": "o"},
    "evasion": {"color": VERMILION, "linestyle": "--", "marker": "s"},
    "false_alarm": {"color": BLUE, "linestyle": "-.", "marker": "^"},
}

TEMPLATE = """
<p>Lower is worse for the detector; 0.5 is chance, and below it the ranking is turned around. Bands are
{{ (confidence * 100) | round | int }}% intervals. Each curve starts at the clean figure.
{% if controls %}Noise of the same size is the control: an attack that does no better than noise is not working.
{% else %}The suite has no noise control.{% endif %}</p>
<div class="panels">
{% for panel in panels %}{{ panel }}{% endfor %}
</div>
<p class="note">Worst case: each sample with its worst score over all attacks up to the budget.
Each attack: both regimes at once.</p>
"""


def security_curves(audit: Audit) -> Section:
    """AUROC over epsilon with interval bands: worst case in the three regimes, then every attack and noise."""
    panels = [panel(audit, name) for name in audit.norms for panel in (_worst, _each)]
    controls = any(_is_noise(entry) for entry in audit.attacks())
    return section("Security curves", TEMPLATE, panels=panels, confidence=audit.confidence, controls=controls)


def _worst(audit: Audit, name: str) -> Markup:
    curves = {REGIMES[regime]: _curve(audit, name, "worst", regime) for regime in REGIME_LINES}

    def draw(axes: Axes) -> None:
        for style, (label, curve) in zip(REGIME_LINES.values(), curves.items(), strict=True):
            _plot(axes, name, curve, label, style, band=0.1)
        _frame(axes, audit, name)

    return figure(f"security-{slug(name)}-worst", f"{norm(name)}: worst case by regime", _spoken(name, curves), draw)


def _each(audit: Audit, name: str) -> Markup:
    entries = audit.attacks(name)
    curves = {entry["name"]: _curve(audit, name, entry["name"], "both") for entry in entries}
    styles = iter(LINES * (len(entries) // len(LINES) + 1))

    def draw(axes: Axes) -> None:
        for entry in entries:
            control = _is_noise(entry)
            style = {"color": GREY, "linestyle": ":", "marker": "x"} if control else next(styles)
            label = clipped(entry["name"]) + (" (control)" if control else "")
            _plot(axes, name, curves[entry["name"]], label, style, band=0.3 / len(entries))
        _frame(axes, audit, name)

    return figure(f"security-{slug(name)}-each", f"{norm(name)}: each attack", _spoken(name, curves), draw)


def _is_noise(entry: dict[str, Any]) -> bool:
    return entry.get("knowledge") == "none"


def _curve(audit: Audit, name: str, attack: str, regime: str) -> list[tuple[float, Estimate]]:
    points = [(budget.epsilon, audit.attacked("auroc", budget, regime, attack)) for budget in audit.budgets_of(name)]
    return [(epsilon, point) for epsilon, point in [(0.0, audit.clean("auroc")), *points] if point]


def _plot(
    axes: Axes, name: str, curve: list[tuple[float, Estimate]], label: str, style: dict[str, Any], band: float
) -> None:
    levels = [epsilon * scale(name) for epsilon, _ in curve]
    axes.fill_between(
        levels, [p.lower for _, p in curve], [p.upper for _, p in curve], color=style["color"], alpha=band, linewidth=0
    )
    axes.plot(levels, [p.value for _, p in curve], label=label, **style)


def _frame(axes: Axes, audit: Audit, name: str) -> None:
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("AUROC")
    epsilon_axis(axes, name, [0.0, *(budget.epsilon for budget in audit.budgets_of(name))])


def _spoken(name: str, curves: dict[str, list[tuple[float, Estimate]]]) -> str:
    told = (
        f"{label}: " + ", ".join(f"{point.value:.3f} at {in_255(epsilon, name)}" for epsilon, point in curve)
        for label, curve in curves.items()
    )
    return "AUROC over epsilon. " + "; ".join(told) + "."
