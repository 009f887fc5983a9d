"""The range that a numeric parameter was drawn from: where a value lies in it, and what lies beyond its ends."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from assay.store.trial_log import Record

EDGE = 0.1
"""The part of a range, at each end, that is its edge."""


class Range(NamedTuple):
    """A range as it was searched. log: drawn on a logarithmic scale. step: None for any number in between.

    grows: whether a sweep that is resumed may widen it; the grid of one with steps that are no whole numbers may not.
    """

    low: float
    high: float
    log: bool
    step: float | None
    grows: bool

    def place(self, value: float) -> float:
        """Where a value lies, 0 to 1, on the scale that it was drawn on."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (at - low) / (high - low)

    @property
    def edge(self) -> float:
        """The chance that a value drawn evenly lies at one given edge; of steps, the end at least is one."""
        if self.step is None:
            return EDGE
        count = round((self.high - self.low) / self.step) + 1
        return (math.floor(EDGE * (count - 1) + 1e-9) + 1) / count

    def beyond(self, upward: bool) -> float | None:
        """Another end, half as far again; None where it would leave the numbers above 0 that the range is of."""
        if self.log:
            factor = math.sqrt(self.high / self.low)
            wider = self.high * factor if upward else self.low / factor
            return wider if self.step is None else max(1.0, float(round(wider)))
        by = (self.high - self.low) / 2
        if self.step is not None:
            by = max(self.step, math.ceil(by / self.step) * self.step)
        if upward:
            return self.high + by
        return None if self.low >= 0 and self.low - by <= 0 else self.low - by


@functools.cache  # a sweep has few, and every trial repeats them
def distribution(text: str) -> Mapping[str, Any]:
    """Optuna's distribution in a record, from its JSON: `name` and `attributes`."""
    found: dict[str, Any] = json.loads(text)
    return found


def ranges(records: Mapping[int, Record]) -> dict[str, Range]:
    """Numeric parameter -> the widest range that any trial drew it from: a sweep that was resumed may have grown."""
    found: dict[str, Range] = {}
    for record in records.values():
        for parameter, text in record.distributions.items():
            drawn = distribution(text)
            about = drawn["attributes"]
            if "low" not in about or about["low"] == about["high"]:
                continue
            step = None if about.get("step") is None else float(about["step"])
            grows = step is None or drawn["name"] == "IntDistribution"
            now = Range(float(about["low"]), float(about["high"]), bool(about.get("log")), step, grows)
            old = found.get(parameter, now)
            found[parameter] = now._replace(low=min(now.low, old.low), high=max(now.high, old.high))
    return found
