"""Simulated audits: how often the bounds that decide miss the truth, one side at a time, nominal 2.5 %.

`python benchmarks/coverage.py` does the same on more shapes and with many more audits.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from assay.metrics import bootstrap, detection, intervals, localisation, security_curve

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import coverage_audits as audits
from coverage_shapes import GROUPED, SHAPES

pytestmark = pytest.mark.slow

AUDITS = 200
MOST = 0.06
"""Nominal, and three standard errors of a share of so many audits."""
FEW_SAMPLES = 4000
"""Of each class, from which a truth is taken six times."""

CELLS = {
    "few anomalies": (partial(audits.alone, SHAPES["binormal 0.76"]), (300, 20)),
    "many samples": (partial(audits.alone, SHAPES["binormal 0.98"]), (300, 300)),
    "10 % hidden": (partial(audits.alone, SHAPES["10 % hidden"]), (300, 20)),
    "5 % on top": (partial(audits.alone, SHAPES["5 % of normals on top"]), (50, 50)),
    "ties": (partial(audits.alone, SHAPES["rounded"]), (50, 50)),
    "parts": (partial(audits.of_parts, GROUPED["10 % of parts hidden"]), (50, 20)),
    **{
        name: (audits.AUDITS[name][0], sizes)
        for name, sizes in (
            ("three kinds alike", (50, 20)),
            ("three categories, 5 % on top", (50, 50)),
            ("three seeds, 10 % hidden", (300, 20)),
            ("worst case, a tenth moves", (50, 50)),
            ("certified", (50, 50)),
            ("corruptions, 5 % hidden", (50, 50)),
            ("deployed file", (50, 50)),
            ("maps, 5 % unseen", (30, 30)),
            ("smallest epsilons", (50, 50)),
        )
    },
}


@pytest.fixture(autouse=True)
def same_resamples(monkeypatch):
    """Those of one size are drawn once, as in every audit."""
    held, draw = {}, bootstrap.blocks

    def blocks(*of):
        if of not in held:
            held[of] = list(draw(*of))
        return held[of]

    monkeypatch.setattr(bootstrap, "blocks", blocks)


def misses(name: str) -> audits.Misses:
    make, sizes = CELLS[name]
    return audits.simulated(make, sizes, AUDITS, audits.FEWER if "maps" in name else FEW_SAMPLES, again=False)


@pytest.mark.parametrize("name", CELLS)
def test_a_bound_that_a_gate_acts_on_misses_no_more_often_than_it_says(name):
    found = misses(name)
    assert {figure: sides for figure, sides in found.items() if max(sides) > MOST} == {}


def alone(name):
    """The percentile interval of the bootstrap and nothing else."""

    def bare(case, drawn, threshold, confidence, prevalence=None):
        made = real(case, drawn, threshold, confidence, prevalence)
        return made | {name: intervals.Interval(made[name].value, *bootstrap.percentiles(drawn[name], confidence))}

    real = detection._intervals
    return bare


WRONG = {
    "the threshold of FPR95 taken for known": ("few anomalies", "fpr95", detection, "_intervals", alone("fpr95")),
    "a hidden kind forgotten": ("10 % hidden", "auroc", detection, "_intervals", alone("auroc")),
    "normals forgotten": (
        "5 % on top", "average_precision", detection, "_intervals", alone("average_precision"),
    ),
    "images taken for parts": (
        "parts", "miss_rate", intervals, "rate", lambda *of: intervals.clopper_pearson(*of[:3]),
    ),
    "maps that miss wholly forgotten": (
        "maps, 5 % unseen", "pixel_auroc", localisation, "wilson", lambda *_: (1.0, 0.0),
    ),
    "quantiles a place too narrow": (
        "smallest epsilons", "epsilon 50%", security_curve, "order_statistics", lambda count, *_: (21, 24),
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_interval_is_seen(mistake, monkeypatch):
    """What was decided by, or would be the obvious thing to do, misses far more often in the same simulation."""
    name, figure, module, function, wrong = WRONG[mistake]
    monkeypatch.setattr(module, function, wrong)
    assert max(misses(name)[figure]) > MOST
