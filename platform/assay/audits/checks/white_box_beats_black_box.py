"""An attacker with gradients moves a sample at least as far as one with scores only; if not, gradients are masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.attacks.square import square
from assay.audits.checks._compare import by_sample, pairs, reached, share_seen
from assay.audits.checks._context import FEW, NO_GRADIENT, Context, called, listed, scores_of
from assay.audits.checks._evidence import Evidence, gathered
from assay.audits.checks._result import CheckResult, not_applicable, result

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from assay.contracts import Attacked, ThreatModel

ORDER = 101
LONG = True
ABOUT = "strength"
SEEN = 0.1  # share of samples where a black-box attack may go further
QUERIES = 5  # of the check's own attack, for each step of the unbounded one


class Case(NamedTuple):
    """Black-box attacks, the samples they were made on, where they got further, and what that shows."""

    name: str
    samples: list[str]
    further: NDArray[np.bool_]
    shown: Evidence


def white_box_beats_black_box(context: Context) -> CheckResult:
    """An attacker with gradients moves a sample at least as far as one with scores only (Carlini et al.).

    Compares with the suite's score-based, label-based and transfer attacks; where none of them made enough queries at
    the headline, also with a Square attack of its own. A search without gradients that gets further is the strongest
    sign that gradients are masked.
    """
    if not context.facts.differentiable:
        return not_applicable("white_box_beats_black_box", NO_GRADIENT)
    compared = pairs(context, context.known_as("white-box"), context.known_as("score", "label", "transfer"))
    beaten = compared.weaker > compared.stronger + context.same
    cases: list[Case] = []
    if compared.samples:
        cases.append(
            Case("black-box attacks of the suite", compared.samples, beaten, by_sample(compared, beaten, SEEN))
        )
    threat, queries = context.budget, QUERIES * context.suite.unbounded.steps
    if threat and _queries(context, threat) < queries:
        cases.append(_own_attack(context, threat, queries))
    phrases, worst = [], 0.0
    for name, attacked, further, shown in cases:
        lost = sorted({sample for sample, worse in zip(attacked, further, strict=True) if worse})
        phrases.append(
            f"{name} go further than the white-box attacks on {further.mean():.1%} of {len(further)}{listed(lost)}: "
            f"{shown.words}"
        )
        worst = max(worst, float(further.mean()))
    passed = all(case.shown.passed for case in cases)
    samples = sum(len(case.samples) for case in cases)
    return result("white_box_beats_black_box", passed, "; ".join(phrases), worst, SEEN, samples)


def _queries(context: Context, threat: ThreatModel) -> int:
    """How often the suite's score-based attacks asked for the score of a sample, at most, at that budget."""
    scores = context.scores
    rows = context.known_as("score") & (scores["norm"] == threat.norm) & (scores["epsilon"] == threat.epsilon)
    return int(scores["forwards"][rows].max()) if rows.any() else 0


def _own_attack(context: Context, threat: ThreatModel, queries: int) -> Case:
    """A Square attack on as many samples as it takes."""
    labels, seeing = context.images.labels, context.known_as("white-box")

    def attack(images: Tensor, direction: Tensor, random: list[torch.Generator]) -> Attacked:
        return square(context.detector, images, direction, threat, random, queries=queries)

    def look(places: NDArray[np.int64]) -> NDArray[np.float64]:
        blind = (1 - 2 * labels[places]) * scores_of(context, places, attack)
        return (blind > reached(context, threat, seeing, places) + context.same).astype(np.float64)

    shown, places, seen = gathered(
        labels, min(FEW, context.suite.unbounded.samples), look, share_seen(context, SEEN), context.suite.unbounded.most
    )
    samples = [context.images.ids[at] for at in places]
    return Case(f"{queries} queries of Square at {called(threat)}", samples, seen > 0, shown)
