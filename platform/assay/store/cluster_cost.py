"""The forecast of a sweep on a cluster beside what trials held and what the cluster started: `sweeps/NAME/cost.json`.

A forecast is made before the sweep exists, so it lies hidden beside it. A search space that was changed since is
another one, and its sweep has no forecast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from assay.contracts import Plain
from assay.hashing import canonical
from assay.store import formats
from assay.store.store import Store

UNITS = {"gpu_hours": "GPU-hours", "cpu_hours": "CPU-hours"}


def keep_forecast(store: Store, name: str, spec_hash: str, forecast: Mapping[str, object]) -> None:
    """Keep the forecast of a sweep of that search space until it begins; the latest one counts."""
    kept = {key: forecast[key] for key in (*UNITS, "cost", "currency", "minutes", "trials")}
    store.write(_hidden(name), canonical({formats.FIELD: formats.written("log"), "spec": spec_hash, **kept}))


def write(store: Store, name: str, spec_hash: str, held: Plain, up: Plain) -> None:
    """Write the comparison after a run. held, up: hours by all runs, and their cost where there is a price."""
    forecast = store.read_json(_hidden(name)) if store.exists(_hidden(name)) else {}
    known = forecast if forecast.get("spec") == spec_hash else None
    content = {formats.FIELD: formats.written("log"), "forecast": known, "held": held, "up": up}
    store.write(f"sweeps/{name}/cost.json", canonical(content))


def sentence(store: Store, name: str) -> str:
    """The comparison in a line; "" for a sweep that ran on no autoscaled cluster."""
    key = f"sweeps/{name}/cost.json"
    if not store.exists(key):
        return ""
    told = store.read_json(key)
    formats.check_content(told, "log", store.place(key))
    parts = [f"workers were up for {_amounts(told['up'])}", f"trials held {_amounts(told['held'])}"]
    unit = "gpu_hours" if told["up"].get("gpu_hours") else "cpu_hours"
    if told["up"].get(unit):
        parts[1] += f" of it, {told['held'].get(unit, 0) / told['up'][unit]:.0%}"
    if told["forecast"]:
        parts.append(f"forecast {_amounts(told['forecast'])}")
    return "; ".join(parts)


def _amounts(values: Plain) -> str:
    """`2.00 GPU-hours, 8.00 CPU-hours, 1.50 USD`; of a forecast each is a span."""
    return ", ".join(_each(values))


def _each(values: Plain) -> Iterator[str]:
    for key, unit in (*UNITS.items(), ("cost", values.get("currency"))):
        found: Any = values.get(key)
        low, high = found if isinstance(found, list) else (found, found)
        if high is not None and (high or key == "cpu_hours"):
            yield f"{_number(low)}{f' to {_number(high)}' if high != low else ''} {unit}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _hidden(name: str) -> str:
    return f"sweeps/.{name}.forecast.json"
