"""How often the default policy is wrong: a PASS for a detector just below a gate, INVALID for a sound audit.

    python benchmarks/verdict_errors.py [--audits 200]

A simulated detector keeps every gate of the policy with ease but one, whose true figure lies just on the wrong side of
its limit. Each is audited in full on 150 normal and 150 anomalous images, and by eleven screens of 10 to 110 images of
each class from the same scores; the real decision code judges all twelve, and one PASS is a false PASS. The rival is
the rule that has none of this: a gate passes if its figure keeps the limit, in the full audit or in a screen.

A sound audit makes the eleven counts of tests/audits/test_evidence.py with every true share exactly at what is allowed.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import norm

from assay.approval import decision, policy
from assay.approval.gate import Gate
from assay.metrics import detection
from assay.store.figures import Figure
from assay.store.schemas import CHECKS

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / folder) for folder in ("support", "audits")]
import test_evidence  # noqa: E402 - the counts of a sound audit are written down there

Floats = NDArray[np.float64]
IMAGES = 150
SCREENS = tuple(range(10, 120, 10))
BELOW = 0.002
"""How far the true figure lies on the wrong side of its limit."""
SOUND = pa.Table.from_pylist([{"check": "gradients", "passed": True, "required": True, "evidence": ""}], schema=CHECKS)


def truths(rules: policy.Policy, bad: Gate) -> dict[Gate, float]:
    """The true figure of every gate: just beyond the limit for one, far inside it for the others."""
    inside = {gate: gate.limit + (0.15 if gate.at_least is not None else -0.12) for gate in rules.gates}
    return inside | {bad: bad.limit + (-BELOW if bad.at_least is not None else BELOW)}


def scores(true: dict[Gate, float], random: np.random.Generator) -> dict[Gate, Floats]:
    """For every gate scores (2, IMAGES) of normals and anomalies whose true figure is that; the threshold is 0."""
    drawn = {}
    for gate, value in true.items():
        normals, anomalies = random.normal(0, 1, (2, IMAGES))
        if gate.metric == "auroc":
            anomalies = anomalies + 2**0.5 * norm.ppf(value)
        elif gate.metric == "miss_rate":
            anomalies = anomalies - norm.ppf(value)
        else:
            normals = normals + norm.ppf(value)
        drawn[gate] = np.stack([normals, anomalies])
    return drawn


def figures(drawn: dict[Gate, Floats], places: NDArray[np.int64]) -> decision.Figures:
    """Confidence -> the figure of every gate, on the images at those places."""
    labels, counts = np.repeat([0, 1], len(places)), (len(places), len(places))

    @functools.cache
    def at(confidence: float) -> Sequence[Figure]:
        rows = []
        for gate, both in drawn.items():
            some, name = both[:, places].ravel(), gate.figure
            made = detection.figures(labels, some, threshold=0.0, replicates=400, confidence=confidence)[gate.metric]
            line = (name.attack, name.norm, name.epsilon, name.regime, name.defect, name.metric)
            rows.append(Figure(*line, *made, confidence, *counts))
        return rows

    return at


def verdict(rules: policy.Policy, drawn: dict[Gate, Floats], images: int) -> tuple[bool, bool]:
    """Whether an audit of so many images of each class passes, and whether it would by the figures alone."""
    places = np.arange(images) * IMAGES // images
    at = figures(drawn, places)
    decided = decision.decide(rules, at, SOUND, datetime.date(2026, 1, 1), screen=images < IMAGES)
    values = [figure.value for figure in at(0.95)]
    kept = [v >= g.limit if g.at_most is None else v <= g.limit for v, g in zip(values, rules.gates, strict=True)]
    return decided.passed, all(kept)


def main() -> None:
    """Print the share of false verdicts, gate by gate."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--audits", type=int, default=200)
    options = parser.parse_args()
    rules, random = policy.read("default"), np.random.default_rng(0)
    worst, rival = 0.0, 0.0
    for bad in rules.gates:
        true, passed, naive = truths(rules, bad), 0, 0
        for _ in range(options.audits):
            drawn = scores(true, random)
            outcomes = [verdict(rules, drawn, images) for images in (IMAGES, *SCREENS)]
            passed += any(one for one, _ in outcomes)
            naive += any(one for _, one in outcomes)
        worst, rival = max(worst, passed / options.audits), max(rival, naive / options.audits)
        shares = f"false PASS {passed / options.audits:.3f}, by the figures alone {naive / options.audits:.3f}"
        print(f"{bad.label:28s} {shares}")
    invalid = np.mean([
        any(not test_evidence.outcome(random, *one).passed for one in test_evidence.COUNTED) for _ in range(1000)
    ])  # fmt: skip
    print(f"RESULT false_pass={worst:.3f} by_figures_alone={rival:.3f} false_invalid={invalid:.4f}")


if __name__ == "__main__":
    main()
