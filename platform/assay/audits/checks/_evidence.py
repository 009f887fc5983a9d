"""When a check that counts samples may decide: by exact bounds of the true share, never by the share seen on a few.

A check states the share that is allowed. It looks at a few samples first, and doubles them while they do not decide.
Failed: the share is shown to be beyond the allowed one. Passed: it is shown not to be far beyond. Undecided: neither,
and where no samples are left the check has not been shown to fail, and passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from assay.metrics import groups as grouping
from assay.metrics.intervals import clopper_pearson
from assay.models.scoring import some_of_each

ERROR = 0.001
"""How often a share is called too large that is not. An audit looks at about twenty: 2 % of sound audits at most."""
MISSED = 0.05
"""How often a decision passes, before all samples were used, though the share is FAR beyond the allowed one."""
FAR = 0.1
BEHIND = 0.1
"""Share of samples on which an attack may fall far behind what is known to be possible."""
MOST = 256
"""Samples of each class that are looked at at most, so that a check costs less than the suite did."""
ENOUGH = 8
"""Samples of each class from which on the variance of their differences can be estimated."""
ROUNDING = 1e-9

Decision = Literal["passed", "failed", "undecided"]


class Evidence(NamedTuple):
    """A share seen on so many samples, the bounds that decided about it, and the decision."""

    share: float
    samples: float
    lower: float
    upper: float
    allowed: float
    decision: Decision

    @property
    def passed(self) -> bool:
        """Whether it was not shown that more than the allowed share is concerned."""
        return self.decision != "failed"

    @property
    def words(self) -> str:
        """The bounds and the decision, to be read after the share."""
        bounds = {
            "passed": f"the true share is below {self.upper:.1%}",
            "failed": f"the true share is above {self.lower:.1%}",
            "undecided": f"the true share is {self.lower:.1%} to {self.upper:.1%}, not shown to be too large",
        }
        return f"{bounds[self.decision]}; allowed {self.allowed:.0%}"


def share(hits: float, samples: float, allowed: float, looks: int = 1, worth: float | None = None) -> Evidence:
    """What `hits` of so many samples show; looks: how often the check may decide, which divides the error.

    worth: how many independent samples they are worth, all of them by default; images of one part are worth one.

    Hits need not be whole: a share of the budgets of each sample, or an AUROC, which is a mean of one number in [0, 1]
    for each sample of the smaller class. Such a mean spreads no more than a count, and is rounded to the safe side.
    """
    known = samples if worth is None else worth
    counted = hits * known / samples
    lower, _ = clopper_pearson(math.floor(counted + ROUNDING), known, 1 - 2 * ERROR / looks)
    _, upper = clopper_pearson(min(math.ceil(counted - ROUNDING), known), known, 1 - 2 * MISSED / looks)
    return _decided(hits / samples, samples, lower, upper, allowed)


def loss(
    labels: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    allowed: float,
    looks: int = 1,
    groups: Sequence[str | None] | None = None,
) -> Evidence:
    """How much AUROC is lost from the scores `before` to those `after`, of the same samples (N,); paired.

    Lower bound: the two scores of a sample vary together, so a t interval of the differences (DeLong et al. 1988) shows
    a small loss of all samples; where only few samples lose, differences are skewed and it is too low, the safe side.
    Upper bound: as of `share`, because samples that lose may be missing among few. groups: the part that each sample
    shows; parts are counted then, not samples.
    """
    label, first, second = np.asarray(labels), np.asarray(before, np.float64), np.asarray(after, np.float64)
    lost = _won(label, first) - _won(label, second)  # (anomalies, normals)
    held = grouping.of(label, groups)
    worth = grouping.worth(lost.shape[1], lost.shape[0], held)
    smaller, mean = worth.smaller, float(lost.mean())
    exact = share(max(mean, 0.0) * smaller, smaller, allowed, looks)
    above = share(float(lost.clip(0).mean()) * smaller, smaller, allowed, looks)
    lower = exact.lower
    if smaller >= ENOUGH:
        classes = zip((0, 1), worth.paired, strict=True)  # the mean over anomalies is one number for each normal
        error = math.sqrt(sum(lost.mean(axis).var(ddof=1) / count for axis, count in classes))
        lower = mean - float(stdtrit(smaller - 1, 1 - ERROR / looks)) * error
    return _decided(mean, smaller, max(lower, 0.0), above.upper, allowed)


def backed(main: Evidence, behind: Evidence) -> Evidence:
    """The main evidence, or its failure where what was seen is beyond the allowed share, and `behind` shows the cause.

    behind: of the share of samples on which an attack fell far behind what is known to be possible. On few samples a
    weak attack may cost little AUROC, and yet every one of them shows that it is weak.
    """
    if main.share > main.allowed and behind.decision == "failed" and main.decision != "failed":
        return behind._replace(share=main.share)
    return main


def gathered(
    labels: NDArray[np.int64],
    first: int,
    look: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    judge: Callable[[NDArray[np.int64], NDArray[np.float64], int], Evidence],
    most: int = MOST,
) -> tuple[Evidence, NDArray[np.int64], NDArray[np.float64]]:
    """(the evidence, the samples looked at, what was seen of each), from `first` samples of each class on.

    look: places of samples (n,) -> what is seen of each (n, ...); each sample is looked at once. judge: (places, seen,
    how many looks there may be) -> the evidence of all of them. most: of each class, at most.
    """
    sizes = looks(labels, first, most)
    places = some_of_each(labels, sizes[0])
    seen = look(places)
    evidence = judge(places, seen, len(sizes))
    for size in sizes[1:]:
        if evidence.decision != "undecided":
            break
        more = np.setdiff1d(some_of_each(labels, size), places)
        places, seen = np.concatenate([places, more]), np.concatenate([seen, look(more)])
        evidence = judge(places, seen, len(sizes))
    order = np.argsort(places)
    return evidence, places[order], seen[order]


def looks(labels: NDArray[np.int64], first: int, most: int = MOST) -> list[int]:
    """How many samples of each class are looked at, each number twice the one before, up to all or `most`."""
    most = min(most, int(np.bincount(labels, minlength=2).max()))
    sizes = [min(first, most)]
    while sizes[-1] < most:
        sizes.append(min(2 * sizes[-1], most))
    return sizes


def _decided(seen: float, samples: float, lower: float, upper: float, allowed: float) -> Evidence:
    decision: Decision = "failed" if lower > allowed else "passed" if upper < allowed + FAR else "undecided"
    return Evidence(seen, samples, lower, upper, allowed, decision)


def _won(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(anomalies, normals): 1 where the anomaly scores higher than the normal, 1/2 at a tie."""
    won: NDArray[np.float64] = (np.sign(scores[labels == 1][:, None] - scores[labels == 0][None, :]) + 1) / 2
    return won
