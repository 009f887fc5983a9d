"""One requirement of a policy on one figure of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from assay.approval.figure import FILTERS, FigureName
from assay.contracts import Norm, Regime
from assay.errors import DataError, suggest
from assay.metrics.deployed import DIFFER
from assay.store.figures import Figure
from assay.store.score_matrix import ALL, CLEAN, DEPLOYED, SEED, SEED_CLEAN, WORST
from assay.units import Count, Fraction, Radius, epsilon_key, in_255

Decision = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Bound = Literal["lower", "upper", "value"]

METRIC_WORDS = {
    "curve_area": "area under the AUROC curve",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "fpr95": "FPR95",
    "miss_rate": "miss rate",
    "false_alarm_rate": "false-alarm rate",
    "decisions_differ": "share of decisions that differ",
}
REGIME_WORDS = {
    "both": "both regimes",
    "evasion": "evasion (anomalies attacked)",
    "false_alarm": "false alarm (normals attacked)",
    "natural": "no attacker",
}
ATTACK_WORDS = {"worst": "worst case", "worst_8bit": "worst case at 8 bits", "certified": "certified floor"}
ERRORS = ("fpr95", "miss_rate", "false_alarm_rate", DIFFER)
"""The metrics that are better when they are lower."""
DEFECT_WORDS = {"all": "", "worst_kind": ", worst kind of defect", "worst_category": ", worst category"}
"""What stands for no single kind of defect -> how a gate says it."""
MORE = "; more test samples are needed to decide"
UNTOUCHED = {"miss_rate": "false_alarm", "false_alarm_rate": "evasion"}
"""Metric -> the regime in which the samples that it counts are not attacked."""


class Reach(NamedTuple):
    """The smallest epsilon at which a gate's deciding bound breaks the limit, and the largest up to which it keeps it.

    None where there is none, and for a figure that is not of one epsilon.
    """

    breaks_at: float | None
    holds_to: float | None


class MinimumSamples(BaseModel):
    """How many test samples of each class a figure needs before a gate may act on it; of grouped ones, groups."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    normals: Count
    anomalies: Count


class Gate(BaseModel):
    """A limit for one figure; `at_least` acts on its lower bound, `at_most` on its upper one, unless `bound` is given.

    attack: an entry of the suite, `worst` (the worst case over all), `certified` (what is proven), `clean`, or, with
    norm `corruption` and regime `natural`, a corruption. With `deployed:` before one of the first two or `clean`, the
    same images on the deployed file; only these have the metric `decisions_differ`. `worst_seed` and
    `worst_seed:clean`: the AUROC of the least good seed of training, on validation images under the sweep's attack.
    epsilon: of a corruption its severity, of `curve_area` the largest. defect: `all`, one kind, `worst_kind`, one
    category, or `worst_category`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = ""
    metric: Literal[
        "auroc", "average_precision", "fpr95", "miss_rate", "false_alarm_rate", "curve_area", "decisions_differ"
    ]
    attack: str = Field("worst", min_length=1)
    regime: Regime | Literal["natural"] = "both"
    norm: Norm | Literal["corruption"] = "linf"
    epsilon: Radius | None = None
    defect: str = Field("all", min_length=1)
    at_least: Fraction | None = None
    at_most: Fraction | None = None
    bound: Bound | None = None
    why: str = Field(min_length=1)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        faults = []
        if (self.at_least is None) == (self.at_most is None):
            faults.append("give exactly one of at_least and at_most")
        elif (self.at_least is None) != (self.metric in ERRORS):
            better, key = ("lower", "at_most") if self.metric in ERRORS else ("higher", "at_least")
            faults.append(f"{self.metric} is the better the {better} it is; give {key}")
        if self.on_clean and (given := {"regime", "norm", "epsilon"} & self.model_fields_set):
            faults.append(f"attack {self.attack} takes no {' or '.join(sorted(given))}")
        if not self.on_clean and self.epsilon is None:
            near = suggest(self.attack, [CLEAN])
            faults.append(f"epsilon is required, such as 2/255 (only attack clean has none){near}")
        if (self.norm == "corruption") != (self.regime == "natural"):
            faults.append("norm corruption and regime natural go together; give both or neither")
        if self.norm == "corruption" and self.epsilon not in (None, 1, 2, 3, 4, 5):
            faults.append("the epsilon of a corruption is its severity: 1, 2, 3, 4 or 5")
        if UNTOUCHED.get(self.metric) == self.regime and not self.on_clean:
            right = next(regime for metric, regime in UNTOUCHED.items() if metric != self.metric)
            faults.append(f"no attack of regime {self.regime} changes {self.metric}; give regime {right} or both")
        if self.metric == "curve_area" and self.attack not in ("worst", "certified"):
            faults.append("curve_area is of attack worst or certified")
        if self.metric == DIFFER and self.attack not in (DEPLOYED + CLEAN, DEPLOYED + WORST):
            faults.append(f"{DIFFER} is of attack {DEPLOYED}{CLEAN} or {DEPLOYED}{WORST}")
        if self.metric == DIFFER and (self.regime != "both" or self.defect != ALL):
            faults.append(f"{DIFFER} is of all images: give no regime and no defect")
        if self.of_seeds and (self.metric != "auroc" or self.regime != "both" or self.defect != ALL):
            faults.append(f"{self.attack} has the metric auroc alone, of all images: give no regime and no defect")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def of_seeds(self) -> bool:
        """Whether it is about the seeds of training, which the model's manifest tells and not the audit."""
        return self.attack in (SEED, SEED_CLEAN)

    @property
    def on_clean(self) -> bool:
        """Whether no image is attacked."""
        return self.attack == SEED_CLEAN or self.attack.removeprefix(DEPLOYED) == CLEAN

    @property
    def limit(self) -> float:
        """The figure that must be reached, or not exceeded."""
        return float(self.at_most if self.at_least is None else self.at_least)  # type: ignore[arg-type]

    @property
    def label(self) -> str:
        """The name of the gate, or its text where it has none."""
        return self.name or self.text

    @property
    def text(self) -> str:
        """The gate as a person says it: `robust AUROC, worst case, both regimes, linf 2/255 at least 0.60`."""
        attack = self.attack.removeprefix(DEPLOYED)
        what, where = METRIC_WORDS[self.metric], f"{ATTACK_WORDS.get(attack, attack)}, "
        if attack != self.attack:
            what += " as deployed"
        defect = DEFECT_WORDS.get(self.defect, f", defect {self.defect}")
        limit = f"{'at most' if self.at_least is None else 'at least'} {_short(self.limit)}"
        if self.deciding != self.bad:
            limit += " by the figure itself" if self.deciding == "value" else f" by the {self.deciding} bound"
        if self.of_seeds:
            under = "clean" if self.epsilon is None else f"{self.norm} {in_255(self.epsilon, self.norm)}"
            return f"{what} of the worst seed of training, validation, {under} {limit}"
        if self.epsilon is None:
            return f"clean {what}{defect} {limit}"
        if self.norm == "corruption":
            return f"{what} under corruption, {where}severity {self.epsilon:g}{defect} {limit}"
        what = f"robust {what}" if self.metric in ("auroc", "average_precision") else f"{what} under attack"
        up_to = "up to " if self.metric == "curve_area" else ""
        where += f"{REGIME_WORDS[self.regime]}, {self.norm} {up_to}{in_255(self.epsilon, self.norm)}"
        return f"{what}, {where}{defect} {limit}"

    @property
    def bad(self) -> Bound:
        """The end of the interval at which the figure is worst for the model."""
        return "lower" if self.at_most is None else "upper"

    @property
    def deciding(self) -> Bound:
        """The bound that must keep the limit."""
        return self.bound or self.bad

    def holds(self, figure: Figure) -> bool:
        """Whether the deciding bound of a figure keeps the limit."""
        return self.keeps(getattr(figure, self.deciding))

    def broken(self, figure: Figure) -> bool:
        """Whether not even the bound that is best for the model keeps it."""
        return not self.keeps(self._best(figure))

    def find(self, figures: Sequence[Figure], minimum: MinimumSamples) -> tuple[Figure | None, str]:
        """The figure that the gate is about, or None; and what keeps it from deciding, or nothing.

        Raises DataError where there are several.
        """
        rest = figures
        for column in FILTERS:
            wanted = getattr(self.figure, column)
            matching = [figure for figure in rest if _same(getattr(figure, column), wanted)]
            if not matching:
                return None, f"the audit has no figure for {self._listed(column, rest)}"
            rest = matching
        if len(rest) > 1:
            raise DataError(f"the audit's metrics hold {len(rest)} figures for '{self.text}'; compute them again")
        [figure] = rest
        if any(np.isnan((figure.value, figure.lower, figure.upper))):
            return None, "the audit's figure is not a number"
        images = figure.normals, figure.anomalies
        for (kind, needed), tested, count in zip(minimum, figure.units, images, strict=True):
            if tested < needed:
                what = kind if tested == count else f"groups of {kind}"
                return figure, f"{tested} {what} were tested, the policy needs at least {needed}"
        return figure, ""

    def why_decided(self, decision: Decision, figure: Figure) -> str:
        """The sentence that explains a decision made on a figure."""
        at, limit = f"at {percent(figure.confidence)} confidence", _short(self.limit)
        deciding = getattr(figure, self.deciding)
        if self.deciding == "value":
            return f"the figure {deciding:.3f} {'keeps' if decision == 'PASS' else 'misses'} the limit {limit}"
        if decision == "PASS":
            return f"the {self.deciding} bound {deciding:.3f} {at} keeps the limit {limit}"
        if decision == "FAIL":
            best = "upper" if self.bad == "lower" else "lower"
            return f"even the {best} bound {self._best(figure):.3f} {at} does not keep the limit {limit}"
        interval = f"{figure.lower:.3f} to {figure.upper:.3f}"
        return f"the interval {interval} {at} contains the limit {limit}{MORE}"

    def reach(self, figures: Sequence[Figure]) -> Reach:
        """How far the limit is kept by the same figure at other epsilons of the audit."""
        if self.epsilon is None or self.metric == "curve_area":
            return Reach(None, None)
        others = [column for column in FILTERS if column != "epsilon"]
        kept = {
            figure.epsilon: self.holds(figure)
            for figure in figures
            if all(getattr(figure, column) == getattr(self.figure, column) for column in others)
        }
        breaks = min((epsilon for epsilon, holds in kept.items() if not holds), default=None)
        holding = (epsilon for epsilon in kept if breaks is None or epsilon < breaks)
        return Reach(breaks, max(holding, default=None))

    def _best(self, figure: Figure) -> float:
        """The end of the interval at which the figure is best for the model."""
        return figure.upper if self.bad == "lower" else figure.lower

    def keeps(self, bound: float) -> bool:
        """Whether a bound keeps the limit; NaN does not."""
        return bool(bound >= self.limit if self.bad == "lower" else bound <= self.limit)

    def _listed(self, column: str, figures: Sequence[Figure]) -> str:
        """`epsilon 3/255; there is: 1/255, 2/255`."""

        def shown(value: Any) -> str:
            return in_255(value, self.norm) if column == "epsilon" else str(value)

        there = ", ".join(shown(value) for value in sorted({getattr(one, column) for one in figures}) if value != "")
        return f"{column} {shown(getattr(self.figure, column))}; there is: {there or 'nothing'}"

    @property
    def figure(self) -> FigureName:
        """What identifies the figure in the metrics table."""
        if self.on_clean:
            return FigureName(self.attack, "", 0.0, "", self.defect, self.metric)
        assert self.epsilon is not None  # validated above
        return FigureName(self.attack, self.norm, self.epsilon, self.regime, self.defect, self.metric)


def _same(value: Any, wanted: Any) -> bool:
    return epsilon_key(value) == epsilon_key(wanted) if isinstance(wanted, float) else bool(value == wanted)


def _short(limit: float) -> str:
    """`0.60`, or `0.605` where two decimals do not say it."""
    return f"{limit:.2f}" if round(limit, 2) == limit else f"{limit:g}"


def percent(confidence: float) -> str:
    """`95 %`, `99.17 %`."""
    return f"{round(100 * confidence, 2):.6g} %"
