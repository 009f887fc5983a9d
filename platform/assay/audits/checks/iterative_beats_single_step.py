"""Many small steps move a sample at least as far as a single large one (Carlini et al., sanity checks)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.attacks.fgsm import fgsm
from assay.audits.checks._compare import reached, share_seen
from assay.audits.checks._context import NO_BALL, NO_GRADIENT, Context, called, listed, scores_of
from assay.audits.checks._evidence import gathered
from assay.audits.checks._result import CheckResult, not_applicable, result

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from assay.contracts import Attacked

ORDER = 90
ABOUT = "strength"
SEEN = 0.05  # share of samples where the single step may go further
AHEAD = 0.05  # of its shift: on a nearly linear score one step is all it takes, and random starts cost a little


def iterative_beats_single_step(context: Context) -> CheckResult:
    """Many small steps move a sample at least as far as a single large one (Carlini et al., sanity checks)."""
    if not context.facts.differentiable or context.budget is None:
        return not_applicable("iterative_beats_single_step", NO_GRADIENT if context.budget else NO_BALL)
    threat, rows = context.budget, context.known_as("white-box")
    for entry in context.suite.attacks:
        if entry.attack.name == "fgsm":
            rows &= context.scores["attack"] != entry.name
    labels = context.images.labels

    def attack(images: Tensor, direction: Tensor, random: list[torch.Generator]) -> Attacked:
        return fgsm(context.detector, images, direction, threat, random)

    def look(places: NDArray[np.int64]) -> NDArray[np.float64]:
        sign = 1 - 2 * labels[places]
        clean, once = sign * context.clean[places], sign * scores_of(context, places, attack)
        further = once - AHEAD * (once - clean) > reached(context, threat, rows, places) + context.same
        return further.astype(np.float64)

    evidence, places, seen = gathered(
        labels, context.suite.unbounded.samples, look, share_seen(context, SEEN), context.suite.unbounded.most
    )
    names = [context.images.ids[at] for at in places[seen > 0]]
    words = (
        f"at {called(threat)} one step goes clearly further than the suite's iterative attacks on {len(names)} of "
        f"{len(places)} samples{listed(names)}; {evidence.words}"
    )
    return result("iterative_beats_single_step", evidence.passed, words, evidence.share, SEEN, len(places))
