"""A search-space file: its sections, read and checked as a whole before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, MinLen
from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainValidator,
    PrivateAttr,
    SkipValidation,
)

from assay import shelves
from assay.config import binding, parameters, space
from assay.config.domains import Choice
from assay.config.intended_use import Purpose
from assay.config.search.fidelity import Fidelity
from assay.config.section import Section
from assay.config.space import Assignment, Space
from assay.contracts import Norm, Plain
from assay.errors import InputError, suggest
from assay.hashing import canonical, digest
from assay.shelves import Item, Shelf
from assay.units import Count, Fraction, NonNegative, Positive, Radius, Rate

OBJECTIVES = ("clean_auroc", "robust_auroc", "certified_auroc")
"""The figures a trial measures; the last one, what is proven of the detector, only where it is an objective."""
COSTS = ("latency_ms", "parameters", "memory_mb", "false_alarms", "train_seconds")
"""The costs it can measure, defined in `sweeps/costs.py`: to be limited, or an objective to be minimised."""


def _folder_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", value):
        raise ValueError("names a folder, so it must be letters, digits, - and _, at most 100")
    return value


def _project(value: str) -> str:
    if not re.fullmatch(r"[^/\\#?%:\x00-\x1f]{1,128}", value):
        raise ValueError("is a project's name on W&B, so it must have 1 to 128 characters and none of / \\ # ? % :")
    return value


def _one_of(*names: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"must be one of {', '.join(names)}{suggest(value, names)}")
        return value

    return AfterValidator(check)


def _metric(value: Any) -> Any:
    names = [value] if isinstance(value, str) else value
    if value != "all" and not (isinstance(names, list) and names and all(name in OBJECTIVES for name in names)):
        raise ValueError(f"must be all, one of {', '.join(OBJECTIVES)}, or a list of them")
    return value


def _trainable(value: Any) -> str | Choice:
    if not isinstance(value, (str, Choice)):
        raise ValueError("must be the name of a trainable, or `choice: [...]` of several")
    return value


def _sampler(value: str) -> str:
    try:
        shelves.load("samplers", value)
    except InputError as error:
        raise ValueError(str(error)) from None
    return value


Name = Annotated[str, AfterValidator(_folder_name)]
Objective = Annotated[str, _one_of(*OBJECTIVES)]
Measure = Annotated[str, _one_of(*OBJECTIVES, *COSTS)]


class Evaluation(Section):
    """How every trial is measured, the same for all; in the file, the attack's parameters stand beside its name.

    every: number of epochs between evaluations. false_alarm_rate: share of the normal validation images that the
    threshold flags as anomalous.
    """

    attack: Annotated[Item, Shelf("attacks")]
    norm: Norm = "linf"
    epsilon: Radius
    every: Count = 5
    false_alarm_rate: Rate = 0.05


class Best(Section):
    """Which model is chosen when several are Pareto-optimal."""

    maximize: Annotated[str, _one_of("mean", *OBJECTIVES)] = "mean"
    at_least: Mapping[Objective, Fraction] = {}


class Search(Section):
    """How trials are drawn; the first `startup` are random, before the sampler uses its own model.

    No configuration is drawn twice; a sweep has at most as many trials as there are configurations. enqueue:
    configurations to begin with, such as {adversary.epsilon: 2/255}; what they leave out is drawn. start_from: earlier
    sweeps whose trials the sampler learns from, where the searches agree.

    There is no cmaes: Optuna's takes neither several objectives nor choices, and keeps its state pickled in the trials;
    gp serves in its place. Nor is there population-based training, whose trials cannot be repeated one by one.
    """

    trials: Count
    sampler: Annotated[str, AfterValidator(_sampler)] = "tpe"
    seed: Annotated[int, Ge(0)] = 0
    startup: Count = 10
    enqueue: Sequence[Mapping[str, Any]] = ()
    start_from: Sequence[str] = ()


class StopEarly(Section):
    """When poor trials are stopped: after `grace` epochs and at later rungs, one in `reduction` continues."""

    grace: Count
    scheduler: Literal["asha"] = "asha"
    metric: Annotated[str | list[str], BeforeValidator(_metric)] = "all"
    reduction: Annotated[int, Ge(2)] = 3

    def metrics(self, objectives: Iterable[str]) -> tuple[str, ...]:
        """The objectives that early stopping looks at, which are AUROCs."""
        if self.metric == "all":
            return tuple(name for name in objectives if name not in COSTS)
        return (self.metric,) if isinstance(self.metric, str) else tuple(self.metric)


class Resources(Section):
    """What one trial takes, and how many may run concurrently (None: as many as fit).

    gpu: number of GPUs, or a share of one. memory_gb: of main memory.
    """

    cpu: Positive = 1.0
    gpu: NonNegative = 0.0
    memory_gb: Positive | None = None
    concurrent: Count | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether a trial runs on a GPU."""
        return bool(self.gpu)


class Price(Section):
    """Price of an hour of one GPU and of one CPU core; omitted ones are free."""

    gpu_hour: NonNegative = 0.0
    cpu_hour: NonNegative = 0.0
    currency: Annotated[str, MinLen(1)] = "USD"


class Budget(Section):
    """Limits that end the sweep before all its trials have run; the first one reached counts.

    wall_minutes: since it was started or resumed. gpu_hours, cpu_hours: over all its runs, the hours its trials held
    a worker, times `resources.gpu` or `resources.cpu`. cost: of these hours, according to `price`.
    """

    wall_minutes: Positive | None = None
    gpu_hours: Positive | None = None
    cpu_hours: Positive | None = None
    cost: Positive | None = None
    price: Price | None = None


class Tracking(Section):
    """Where progress is mirrored to."""

    wandb: bool = True
    project: Annotated[str, AfterValidator(_project)] = "assay"


class Spec(Section):
    """A whole search-space file; `fixed` is the trainable's configuration without what is searched.

    trainable: a name, or a Choice of several; each of those brings its own parameters, and there is no other space.
    objectives: what is searched for, an AUROC at least; costs may stand beside them, such as {latency_ms: min}. They
    decide about the Pareto front; the kept epoch, early stopping and the mean are of the AUROCs alone.
    constraints: the most that a detector may cost: latency_ms of one image, how many numbers it stores (parameters) and
    how many megabytes (memory_mb), false_alarms (the share of normals) under the evaluation's attack, train_seconds
    without evaluations. A trial above a limit is never best while another keeps within all of them.
    seeds: trainings of a configuration before it is called best. When the search has ended, the best one is trained
    with other seeds and judged by their mean; another that is then ahead is, too, until the best has all its seeds.
    seeds_of: `front` trains all of the Pareto front with other seeds, until the front of the means has all of them.
    retries: how often a trial is restarted after its process died; other failures have their own rules (`retry`).
    """

    name: Name
    trainable: Annotated[str | Choice, PlainValidator(_trainable)]
    dataset: Annotated[Item, Shelf("datasets")]
    fixed: Mapping[str, Any] = {}
    space: Annotated[Space, SkipValidation]
    evaluation: Evaluation
    objectives: Annotated[Mapping[Measure, Annotated[str, _one_of("max", "min")]], MinLen(1)]
    constraints: Mapping[Annotated[str, _one_of(*COSTS)], NonNegative] = {}
    best: Best = Best()
    search: Search
    stop_early: StopEarly | None = None
    fidelity: Fidelity | None = None
    resources: Resources = Resources()
    budget: Budget = Budget()
    seeds: Count = 1
    seeds_of: Literal["best", "front"] = "best"
    retries: Annotated[int, Ge(0)] = 2
    tracking: Tracking = Tracking()
    purpose: Purpose = Purpose()
    _configs: dict[bytes, Plain] = PrivateAttr(default_factory=dict)

    @property
    def domains(self) -> Space:
        """Everything drawn for a trial: the space, or the trainable if there are several."""
        return self.space if isinstance(self.trainable, str) else {"trainable": self.trainable}

    def trainable_of(self, assignment: Assignment) -> str:
        """The name of an assignment's trainable."""
        return self._drawn(assignment)[0]

    def _drawn(self, assignment: Assignment) -> tuple[str, Assignment]:
        """The trainable's name, and the parameters that were drawn for it."""
        if isinstance(self.trainable, str):
            return self.trainable, assignment
        return shelves.normal_form(assignment["trainable"])

    @property
    def stop_metrics(self) -> tuple[str, ...]:
        """The objectives that early stopping looks at; empty without early stopping."""
        return self.stop_early.metrics(self.objectives) if self.stop_early else ()

    @property
    def ladder(self) -> tuple[int, ...]:
        """The epochs at which the lower rungs of the fidelity ladder end; empty without one."""
        return tuple(rung.until for rung in self.fidelity.ladder) if self.fidelity else ()

    @property
    def trials(self) -> int:
        """The number of trials: as many as asked for, but no more than there are configurations, as none runs twice."""
        return min(self.search.trials, space.size(self.domains) or self.search.trials)

    def config(self, assignment: Assignment) -> Plain:
        """The trainable's whole configuration for an assignment: plain values, every default filled in."""
        key = canonical(assignment)
        if key not in self._configs:  # validated once: the same trial is run, listed and written with it
            name, drawn = self._drawn(assignment)
            self._configs[key] = binding.configuration(shelves.load("trainables", name), self.fixed, drawn)
        return dict(self._configs[key])

    def plain(self) -> Plain:
        """The whole file with defaults filled in, as JSON values that `check` reads as an equal Spec."""
        sections = [key for key in type(self).model_fields if key not in ("trainable", "space")]
        whole = {key: parameters.resolved(getattr(self, key)) for key in sections}
        trainable = self.trainable if isinstance(self.trainable, str) else self.trainable.plain()
        attack = whole["evaluation"].pop("attack")
        whole["evaluation"] = {"attack": attack.pop("name"), **attack, **whole["evaluation"]}
        for rung in (whole["fidelity"] or {}).get("ladder", ()):
            attack = rung.pop("attack")
            rung |= {"attack": attack.pop("name"), **attack}
        return {**whole, "trainable": trainable, "space": space.plain(self.space)}

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of `plain()` without its budget, which may change on resuming."""
        return digest(canonical({key: value for key, value in self.plain().items() if key != "budget"}))

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs that are to be measured: those that are limited, and those that are objectives."""
        return tuple(dict.fromkeys([*self.constraints, *(name for name in self.objectives if name in COSTS)]))

    @property
    def directions(self) -> dict[str, str]:
        """Objective -> `max` or `min`, in the order of the file."""
        return {str(name): direction for name, direction in self.objectives.items()}

    def summary(self) -> str:
        """One line of text: `search space elpv-mono-64: 24 trials over 6 parameters`."""
        trials, count = self.trials, len(space.varied(self.domains))
        plural = ["" if number == 1 else "s" for number in (trials, count)]
        fewer = f" (there are no more configurations, and {self.search.trials} trials were asked for)"
        more = fewer if trials < self.search.trials else ""
        return f"search space {self.name}: {trials} trial{plural[0]} over {count} parameter{plural[1]}{more}"
