"""A sweep's decisions: what to try next and which trial to stop. Everything it knows is in the trial log.

The Optuna study and the rung table live in memory and are rebuilt from the log, so a resumed sweep decides as the
uninterrupted one would have: one trial at a time and with a seed, it asks for the same configurations.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from assay import failures, space, trial_log
from assay.halving import Halving
from assay.spec import Spec
from assay.store import Store
from assay.trial import Order, checkpoint
from assay.trial_log import ASKED, Record, TrialLog

STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
"""A record's state -> what Optuna calls it."""

Listener = Callable[[Record, str], None]
"""Called with a trial's record and the event that changed it: `ask`, `report` or `end`."""


class Study:
    """Hands out orders, takes in reports, writes the log; `listeners` are told of every change."""

    def __init__(self, spec: Spec, store: Store) -> None:
        self.spec, self.store = spec, store
        self.plain = spec.plain()
        self.log = TrialLog(store, spec.name)
        self.listeners: list[Listener] = []
        self.interrupted = ""  # why the sweep ended before its trials did: interrupt or budget
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.objectives = spec.directions
        self.study = optuna.create_study(
            directions=["maximize" if direction == "max" else "minimize" for direction in self.objectives.values()]
        )
        self.halving = None
        if spec.stop_early:
            stop = spec.stop_early
            self.halving = Halving(spec.stop_metrics, self.objectives, stop.grace, stop.reduction)
        self.records: dict[int, Record] = {}
        self.waiting: list[int] = []  # trials of an earlier run that are to go on, or to be tried again
        self._replay(trial_log.read(store, spec.name))

    def _replay(self, events: list[dict[str, Any]]) -> None:
        """Rebuild records, study and rungs; rungs in the order in which reports came, as that decides who stops."""
        self.records = trial_log.records(events)
        for record in self.records.values():
            waits = record.state == "running" or record.failure in failures.OUTSIDE
            if waits:
                self.waiting.append(record.number)
            self._add_to_study(record, TrialState.RUNNING if waits else STATES[record.state])
        for event in events:
            if event["event"] == "report":
                self._goes_on(event["trial"], event["epoch"], event["kept"])

    def _add_to_study(self, record: Record, state: TrialState) -> None:
        distributions = {name: json_to_distribution(text) for name, text in record.distributions.items()}
        values = list(record.values(self.objectives).values()) if record.state == "complete" else None
        self.study.add_trial(
            optuna.trial.create_trial(
                state=state,
                values=values,
                params=record.parameters,
                distributions=distributions,
                system_attrs=record.attributes,
            )
        )

    @property
    def remaining(self) -> int:
        """How many orders are still to be handed out."""
        return len(self.waiting) + self.spec.trials - len(self.records)

    @property
    def ended(self) -> bool:
        """Whether every trial was handed out and has ended."""
        return not self.remaining and all(record.state != "running" for record in self.records.values())

    def next_order(self) -> Order | None:
        """An unfinished trial of an earlier run, or a new one; None when all have been handed out."""
        if self.waiting:
            return self._order(self._again(self.records[self.waiting.pop(0)]))
        number = len(self.records)
        if number >= self.spec.trials:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of grid and qmc; no news to who runs a sweep
            self.study.sampler = sampler(self.spec, number)
        trial = self.study.ask()
        assignment = space.suggest(self.spec.domains, trial)
        distributions = {name: distribution_to_json(d) for name, d in trial.distributions.items()}
        attributes = self.study.get_trials(deepcopy=False)[number].system_attrs
        record = Record(number, assignment, dict(trial.params), distributions, dict(attributes))
        self.log.append({"event": "ask", "trial": number, **{key: getattr(record, key) for key in ASKED}})
        self.records[number] = record
        self._tell_listeners(record, "ask")
        return self._order(record)

    def _again(self, record: Record) -> Record:
        """An unfinished trial as it is; one that failed is running again from here on."""
        if record.state == "failed":
            event = {"event": "retry", "trial": record.number}
            self.log.append(event)
            record.apply(event)
            self._tell_listeners(record, "ask")
        return record

    def _order(self, record: Record) -> Order:
        plain = self.plain
        return Order(
            sweep=self.spec.name,
            number=record.number,
            seed=trial_seed(self.spec.search.seed, record.number),
            trainable=self.spec.trainable_of(record.assignment),
            dataset=plain["dataset"],
            config=self.spec.config(record.assignment),
            evaluation=plain["evaluation"],
            objectives=plain["objectives"],
            purpose=self.spec.purpose.stated(),
            device="cuda" if self.spec.resources.gpu else "cpu",
            threads=max(1, int(self.spec.resources.cpu)),
        )

    def report(self, number: int, report: Mapping[str, Any]) -> bool:
        """Take in a trial's report; returns whether the trial is to stop (it is done, failed or pruned)."""
        record = self.records[number]
        if record.state != "running":
            return True
        if report.get("failure"):
            self.end(number, "failed", report["failure"], report["message"])
            return True
        event = {"event": "report", "trial": number, **report}
        if not record.reports or report["epoch"] > record.reports[-1]["epoch"]:
            self.log.append(event)
            record.apply(event)
            self._tell_listeners(record, "report")
        goes_on = self._goes_on(number, report["epoch"], report["kept"])  # a trial that is done counts in its rungs
        if report["done"] or not goes_on:
            self.end(number, "complete" if report["done"] else "pruned")
        return bool(report["done"] or not goes_on)

    def _goes_on(self, number: int, epoch: int, values: Mapping[str, float]) -> bool:
        return self.halving is None or self.halving.goes_on(number, epoch, values)

    def end(self, number: int, state: str, failure: str = "", message: str = "") -> None:
        """Write a trial's end to the log and tell the sampler: pruned as PRUNED, failed as FAIL, never as complete."""
        record = self.records[number]
        event = {"event": "end", "trial": number, "state": state, "failure": failure, "message": message}
        self.log.append(event)
        record.apply(event)
        values = list(record.values(self.objectives).values()) if state == "complete" else None
        self.study.tell(number, values, STATES[state])
        if failure not in failures.OUTSIDE:  # such a trial is tried again, from its saved state
            self.store.remove(checkpoint(self.spec.name, number))
        self._tell_listeners(record, "end")

    def _tell_listeners(self, record: Record, event: str) -> None:
        for listener in self.listeners:
            listener(record, event)


def trial_seed(seed: int, number: int) -> int:
    """The training seed of a trial: different for every trial of a sweep, the same whenever it is run."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def sampler(spec: Spec, number: int) -> optuna.samplers.BaseSampler:
    """The sampler for trial `number`, seeded by the sweep's seed and that number.

    A fresh one each time: a sampler's own random state would be lost with the process, a number is in the log.
    """
    seed, search = trial_seed(spec.search.seed + 1, number), spec.search
    if search.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=search.startup)
    if search.sampler == "nsga2":
        return Generations(seed=seed, population_size=search.startup)
    if search.sampler == "grid":
        return Grid(seed=seed)
    if search.sampler == "qmc":
        return Sobol(search.seed, seed, number)
    return optuna.samplers.RandomSampler(seed=seed)


class Generations(optuna.samplers.NSGAIISampler):
    """NSGA-II whose parents always come in the order of their numbers."""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """As Optuna gives them except for the first time, which is another trial after a resume."""
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)


class Grid(optuna.samplers.BruteForceSampler):
    """Every point of the space once, in random order."""

    def after_trial(self, *told: Any) -> None:
        """Nothing: Optuna would stop its own loop after the last point, and there is none. Spec.trials says when."""


class Sobol(optuna.samplers.QMCSampler):
    """Points of one scrambled Sobol sequence; parameters that the first trial has not are drawn at random."""

    def __init__(self, seed: int, trial_seed: int, number: int) -> None:
        rest = optuna.samplers.RandomSampler(seed=trial_seed)
        super().__init__(seed=seed, scramble=True, independent_sampler=rest, warn_independent_sampling=False)
        self.number = number

    def _find_sample_id(self, study: optuna.Study, search_space: Mapping[str, Any]) -> int:
        """The trial's own number: Optuna counts in memory, and would begin again after a resume."""
        return self.number
