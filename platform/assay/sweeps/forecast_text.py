"""A forecast as a few lines of text."""

from __future__ import annotations

from assay.config import space
from assay.sweeps.budget import Spent, amount
from assay.sweeps.forecast import Forecast, Span, rungs

HEADROOM = 1.2
"""Memory to ask for, relative to the peak of one trial: another may need a little more."""


def text(forecast: Forecast) -> str:
    """The search space, how it runs, what it takes and how far its budget goes."""
    spec = forecast.spec
    lines = [
        spec.summary(),
        *(f"  {name}: {domain.plain()}" for name, domain in space.varied(spec.domains).items() if name != "trainable"),
    ]
    if forecast.before != Spent() or forecast.unfinished:
        spent = forecast.before.text(spec.budget.price)
        lines.append(
            f"  to come: {_count(forecast.trials, 'new trial')} and {forecast.unfinished} unfinished; spent: {spent}"
        )
    share = spec.resources.gpu
    on = f"{_count(forecast.gpus, 'GPU')}, {share:g} of one for each" if share else _count(forecast.cores, "core")
    lines.append(f"  {_count(forecast.together, 'trial')} at a time on {on}")
    for name, rate in forecast.rates.items():
        each = f"{_count(rate.epochs, 'epoch')} of {rate.seconds:.2f} s"
        lines.append(f"  {name}: {each}, {_time(rate.seconds * rate.epochs)} a trial ({rate.seen})")
    if spec.stop_early:
        levels = sorted({level for rate in forecast.rates.values() for level in rungs(spec, rate.epochs)})
        at = ", ".join(map(str, levels)) or "none within a trial"
        lines.append(f"  rungs at epochs {at}; about 1 in {spec.stop_early.reduction} continues at each")
    return "\n".join([*lines, _whole(forecast), *_memory(forecast), *_images(forecast), *_budget(forecast)])


def _whole(forecast: Forecast) -> str:
    price, (low, high), minutes = forecast.spec.budget.price, forecast.spent, forecast.minutes
    hours = minutes[1] >= 180
    parts = [
        f"{_span((minutes[0] / 60, minutes[1] / 60) if hours else minutes, '.1f')} {'hours' if hours else 'minutes'}",
        f"{_span(forecast.epochs, '.0f')} epochs",
        *([f"{_span((low.gpu_hours, high.gpu_hours))} GPU-hours"] if high.gpu_hours else []),
        f"{_span((low.cpu_hours, high.cpu_hours))} CPU-hours",
        *([f"{_span((low.cost(price), high.cost(price)))} {price.currency}"] if price else []),
    ]
    drawn = "; assuming each trainable is drawn equally often" if len(forecast.rates) > 1 else ""
    return f"  forecast: {', '.join(parts)}{drawn}"


def _memory(forecast: Forecast) -> list[str]:
    """The peak memory of a trial, with the line for the file that reserves it."""
    own = max((rate.memory_gb for rate in forecast.rates.values()), default=0.0)
    if not own:
        return []
    said = "" if forecast.spec.resources.memory_gb else f"; to reserve it, write `memory_gb: {HEADROOM * own:.1f}`"
    held = f"; decoded images, once on every machine: {forecast.image_bytes / 1e9:.1f} GB"
    large = forecast.image_bytes >= 5e7 and not forecast.arrived
    return [f"  memory: {own:.1f} GB a trial at its peak{said}{held if large else ''}"]


def _images(forecast: Forecast) -> list[str]:
    """Where the images go on a cluster."""
    return [f"  images: {forecast.arrived.text(forecast.image_bytes)}"] if forecast.arrived else []


def _budget(forecast: Forecast) -> list[str]:
    """How far each part of the budget goes."""
    within, count, lines = forecast.within(), forecast.trials + forecast.unfinished, []
    for name in ("wall_minutes", "gpu_hours", "cpu_hours", "cost"):
        if limit := getattr(forecast.spec.budget, name):
            few = within.get(name)
            ends = f"ends the sweep after about {_span(few, '.0f')} of {count} trials" if few else "is enough"
            lines.append(f"  budget: {name} {limit:g} {ends}")
    return lines


def _span(pair: Span, form: str = "") -> str:
    low, high = (f"{value:{form}}" if form else amount(value) for value in pair)
    return low if low == high else f"{low} to {high}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} minutes"


def _count(number: float, what: str) -> str:
    return f"{number:g} {what}{'' if number == 1 else 's'}"
