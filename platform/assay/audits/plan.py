"""What an audit does to one detector: the attacks of its suite that can be made, and every piece of work there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from assay.audits import bank_size_job, certification_job, corruption_job, minimal_epsilon_job
from assay.audits.attack_job import Shard
from assay.audits.bank_size_job import BankSize
from assay.audits.certification_job import Certifying
from assay.audits.corruption_job import Corrupting
from assay.audits.fan_out import Work
from assay.audits.minimal_epsilon_job import Minimal
from assay.audits.suite import Entry, Suite
from assay.contracts import Images, Norm
from assay.errors import InputError
from assay.models.model_folder import Model
from assay.models.preflight import Facts
from assay.sweeps.evaluation import BATCH, batches, some_of_each, take


@dataclass(frozen=True)
class LeftOut:
    """An attack of the suite that cannot be made on a detector, and why."""

    attack: str
    why: str


def applicable(suite: Suite, facts: Facts, surrogate: str | None) -> tuple[Suite, list[LeftOut]]:
    """The suite with the attacks that can be made, and those that cannot; raises InputError where none can."""
    reasons = {entry.name: _reason(entry, facts, surrogate) for entry in suite.attacks}
    left_out = [LeftOut(name, why) for name, why in reasons.items() if why]
    entries = [entry for entry in suite.attacks if not reasons[entry.name]]
    if not entries:
        whys = "; ".join(sorted({one.why for one in left_out}))
        raise InputError(f"suite {suite.name} has no attack that can be made on this detector: {whys}")
    return suite.only(entries), left_out


def _reason(entry: Entry, facts: Facts, surrogate: str | None) -> str:
    if entry.knowledge == "white-box" and not facts.differentiable:
        return "the score has no gradient, so the detector is attacked as a black box"
    if entry.needs == "neighbours" and not facts.neighbours:
        return "the score is not made of distances to neighbours"
    if entry.needs == "randomness" and not facts.stochastic:
        return "the score has no randomness to average over"
    if entry.needs == "surrogate" and surrogate is None:
        return "no other model was given; name one with --surrogate"
    return ""


@dataclass(frozen=True)
class Plan:
    """An audit before it begins, in plain values.

    suite: with the attacks that can be made on the detector. surrogate: hash of another model, or None.
    """

    audit: str
    model: Model
    dataset: str
    suite: Suite
    facts: Facts
    images: Images
    seed: int
    device: str
    surrogate: str | None

    @cached_property
    def slices(self) -> list[tuple[int, Images]]:
        """(index of the first, the images) of every batch of the test images."""
        return [(first, take(self.images, range(first, last))) for first, last in batches(self.images, BATCH)]

    @property
    def budgets(self) -> Mapping[Norm, Sequence[float]]:
        """Every norm that is attacked, with all its epsilons, rising."""
        found: dict[Norm, set[float]] = {}
        for entry in self.suite.attacks:
            found.setdefault(entry.norm, set()).update(entry.epsilons)
        return {norm: sorted(epsilons) for norm, epsilons in found.items()}

    @cached_property
    def shards(self) -> list[Shard]:
        """Every attack on every slice."""
        return [
            Shard(
                audit=self.audit,
                model=self.model.hash,
                dataset=self.dataset,
                entry=entry.plain(),
                parameters=entry.hash,
                headline=(self.suite.headline.norm, self.suite.headline.epsilon),
                threshold=self.model.threshold,
                images=images,
                first=first,
                seed=self.seed,
                device=self.device,
                surrogate=self.surrogate if entry.needs == "surrogate" else None,
            )
            for entry in self.suite.attacks
            for first, images in self.slices
        ]

    @cached_property
    def corrupting(self) -> list[Corrupting]:
        """Every corruption of the suite on every slice."""
        wanted = self.suite.corruptions
        if wanted is None:
            return []
        return corruption_job.works(
            wanted.names,
            wanted.severities,
            self.slices,
            audit=self.audit,
            model=self.model.hash,
            dataset=self.dataset,
            seed=self.seed,
            device=self.device,
        )

    @cached_property
    def certifying(self) -> list[Certifying]:
        """Every proof that the detector can give, at the budgets it is attacked at."""
        return certification_job.works(
            self.model.detector,
            self.budgets,
            self.slices,
            audit=self.audit,
            model=self.model.hash,
            dataset=self.dataset,
            seed=self.seed,
            device=self.device,
        )

    @cached_property
    def minimal(self) -> list[Minimal]:
        """The search for the smallest epsilon that turns each decision, if the suite asks for it."""
        if not (self.suite.minimal_epsilon and self.facts.differentiable):
            return []
        return minimal_epsilon_job.works(
            self.budgets,
            self.slices,
            audit=self.audit,
            model=self.model.hash,
            dataset=self.dataset,
            threshold=self.model.threshold,
            seed=self.seed,
            device=self.device,
        )

    @cached_property
    def bank_sizes(self) -> list[BankSize]:
        """Every smaller neighbour bank that the suite asks about, if the detector has one."""
        wanted, headline = self.suite.bank_sizes, self.suite.headline
        if wanted is None:
            return []
        return bank_size_job.works(
            self.model.detector,
            wanted.shares,
            take(self.images, some_of_each(self.images.labels, wanted.samples)),
            audit=self.audit,
            model=self.model.hash,
            dataset=self.dataset,
            norm=headline.norm,
            epsilon=headline.epsilon,
            steps=wanted.steps if self.facts.differentiable else 0,
            seed=self.seed,
            device=self.device,
        )

    @property
    def works(self) -> list[Work]:
        """All of it."""
        return [*self.shards, *self.minimal, *self.certifying, *self.corrupting, *self.bank_sizes]
