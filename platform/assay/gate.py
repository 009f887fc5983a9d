"""One requirement of a policy on one figure of an audit, and the decision about it."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from assay.contracts import Norm, Regime
from assay.errors import DataError
from assay.units import Count, Fraction, Radius, in_255

Decision = Literal["PASS", "FAIL", "INCONCLUSIVE", "NOT RUN"]

METRIC_WORDS = {
    "curve_area": "area under the AUROC curve",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "fpr95": "FPR95",
    "miss_rate": "miss rate",
    "false_alarm_rate": "false-alarm rate",
}
REGIME_WORDS = {
    "both": "both regimes",
    "evasion": "evasion (anomalies attacked)",
    "false_alarm": "false alarm (normals attacked)",
    "natural": "no attacker",
}
ATTACK_WORDS = {"worst": "worst case", "worst_8bit": "worst case at 8 bits", "certified": "certified floor"}
FILTERS = ("attack", "norm", "epsilon", "regime", "defect", "metric")
"""Columns that name a figure, in the order in which what is missing is best explained."""


class MinimumSamples(BaseModel):
    """How many test samples of each class a figure needs before a gate may act on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    normals: Count
    anomalies: Count


class Gate(BaseModel):
    """A limit for one figure; `at_least` acts on its lower bound, `at_most` on its upper one.

    attack: an entry of the suite, `worst` (the worst case over all), `certified` (what is proven), `clean`, or, with
    norm `corruption` and regime `natural`, a corruption. epsilon: of a corruption its severity, of `curve_area` the
    largest. defect: `all`, one kind, or `worst_kind`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    metric: Literal["auroc", "average_precision", "fpr95", "miss_rate", "false_alarm_rate", "curve_area"]
    attack: str = Field("worst", min_length=1)
    regime: Regime | Literal["natural"] = "both"
    norm: Norm | Literal["corruption"] = "linf"
    epsilon: Radius | None = None
    defect: str = Field("all", min_length=1)
    at_least: Fraction | None = None
    at_most: Fraction | None = None
    why: str = Field(min_length=1)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        faults = []
        if (self.at_least is None) == (self.at_most is None):
            faults.append("give exactly one of at_least and at_most")
        if self.attack == "clean" and (given := {"regime", "norm", "epsilon"} & self.model_fields_set):
            faults.append(f"attack clean takes no {' or '.join(sorted(given))}")
        if self.attack != "clean" and self.epsilon is None:
            faults.append("epsilon is required, such as 2/255 (only attack clean has none)")
        if (self.norm == "corruption") != (self.regime == "natural"):
            faults.append("norm corruption and regime natural go together; give both or neither")
        if self.norm == "corruption" and self.epsilon not in (None, 1, 2, 3, 4, 5):
            faults.append("the epsilon of a corruption is its severity: 1, 2, 3, 4 or 5")
        if self.metric == "curve_area" and self.attack not in ("worst", "certified"):
            faults.append("curve_area is of attack worst or certified")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def limit(self) -> float:
        """The figure that must be reached, or not exceeded."""
        return float(self.at_most if self.at_least is None else self.at_least)  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        """The gate as a person says it: `robust AUROC, worst case, both regimes, linf 2/255 at least 0.60`."""
        what, where = METRIC_WORDS[self.metric], f"{ATTACK_WORDS.get(self.attack, self.attack)}, "
        defect = {"all": "", "worst_kind": ", worst kind of defect"}.get(self.defect, f", defect {self.defect}")
        limit = f"{'at most' if self.at_least is None else 'at least'} {_short(self.limit)}"
        if self.epsilon is None:
            return f"clean {what}{defect} {limit}"
        if self.norm == "corruption":
            return f"{what} under corruption, {where}severity {self.epsilon:g}{defect} {limit}"
        what = f"robust {what}" if self.metric in ("auroc", "average_precision") else f"{what} under attack"
        up_to = "up to " if self.metric == "curve_area" else ""
        where += f"{REGIME_WORDS[self.regime]}, {self.norm} {up_to}{in_255(self.epsilon, self.norm)}"
        return f"{what}, {where}{defect} {limit}"

    def decide(self, metrics: pa.Table, confidence: float, minimum: MinimumSamples) -> dict[str, Any]:
        """The gate's entry of the verdict: figure, bounds, limit, decision and the sentence that explains it."""
        figure, absent = self._figure(metrics)
        decision, why = ("INCONCLUSIVE", absent) if figure is None else self._judge(figure, confidence, minimum)
        shown = {key: figure[key] if figure else None for key in ("value", "lower", "upper", "normals", "anomalies")}
        described = {"name": self.name or self.text, "text": self.text, **shown, "limit": self.limit}
        described |= {"figure": self._wanted(), **self.reach(metrics)}
        return {**described, "decision": decision, "why": why, "purpose": self.why}

    def reach(self, metrics: pa.Table) -> dict[str, float | None]:
        """How far the limit is kept by the same figure at other epsilons of the audit.

        breaks_at: the smallest epsilon at which the deciding bound no longer keeps the limit. holds_to: the largest up
        to which it does. None where there is none, and for a figure that is not of one epsilon.
        """
        if self.epsilon is None or self.metric == "curve_area":
            return {"breaks_at": None, "holds_to": None}
        wanted = self._wanted()
        others = [name for name in FILTERS if name != "epsilon"]
        rows = [row for row in metrics.to_pylist() if all(row[name] == wanted[name] for name in others)]
        kept = {row["epsilon"]: self._holds(row) for row in rows}
        breaks = min((epsilon for epsilon, holds in kept.items() if not holds), default=None)
        holding = (epsilon for epsilon in kept if breaks is None or epsilon < breaks)
        return {"breaks_at": breaks, "holds_to": max(holding, default=None)}

    def _holds(self, figure: dict[str, Any]) -> bool:
        """Whether the bound that decides keeps the limit; one that is not there does not."""
        bound = figure["upper"] if self.at_least is None else figure["lower"]
        if bound is None:
            return False
        return bool(bound <= self.limit if self.at_least is None else bound >= self.limit)

    def _judge(self, figure: dict[str, Any], confidence: float, minimum: MinimumSamples) -> tuple[Decision, str]:
        lower, upper, limit = figure["lower"], figure["upper"], _short(self.limit)
        if abs(figure["confidence"] - confidence) > 1e-9:
            found = (
                f"the audit's intervals have confidence {figure['confidence']:g}, the policy asks for {confidence:g}"
            )
            return "INCONCLUSIVE", f"{found}; compute the audit's metrics again with the policy's confidence"
        for kind, needed in minimum:
            if figure[kind] < needed:
                return "INCONCLUSIVE", f"{figure[kind]} {kind} were tested, the policy needs at least {needed}"
        if self.at_least is not None:
            broken, worst, best = upper < self.at_least, lower, upper
        else:
            broken, worst, best = lower > self.limit, upper, lower
        name, other = ("lower", "upper") if self.at_least is not None else ("upper", "lower")
        if self._holds(figure):
            return "PASS", f"the {name} bound {worst:.3f} keeps the limit {limit}"
        if broken:
            return "FAIL", f"even the {other} bound {best:.3f} does not keep the limit {limit}"
        straddles = f"the interval {lower:.3f} to {upper:.3f} holds the limit {limit}"
        return "INCONCLUSIVE", f"{straddles}; more test samples are needed to decide"

    def _figure(self, metrics: pa.Table) -> tuple[dict[str, Any] | None, str]:
        """The row of the metrics table this gate is about, or None and what there is instead."""
        wanted, rows = self._wanted(), metrics.to_pylist()
        for name in FILTERS:
            matching = [row for row in rows if _same(row[name], wanted[name])]
            if not matching:
                there = sorted({row[name] for row in rows})
                listed = (
                    ", ".join(in_255(value, self.norm) if name == "epsilon" else str(value) for value in there)
                    or "nothing"
                )
                missed = in_255(wanted[name], self.norm) if name == "epsilon" else wanted[name]
                return None, f"the audit has no figure for {name} {missed}; there is: {listed}"
            rows = matching
        if len(rows) > 1:
            raise DataError(f"the audit's metrics hold {len(rows)} figures for '{self.text}'; compute them again")
        if any(rows[0][key] is None or np.isnan(rows[0][key]) for key in ("value", "lower", "upper")):
            return None, "the audit's figure is not a number"
        return rows[0], ""

    def _wanted(self) -> dict[str, Any]:
        """What names the figure in the metrics table."""
        wanted: dict[str, Any] = {name: getattr(self, name) for name in FILTERS}
        return wanted | ({"norm": "", "regime": "", "epsilon": 0.0} if self.attack == "clean" else {})


def _same(found: Any, wanted: Any) -> bool:
    return abs(found - wanted) < 1e-9 if isinstance(wanted, float) else bool(found == wanted)


def _short(limit: float) -> str:
    """`0.60`, or `0.605` where two decimals do not say it."""
    return f"{limit:.2f}" if round(limit, 2) == limit else f"{limit:g}"
