"""What every check is given, and the few samples that its own attacks are made on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.audits.suite import Suite
from assay.contracts import Attacked, Images, ThreatModel
from assay.data.random_streams import streams_of
from assay.data.reduced import take
from assay.metrics import groups as grouping
from assay.models.preflight import Facts, Unexamined
from assay.models.scoring import BATCH, SAME, batch_size, clean_scores, pixels, score, some_of_each
from assay.store.score_matrix import SCORE, SELECTION
from assay.units import in_255

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

BALLS = ("linf", "l2")
"""Norms that the attacks of the checks can be made in."""
FEW = 8
"""Samples of each class that the more expensive checks use."""
UNEXAMINED = Unexamined()
NO_BALL = "the suite has no linf or l2 budget"
NO_GRADIENT = "the score has no gradient"


@dataclass(frozen=True)
class Context:
    """What the checks are given: the audited detector, its test images, and the scores and metrics of the audit.

    threshold: the score above which the deployed detector flags. corrupted, certified, deployed: None where the audit
    has none. validation: the images of the manifest's figures, where this machine may not have them; None: it has.
    """

    detector: nn.Module
    images: Images
    suite: Suite
    scores: Mapping[str, NDArray[Any]]  # the columns of SCORES
    metrics: Mapping[str, NDArray[Any]]  # the columns of METRICS
    device: str = "cpu"
    manifest: Mapping[str, Any] = field(default_factory=dict)  # of the model
    threshold: float | None = None
    facts: Facts | Unexamined = UNEXAMINED
    corrupted: Mapping[str, NDArray[Any]] | None = None  # the columns of CORRUPTED
    certified: Mapping[str, NDArray[Any]] | None = None  # the columns of CERTIFIED
    deployed: Mapping[str, NDArray[Any]] | None = None  # the columns of DEPLOYED
    validation: Images | None = None

    @cached_property
    def clean(self) -> NDArray[np.float64]:
        """The scores (N,) that the detector gives its test images now."""
        return clean_scores(self.detector, self.images, self.device)

    @cached_property
    def spread(self) -> float:
        """The standard deviation of the clean scores."""
        return float(self.clean.std())

    @cached_property
    def same(self) -> float:
        """How far apart two scores of one image may be: arithmetic, and the noise of a score known to be random."""
        again = clean_scores(self.detector, self.images, self.device) if self.facts.stochastic else self.clean
        return SAME * self.spread + 3 * float(np.abs(again - self.clean).max())

    @cached_property
    def redrawn(self) -> bool:
        """Whether the score is random, so that the worst case was chosen by one draw and reported by another."""
        scores = self.scores
        return self.facts.stochastic and bool((scores[SELECTION] != scores[SCORE]).any())

    @property
    def shift(self) -> NDArray[np.float64]:
        """How far every row of the scores moved in the attacker's direction."""
        moved: NDArray[np.float64] = self.scores["adversarial_score"] - self.scores["clean_score"]
        return self.scores["direction"] * moved

    @property
    def budget(self) -> ThreatModel | None:
        """What the checks' own attacks may do: the headline, or the suite's first budget that is a linf or l2 ball."""
        headline = self.suite.headline
        balls = [(headline.norm, headline.epsilon), *((e.norm, e.epsilons[-1]) for e in self.suite.attacks)]
        return next((ThreatModel(norm, size, self.threshold) for norm, size in balls if norm in BALLS), None)

    def groups(self, places: NDArray[np.int64]) -> list[str | None] | None:
        """The part that each of some samples shows, None where no sample is of a group."""
        names = self.images.group_names
        return None if names is None else [names[at] for at in places]

    def worth(self, places: NDArray[np.int64]) -> float:
        """How many independent samples those are worth."""
        return grouping.number(self.groups(places), len(places))

    def worth_of_pairs(self, places: NDArray[np.int64]) -> float:
        """The same for a share of the pairs of a normal and an anomaly: that of the class that is worth less."""
        labels = self.images.labels[places]
        counts = int((labels == 0).sum()), int((labels == 1).sum())
        return grouping.worth(*counts, grouping.of(labels, self.groups(places))).smaller

    def known_as(self, *knowledge: str) -> NDArray[np.bool_]:
        """Which rows of the scores are of attackers with that knowledge."""
        names = [entry.name for entry in self.suite.attacks if entry.knowledge in knowledge]
        return np.isin(self.scores["attack"], names)


def chosen(context: Context, most: int = BATCH // 2) -> NDArray[np.int64]:
    """The samples that the attacks of the checks are made on, as many of each class as the suite says."""
    return some_of_each(context.images.labels, min(context.suite.unbounded.samples, most))


def attackable(context: Context, most: int | None = None) -> tuple[Tensor, Tensor, list[torch.Generator]]:
    """Images, direction and random streams for an attack of a check on some samples of each class, in one batch.

    most: of each class; by default and at most, half a batch.
    """
    half = max(1, batch_size(context.images) // 2)
    return at(context, chosen(context, min(most or half, half)))


def at(context: Context, places: NDArray[np.int64]) -> tuple[Tensor, Tensor, list[torch.Generator]]:
    """Images, direction and random streams of some samples; a sample's do not depend on the others."""
    import torch

    images = take(context.images, places)
    direction = torch.from_numpy(1 - 2 * images.labels).to(context.device)
    random = streams_of(images, 0, "check", context.device)
    return pixels(images, 0, len(images), context.device), direction, random


def scores_of(
    context: Context,
    places: NDArray[np.int64],
    attack: Callable[[Tensor, Tensor, list[torch.Generator]], Attacked],
) -> NDArray[np.float64]:
    """The scores that an attack of a check reaches on some samples, batch by batch; attack: as `at` gives them.

    Of a random score a fresh draw, as the attack kept the image with the luckiest one.
    """
    parts = []
    size = batch_size(context.images)
    for first in range(0, len(places), size):
        images, direction, random = at(context, places[first : first + size])
        made = attack(images, direction, random)
        scores = score(context.detector, made.images) if context.facts.stochastic else made.scores
        parts.append(scores.double().cpu().numpy())
    return np.concatenate(parts)


def shortened(arguments: Mapping[str, Any], most: int) -> dict[str, object]:
    """The arguments of an attack with every count in them (steps, restarts, draws, queries) capped at `most`."""
    return {
        key: min(value, most) if isinstance(value, int) and not isinstance(value, bool) else value
        for key, value in arguments.items()
    }


def called(threat: ThreatModel) -> str:
    """`linf 2/255`."""
    return f"{threat.norm} {in_255(threat.epsilon, threat.norm)}"


def listed(names: list[str], most: int = 5) -> str:
    """` (a, b, c and 4 more)`, or nothing."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f" ({', '.join(names[:most])}{more})" if names else ""
