"""What two kinds of attackers reached on the same sample within the same budget, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from assay.audits.checks._context import Context
from assay.audits.checks._evidence import BEHIND, Evidence, backed, loss, share
from assay.store.score_matrix import SCORE, SELECTION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from assay.contracts import ThreatModel


UNREACHED = (-np.inf, -np.inf)
Judge = Callable[["NDArray[np.int64]", "NDArray[np.float64]", int], Evidence]
"""As `_evidence.gathered` asks for it: places, what was seen of each, how many looks -> the evidence."""


class Pairs(NamedTuple):
    """Per sample and budget: how far the stronger and the weaker attackers moved the score in their direction.

    worth: how many independent samples there are.
    """

    samples: list[str]
    worth: float
    stronger: NDArray[np.float64]
    weaker: NDArray[np.float64]


def pairs(context: Context, stronger: NDArray[np.bool_], weaker: NDArray[np.bool_]) -> Pairs:
    """The best shift of two sets of rows of the scores, wherever both have one for the same sample and budget."""
    scores, shift = context.scores, context.shift
    best: dict[tuple[str, str, float], list[float]] = {}
    for rows, which in ((stronger, 0), (weaker, 1)):
        keys = zip(scores["sample"][rows], scores["norm"][rows], scores["epsilon"][rows], strict=True)
        for key, value in zip(keys, shift[rows], strict=True):
            pair = best.setdefault(key, [-np.inf, -np.inf])
            pair[which] = max(pair[which], value)
    complete = {key: pair for key, pair in best.items() if np.isfinite(pair).all()}
    values = np.array(list(complete.values())).reshape(-1, 2)
    samples = [sample for sample, _, _ in complete]
    place = {id_: at for at, id_ in enumerate(context.images.ids)} if context.images.group_names else {}
    there = set(samples)
    worth = context.worth(np.array([place[sample] for sample in there])) if place else len(there)
    return Pairs(samples, worth, values[:, 0], values[:, 1])


def by_sample(compared: Pairs, beaten: NDArray[np.bool_], allowed: float) -> Evidence:
    """What some of the pairs show, such as those in which the weaker attackers got further.

    The pairs of one sample at several budgets are no independent samples: a sample counts by its share of them.
    """
    return share(float(beaten.mean()) * compared.worth, compared.worth, allowed)


def share_seen(context: Context, allowed: float) -> Judge:
    """What a check shows that counts samples: 1 where it saw something of one, 0 elsewhere."""

    def judge(places: NDArray[np.int64], seen: NDArray[np.float64], looks: int) -> Evidence:
        return share(seen.sum(), len(places), allowed, looks, context.worth(places))

    return judge


def loss_seen(context: Context, allowed: float) -> Judge:
    """What a check shows that takes AUROC off: of each sample two scores, before and after, and whether it lags."""
    labels = context.images.labels

    def judge(places: NDArray[np.int64], seen: NDArray[np.float64], looks: int) -> Evidence:
        lost = loss(labels[places], seen[:, 0], seen[:, 1], allowed, looks, context.groups(places))
        return backed(lost, share(seen[:, 2].sum(), len(places), BEHIND, looks, context.worth(places)))

    return judge


def fell_behind(
    context: Context, places: NDArray[np.int64], reached: NDArray[np.float64], possible: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Where direction * score moved less than half as far in `reached` as was `possible`, arithmetic aside."""
    clean = (1 - 2 * context.images.labels[places]) * context.clean[places]
    far: NDArray[np.bool_] = 2 * (reached - clean) + context.same < possible - clean
    return far


def reached(
    context: Context, threat: ThreatModel, rows: NDArray[np.bool_], places: NDArray[np.int64]
) -> NDArray[np.float64]:
    """direction * score that some rows reached within a budget, for each of the samples at `places`.

    Of a random score the row is chosen by one draw and its score is another, as in the figures of the worst case.
    """
    scores, random = context.scores, context.redrawn
    chosen_by = scores[SELECTION if random else SCORE]
    wanted = {context.images.ids[at] for at in places}
    best: dict[str, tuple[float, float]] = {}
    for at in np.flatnonzero(rows & (scores["norm"] == threat.norm) & (scores["epsilon"] <= threat.epsilon)):
        if (sample := scores["sample"][at]) in wanted:
            toward = scores["direction"][at]
            best[sample] = max((toward * chosen_by[at], toward * scores[SCORE][at]), best.get(sample, UNREACHED))
    labels, values = context.images.labels, []
    for at in places:
        _, value = best.get(context.images.ids[at], UNREACHED)
        clean = (1 - 2 * labels[at]) * context.clean[at]
        values.append(value if random and np.isfinite(value) else max(value, clean))
    return np.array(values)
