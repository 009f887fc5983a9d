"""Forecasts an audit before it begins: the passes and the seconds of every attack, corruption and check.

Everything is made once on a few of the images and a detector that costs next to nothing (`stand_in.py`), which counts
the passes; a pass of the real detector is timed. What a search or a check does may depend on the detector, so the
forecast is no promise. It leaves out what no pass is made for: intervals, tables, the start of the workers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from assay.audits import explanations, self_checks, tables
from assay.audits.attack_job import AttackJob
from assay.audits.certification_job import CertificationJob
from assay.audits.checks import _kept
from assay.audits.checks._context import Context
from assay.audits.corruption_job import CorruptionJob
from assay.audits.job import Job
from assay.audits.minimal_epsilon_job import MinimalEpsilonJob
from assay.audits.plan import Plan
from assay.audits.stand_in import StandIn
from assay.contracts import Images
from assay.data.reduced import take
from assay.metrics import detection
from assay.models.scoring import pixels, some_of_each
from assay.store import score_matrix
from assay.store.store import Store

if TYPE_CHECKING:
    from torch import nn

SIDE = 16  # pixels of the images that passes are counted on
EACH = 32  # of each class, at most: as many as the checks of the shipped suites begin with
LONGEST, MOST = 0.5, 16  # seconds and images of a batch that is timed


@dataclass(frozen=True)
class Piece:
    """All work of one name, as progress has it, in `parts`. forwards, backwards: images that pass the detector, in all.

    seconds: on one core or GPU, of all parts; None where it cannot be foreseen.
    """

    work: str
    parts: int
    forwards: float
    backwards: float
    seconds: float | None

    def of(self, parts: int, images: int) -> Piece:
        """So many parts with so many images, of the forecast of one image."""
        seconds = None if self.seconds is None else self.seconds * images
        return Piece(self.work, parts, round(self.forwards * images), round(self.backwards * images), seconds)


@dataclass(frozen=True)
class Forecast:
    """An audit's work ahead. jobs, and when these are done checks: shared out among `workers`.

    forward, backward: measured seconds of a pass of one image, on `device`.
    """

    jobs: tuple[Piece, ...]
    checks: tuple[Piece, ...]
    workers: int
    device: str
    forward: float
    backward: float

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All of them."""
        return (*self.jobs, *self.checks)

    @property
    def seconds(self) -> float:
        """Wall time with so many workers; never less than the longest part takes."""
        return sum(_together(pieces, self.workers) for pieces in (self.jobs, self.checks))

    def plain(self) -> dict[str, object]:
        """As JSON values."""
        return {**asdict(self), "seconds": self.seconds}


@dataclass(frozen=True)
class Rate:
    """Measured seconds of a pass of one image. backward: what a gradient adds; 0 where there is none."""

    forward: float
    backward: float

    def seconds(self, passed: StandIn) -> float:
        """What the passes that a stand-in counted would take."""
        return passed.forwards * self.forward + passed.backwards * self.backward


def _together(pieces: Sequence[Piece], workers: int) -> float:
    longest = max(((piece.seconds or 0.0) / piece.parts for piece in pieces), default=0.0)
    return max(longest, sum(piece.seconds or 0.0 for piece in pieces) / workers)


def of(store: Store, plan: Plan, workers: int | None, device: str, others: Sequence[nn.Module] = ()) -> Forecast:
    """The forecast of what is not yet in the store.

    device: where passes are timed. others: the surrogate and the deployed file, of an audit that has them.
    """
    own = rate(plan.model.detector, plan.images, device, plan.facts.differentiable)
    rates = [own, *(rate(other, plan.images, device, False) for other in others)]
    few = _few(plan.images)
    todo = {job.key for job in plan.jobs if not job.done(store)}
    pieces, scores = list[Piece](), list[pa.Table]()
    for _, every in groupby(plan.jobs, lambda job: job.label):
        whole = list(every)
        parts = [job for job in whole if job.key in todo]
        if parts or isinstance(whole[0], AttackJob):  # the checks need the scores of all attacks
            counted, tables_ = _counted(whole[0], few, plan, rates, device)
            scores += tables_[:1] if isinstance(whole[0], AttackJob) else []
            if parts:
                pieces.append(counted.of(len(parts), sum(len(job.images) for job in parts)))
    at_a_time = max(1, min(workers or len(todo), len(todo)))
    kept = {f"check {name}" for name in _kept.of(store, plan.audit)}
    checks = tuple(piece for piece in _checks(plan, few, scores, own) if piece.work not in kept)
    return Forecast(tuple(pieces), checks, at_a_time, device, own.forward, own.backward)


def rate(detector: nn.Module, images: Images, device: str, gradient: bool) -> Rate:
    """Time passes of a few images, after one that is not counted."""

    def passed(count: int, with_gradient: bool) -> float:
        batch = pixels(images, 0, count, device).requires_grad_(with_gradient)
        began = time.perf_counter()
        with torch.set_grad_enabled(with_gradient):
            scores = detector(batch)
        made = torch.autograd.grad(scores.sum(), batch)[0] if with_gradient else scores
        made.sum().item()  # waits until the device is done
        return (time.perf_counter() - began) / count

    slowest = max(passed(1, gradient), 1e-6)
    count = max(1, min(MOST, len(images), int(LONGEST / slowest)))
    forward = min(passed(count, False) for _ in range(2))
    return Rate(forward, max(0.0, passed(count, True) - forward) if gradient else 0.0)


def _few(images: Images) -> Images:
    """Some images of each class, small."""
    some = take(images, some_of_each(images.labels, EACH))
    small = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(some.pixels).float(), SIDE)
    return replace(some, pixels=small.round().to(torch.uint8).numpy())


def _counted(job: Job, few: Images, plan: Plan, rates: Sequence[Rate], device: str) -> tuple[Piece, Sequence[pa.Table]]:
    """The forecast of a job for one image, with fractions of passes, and the tables of those that it was made on."""
    began, one = time.perf_counter(), take(job.images, [0])
    if isinstance(job, CertificationJob):  # the detector's own work: timed on one image
        made = job.compute(one, plan.model.detector.to(device))
        return Piece(job.label, 1, 0, 0, time.perf_counter() - began), made
    passed = [_stand_in(few, plan.facts.differentiable), *(_stand_in(few) for _ in rates[1:])]
    # A change of the pixels may take longer than the pass, so a corruption is made and timed on an image of full size.
    corrupts = isinstance(job, CorruptionJob)
    some = one if corrupts else few
    try:
        made = _at(passed[0].threshold, job).compute(some, *_needed(job, passed))
    except Exception:  # noqa: BLE001 - an attack of the user's own may ask for a detector like theirs, and raise anything
        return Piece(job.label, 1, 0, 0, None), ()
    work = time.perf_counter() - began if corrupts else 0.0
    seconds = sum(rate.seconds(each) for rate, each in zip(rates, passed, strict=True)) + work
    forwards, backwards = (sum(getattr(each, way) for each in passed) / len(some) for way in StandIn.COUNTED)
    return Piece(job.label, 1, forwards, backwards, seconds / len(some)), made


def _stand_in(few: Images, gradient: bool = True) -> StandIn:
    """That stores the normals among a few images."""
    return StandIn(pixels(take(few, np.flatnonzero(few.labels == 0)), 0, len(few)), gradient)


def _at(threshold: float, job: Job) -> Job:
    """The job on this machine's CPU, against the decisions at another threshold where it is about decisions."""
    if isinstance(job, AttackJob | MinimalEpsilonJob):
        return replace(job, device="cpu", threshold=threshold)
    return replace(job, device="cpu")


def _needed(job: Job, passed: Sequence[StandIn]) -> list[StandIn]:
    """The stand-ins that a job is given: the detector's, and where it needs them the surrogate's and the file's."""
    if not isinstance(job, AttackJob):
        return [passed[0]]
    return [passed[0], *([passed[1]] if job.surrogate else []), *([passed[-1]] if job.replayed else [])]


def _checks(plan: Plan, few: Images, scores: Sequence[pa.Table], own: Rate) -> list[Piece]:
    """The forecast of the maps of gradients and of every check, after the attacks on the stand-in gave these scores."""
    if not scores:
        return []
    passed, pieces, whole = _stand_in(few, plan.facts.differentiable), list[Piece](), pa.concat_tables(scores)
    metrics = detection.table(score_matrix.read(whole), threshold=passed.threshold)
    made = set(whole["attack"].to_pylist())
    context = Context(
        detector=passed,
        images=few,
        suite=plan.suite.only([entry for entry in plan.suite.attacks if entry.name in made]),
        scores=tables.columns(whole),
        metrics=tables.columns(metrics),
        threshold=passed.threshold,
        facts=plan.facts,
    )

    def note(work: str) -> None:
        pieces.append(Piece(work, 1, passed.forwards, passed.backwards, own.seconds(passed)))
        passed.forwards = passed.backwards = 0

    if plan.facts.differentiable:
        explanations.tables(passed, few, np.zeros((len(few), SIDE, SIDE), bool), "cpu")
    note("explanations")
    try:
        self_checks.table(context, lambda check, _: note(f"check {check}"))
    except Exception:  # noqa: BLE001 - a check may need what only the real detector has
        pieces.append(Piece("the other checks", 1, 1, 0, None))
    return [piece for piece in pieces if piece.forwards]
