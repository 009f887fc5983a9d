"""What an audit does to one detector: the attacks of its suite that can be made, and every job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from assay.attacks import apgd, pgd
from assay.audits.attack_job import AttackJob
from assay.audits.bank_size_job import BankSizeJob
from assay.audits.certification_job import CONFIDENCE, CertificationJob
from assay.audits.corruption_job import CorruptionJob
from assay.audits.job import About, Job
from assay.audits.minimal_epsilon_job import MinimalEpsilonJob
from assay.audits.suite import Entry, Suite
from assay.contracts import Images, Norm
from assay.data.reduced import take
from assay.errors import InputError
from assay.models import certificates
from assay.models.model_folder import Model
from assay.models.preflight import Facts
from assay.models.scoring import BATCH, batches, some_of_each

ON_GPU = 4 * BATCH
"""Images of a job on a GPU: fewer leave it waiting for the host. Where they do not fit, the job halves them."""


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
    if entry.needs == "monotone" and not facts.monotone:
        return "the detector does not state that its score is monotone in every pixel"
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
    def slices(self) -> list[Images]:
        """The test images, batch by batch."""
        size = BATCH if self.device == "cpu" else ON_GPU
        return [take(self.images, range(first, last)) for first, last in batches(self.images, size)]

    @property
    def budgets(self) -> Mapping[Norm, Sequence[float]]:
        """Every norm that is attacked, with all its epsilons, rising."""
        by_norm: dict[Norm, set[float]] = {}
        for entry in self.suite.attacks:
            by_norm.setdefault(entry.norm, set()).update(entry.epsilons)
        return {norm: sorted(epsilons) for norm, epsilons in by_norm.items()}

    @property
    def about(self) -> About:
        """What all jobs share."""
        return {
            "audit": self.audit,
            "model": self.model.hash,
            "dataset": self.dataset,
            "seed": self.seed,
            "device": self.device,
        }

    @cached_property
    def attacks(self) -> list[AttackJob]:
        """Every attack on every slice."""
        return [
            AttackJob(
                **self.about,
                images=images,
                entry=entry.plain(),
                parameters=entry.hash,
                headline=(self.suite.headline.norm, self.suite.headline.epsilon),
                threshold=self.model.threshold,
                surrogate=self.surrogate if entry.needs == "surrogate" else None,
                stochastic=self.facts.stochastic,
                replayed="deployed" in self.model.manifest,
            )
            for entry in self.suite.attacks
            for images in self.slices
        ]

    @cached_property
    def corruptions(self) -> list[CorruptionJob]:
        """Every corruption of the suite on every slice."""
        wanted = self.suite.corruptions
        return [
            CorruptionJob(**self.about, images=images, corruption=name, severities=tuple(wanted.severities))
            for name in (wanted.names if wanted else ())
            for images in self.slices
            if wanted
        ]

    @cached_property
    def certifications(self) -> list[CertificationJob]:
        """Every proof that the detector can give, at the budgets it is attacked at."""
        norms = [norm for norm in certificates.norms(self.model.detector) if self.budgets.get(norm)]
        return [
            CertificationJob(
                **self.about,
                images=images,
                norm=norm,
                radii=tuple(self.budgets[norm]),
                confidence=CONFIDENCE,
                among=len(norms) * len(self.images),
            )
            for norm in norms
            for images in self.slices
        ]

    @cached_property
    def minimal_epsilons(self) -> list[MinimalEpsilonJob]:
        """The search for the smallest epsilon that turns each decision, if the suite asks for it."""
        if not (self.suite.minimal_epsilon and self.facts.differentiable):
            return []
        return [
            MinimalEpsilonJob(
                **self.about, images=images, norm=norm, epsilons=tuple(epsilons), threshold=self.model.threshold
            )
            for norm, epsilons in self.budgets.items()
            if norm in apgd.NORMS
            for images in self.slices
        ]

    @cached_property
    def bank_sizes(self) -> list[BankSizeJob]:
        """Every smaller neighbour bank that the suite asks about, if the detector has one."""
        wanted, headline = self.suite.bank_sizes, self.suite.headline
        if wanted is None or not hasattr(self.model.detector, "with_bank"):
            return []
        images = take(self.images, some_of_each(self.images.labels, wanted.samples))
        steps = wanted.steps if self.facts.differentiable and headline.norm in pgd.NORMS else 0
        return [
            BankSizeJob(
                **self.about, images=images, share=share, norm=headline.norm, epsilon=headline.epsilon, steps=steps
            )
            for share in wanted.shares
        ]

    @property
    def jobs(self) -> list[Job]:
        """All of it."""
        return [*self.attacks, *self.minimal_epsilons, *self.certifications, *self.corruptions, *self.bank_sizes]
