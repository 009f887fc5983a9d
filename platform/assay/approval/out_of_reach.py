"""What a policy asks for that no audit can show: more than so few samples allow, or nothing where every gate is waived.

Samples are counted as independent ones: where images are of groups, such as the views of a part, groups are counted.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from assay.approval.gate import Gate, percent
from assay.approval.policy import Policy
from assay.metrics import groups, intervals
from assay.models import model_folder
from assay.store.store import Store

MOST = 1_000_000
"""Samples of each class that are looked up to."""
NEVER = "no number would do"


class Samples(NamedTuple):
    """The normals and anomalies at hand, counted as independent ones, and whether these are groups of images."""

    normals: int
    anomalies: int
    grouped: bool = False

    @staticmethod
    def of_test_images(dataset: Mapping[str, Any], limit: int | None) -> Samples | None:
        """Those of a dataset as a manifest describes it, at most `limit` of each class; None where it does not say."""
        counts = groups.of_split(dataset, "test")
        if counts is None:
            return None
        grouped = counts != groups.of_split({**dataset, "groups": None}, "test")
        normals, anomalies = (count if limit is None else min(count, limit) for count in counts)
        return Samples(normals, anomalies, grouped)

    def words(self, metric: str) -> str:
        """Those that a metric counts: `20 anomalies`, `20 groups of normals and 30 groups of anomalies`."""
        of = "groups of " if self.grouped else ""
        words = f"{self.normals} {of}normals", f"{self.anomalies} {of}anomalies"
        return {"miss_rate": words[1], "false_alarm_rate": words[0]}.get(metric, " and ".join(words))


def out_of_reach(policy: Policy, there: Samples, today: datetime.date | None = None) -> Iterator[str]:
    """A sentence for each thing that a policy asks for and that no audit of so many samples can show.

    today: decides which waivers still count; by default the current date (UTC).
    """
    gates = policy.gates_not_waived(today)
    if not gates:
        yield "every gate is waived, so nothing can be shown: no audit passes while the waivers last"
    of = "groups of " if there.grouped else ""
    for kind, needed in policy.minimum_samples:
        if (count := getattr(there, kind)) < needed:
            yield f"minimum_samples: there are {count} {of}{kind}, the policy needs at least {needed}"
    for gate in gates:
        if gate.of_seeds:  # of validation images, which are not the ones that are there
            continue
        if why := shortfall(gate, there, _confidence(policy), policy.prevalence):
            yield f"gate {gate.label}: {why}"


def before(store: Store, model: str, policy: Policy, limit: int | None) -> list[str]:
    """The same, before a model is audited on the test images of its dataset, at most `limit` of each class."""
    there = Samples.of_test_images(model_folder.read_manifest(store, model).get("dataset", {}), limit)
    return [*_of_a_screen(policy, limit), *(() if there is None else out_of_reach(policy, there))]


def _of_a_screen(policy: Policy, limit: int | None) -> Iterator[str]:
    """What a policy does not let a screen decide."""
    if limit is None:
        return
    if policy.screens == "refused":
        yield (
            f"policy {policy.name} lets no screen (--limit) pass, so the verdict will be INCONCLUSIVE at best; leave "
            "--limit out"
        )
    for gate in policy.gates_not_waived():
        if gate.metric == "average_precision":
            yield f"gate {gate.label}: a screen (--limit) decides no average precision"


def shortfall(gate: Gate, there: Samples, confidence: float, prevalence: float | None = None) -> str:
    """Why so few samples cannot show that a gate holds, and how many would do; nothing where they can."""
    if gate.deciding != gate.bad:
        return ""
    best = _without_error(gate, there.normals, there.anomalies, confidence, prevalence)
    if gate.keeps(best):
        return ""
    enough = _enough(gate, confidence, prevalence)
    more = NEVER if enough is None else f"{enough}{_each(gate.metric)} would do"
    return (
        f"with {there.words(gate.metric)} not even a figure without error keeps the limit {gate.limit:g} (its "
        f"{gate.bad} bound is {best:.3f} at {percent(confidence)} confidence); {more}"
    )


def _confidence(policy: Policy) -> float:
    """The lowest at which a gate may be decided: with Holm's correction the last gate has all of the error."""
    bounded = sum(gate.deciding != "value" for gate in policy.gates)
    divided = policy.multiplicity == "bonferroni" and bounded
    return 1 - (1 - policy.confidence) / bounded if divided else policy.confidence


def _each(metric: str) -> str:
    return "" if metric in ("miss_rate", "false_alarm_rate") else " of each"


def _enough(gate: Gate, confidence: float, prevalence: float | None) -> int | None:
    """The fewest samples of each class with which a figure without error keeps the limit; None where none do."""

    def do(count: int) -> bool:
        return gate.keeps(_without_error(gate, count, count, confidence, prevalence))

    high = 1
    while not do(high):
        high *= 2
        if high > MOST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if do(middle) else (middle, high)
    return high


def _without_error(gate: Gate, normals: int, anomalies: int, confidence: float, prevalence: float | None) -> float:
    """The deciding bound of a figure without any error over so many samples."""
    if gate.metric in ("auroc", "curve_area"):
        closed = (intervals.auroc, intervals.newcombe)
        return min(form(1.0, normals, anomalies, confidence)[0] for form in closed)
    if gate.metric == "average_precision":
        return intervals.average_precision(np.zeros(normals), np.ones(anomalies), confidence, prevalence)[0]
    if gate.metric == "fpr95":
        return intervals.fpr95(np.zeros(normals), np.ones(anomalies), confidence)[1]
    counts = {"miss_rate": anomalies, "false_alarm_rate": normals}
    return intervals.clopper_pearson(0, counts.get(gate.metric, normals + anomalies), confidence)[1]
