"""A sweep's decisions: what to try next and which trial to stop. All of its state is in the trial log.

The Optuna study and the rung table live in memory and are rebuilt from the log, so a resumed sweep decides as an
uninterrupted one would: with a seed and one trial at a time, it asks for the same configurations.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from assay.config import space
from assay.config.search import enqueued
from assay.config.search_space import Spec
from assay.contracts import Plain
from assay.errors import StoreError, SweepError
from assay.hashing import canonical
from assay.models import model_folder
from assay.runtime import retry
from assay.store import best_trial, seeds, trial_log, trials_table
from assay.store.store import Store
from assay.store.trial_log import (
    Ask,
    Begin,
    Earlier,
    End,
    Event,
    Record,
    Report,
    Retry,
    Seeds,
    TrialFailure,
    TrialLog,
    TrialReport,
    excesses,
)
from assay.sweeps import draw, warm_start
from assay.sweeps.asha import SuccessiveHalving
from assay.sweeps.draw import sampler, trial_seed
from assay.sweeps.trial import TrialConfig, checkpoint

STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
"""A record's state -> Optuna's name for it."""

Listener = Callable[[Record, str], None]
"""Called with a trial's record and the event that changed it: `ask`, `begin`, `report`, `retry` or `end`."""


class Study:
    """Hands out orders, takes in reports and writes the log; `listeners` are called on every change."""

    def __init__(self, spec: Spec, store: Store, events: list[Event] | None = None) -> None:
        """events: those of the sweep's log, if already read."""
        self.spec, self.store = spec, store
        self.plain = spec.plain()
        self.log = TrialLog(store, spec.name)
        self.listeners: list[Listener] = []
        self.interrupted = ""  # why the sweep ended before its trials did: interrupt, termination or budget
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.objectives = spec.directions
        self.storage = draw.Redrawable()
        self.study = optuna.create_study(
            storage=self.storage,
            directions=["maximize" if direction == "max" else "minimize" for direction in self.objectives.values()],
        )
        self.halving = None
        if spec.stop_early:
            stop = spec.stop_early
            self.halving = SuccessiveHalving(
                spec.stop_metrics, self.objectives, stop.grace, stop.reduction, spec.ladder
            )
        self.window = draw.TrialWindow(max(draw.ENDED, spec.search.startup), draw.RUNNING)
        self.records: dict[int, Record] = {}
        self.tried: set[bytes] = set()  # assignments, as canonical JSON
        self.earlier = 0  # trials of earlier sweeps, which come first in the Optuna study
        self.waiting: list[int] = []  # trials of an earlier run to be continued or retried
        events = trial_log.read(store, spec.name) if events is None else events
        self._replay_earlier(events)
        self._replay(events)

    def _replay_earlier(self, events: list[Event]) -> None:
        for logged in (event for event in events if event["event"] == "earlier"):
            self._learn(logged)

    def start_from(self) -> list[str]:
        """Show the sampler of a new sweep the trials of `search.start_from`, and return a sentence on each sweep."""
        found = warm_start.collected(self.spec, self.store)
        logged: Earlier = {"event": "earlier", "trials": found.trials, "said": found.said}
        self.log.append(logged)
        self._learn(logged)
        return found.said

    def _learn(self, logged: Earlier) -> None:
        for trial in logged["trials"]:
            self.study.add_trial(
                optuna.trial.create_trial(
                    values=trial["values"],
                    params=trial["parameters"],
                    distributions={name: _distribution(text) for name, text in trial["distributions"].items()},
                    system_attrs=self._constrained(trial["costs"]),
                )
            )
            self.window.note(self.earlier, "complete", self._point(trial["values"]))
            self.earlier += 1

    def _constrained(self, costs: Mapping[str, float]) -> dict[str, float]:
        """How far costs lie above their limits, under the keys by which Optuna's samplers find them."""
        return {f"constraints:{name}": share for name, share in excesses(costs, self.spec.constraints).items()}

    def _replay(self, events: list[Event]) -> None:
        """Rebuild records, study and rungs; reports are replayed in order, as the order decides which trials stop."""
        self.records = trial_log.records(events)
        self._repeated = sum(record.repeats is not None for record in self.records.values())
        for record in self.records.values():
            waits = retry.unfinished(record.state, record.failure)
            if waits:
                self.waiting.append(record.number)
            self._add_to_study(record, "running" if waits else record.state)
            self.tried.add(canonical(record.assignment))
        for event in events:
            if event["event"] == "report" and self.records[event["trial"]].repeats is None:
                self._goes_on(event["trial"], event["epoch"], _compared(event))

    def _add_to_study(self, record: Record, state: str) -> None:
        distributions = {name: _distribution(text) for name, text in record.distributions.items()}
        if distributions.keys() == record.parameters.keys():  # as they are now: the space may have grown since
            fixed = optuna.trial.FixedTrial(record.parameters)
            space.suggest(self.spec.domains, fixed)  # type: ignore[arg-type]
            distributions = fixed.distributions
        self.study.add_trial(
            optuna.trial.create_trial(
                state=STATES[state],
                values=self._values(record, state),
                params=record.parameters,
                distributions=distributions,
                system_attrs={**record.attributes, **self._constrained(record.costs)},
            )
        )
        self._note(record, state)

    def _values(self, record: Record, state: str) -> list[float] | None:
        """What the sampler gets to see of a trial: the objectives of a complete one, nothing of any other."""
        return list(record.values(self.objectives).values()) if state == "complete" else None

    def _note(self, record: Record, state: str) -> None:
        values = self._values(record, state)
        self.window.note(self.earlier + record.number, state, self._point(values) if values else ())

    def _point(self, values: Sequence[float]) -> tuple[float, ...]:
        """Objectives, all to be maximised."""
        directions = self.objectives.values()
        return tuple(v if direction == "max" else -v for v, direction in zip(values, directions, strict=True))

    @property
    def remaining(self) -> int:
        """How many orders remain to be handed out, as far as it can be told: some may have to be trained again."""
        return len(self.waiting) + max(0, self.spec.trials - self._searched) + sum(self._due().values())

    @property
    def _searched(self) -> int:
        """How many trials the search has drawn."""
        return len(self.records) - self._repeated

    def _judged(self) -> list[int]:
        """The trials that are to have other seeds: the best one, or all of the front; none before one is complete."""
        if self.spec.seeds_of == "front":
            return trials_table.pareto(self.objectives, self.records, self.spec.constraints)
        try:
            return [best_trial.choose(self.store, self.spec, self.records).trial]
        except SweepError:  # none is complete
            return []

    def _due(self) -> dict[int, int]:
        """The trials to be trained with other seeds, and how many each lacks; none while any trial runs."""
        if self.spec.seeds < 2 or self._searched < self.spec.trials:
            return {}
        if self.waiting or any(record.state == "running" for record in self.records.values()):
            return {}
        there = seeds.repeats(self.records)
        lacking = {trial: self.spec.seeds - 1 - len(there.get(trial, [])) for trial in self._judged()}
        return {trial: missing for trial, missing in lacking.items() if missing > 0}

    @property
    def ended(self) -> bool:
        """Whether every trial was handed out and has ended."""
        return not self.remaining and all(record.state != "running" for record in self.records.values())

    def next_order(self) -> TrialConfig | None:
        """An unfinished trial of an earlier run, or a new one; None when all have been handed out."""
        if self.waiting:
            return self._order(self._again(self.records[self.waiting.pop(0)]))
        number = len(self.records)
        if self._searched >= self.spec.trials:
            return self._repeat()
        trial, assignment = self._draw(number)
        self.tried.add(canonical(assignment))
        distributions = {name: distribution_to_json(d) for name, d in trial.distributions.items()}
        attributes = self.study.get_trials(deepcopy=False)[self.earlier + number].system_attrs
        asked: Ask = {
            "event": "ask",
            "trial": number,
            "assignment": assignment,
            "parameters": dict(trial.params),
            "distributions": distributions,
            "attributes": dict(attributes),
        }
        self.log.append(asked)
        record = Record(number, assignment, asked["parameters"], distributions, asked["attributes"])
        self.records[number] = record
        self._note(record, record.state)
        self._tell_listeners(record, "ask")
        return self._order(record)

    def _repeat(self) -> TrialConfig | None:
        """The first of the trainings with other seeds that are due, the others put in line; None where none is.

        All are in the log before the first one begins, so that a resumed sweep trains the same ones.
        """
        due = [trial for trial, missing in self._due().items() for _ in range(missing)]
        for trial in due:
            number, of = len(self.records), self.records[trial]
            asked: Ask = {
                "event": "ask",
                "trial": number,
                "assignment": of.assignment,
                "parameters": of.parameters,
                "distributions": of.distributions,
                "attributes": {},
                "repeats": trial,
            }
            self.log.append(asked)
            record = Record(number, of.assignment, of.parameters, of.distributions, repeats=trial)
            self.records[number] = record
            self._repeated += 1
            self._add_to_study(record, "running")
            self.waiting.append(number)
            self._tell_listeners(record, "ask")
        return self._order(self.records[self.waiting.pop(0)]) if due else None

    def settle(self) -> None:
        """Once all seeds are trained, write into the manifests of the models concerned what they came to."""
        if self.spec.seeds < 2 or not self.ended:
            return
        for trial in self._judged():
            record, told = self.records[trial], seeds.described(self.records, trial, self.objectives)
            if record.seeds == told:
                continue
            model = model_folder.amended(self.store, record.reports[-1]["model"], {"seeds": told})
            event: Seeds = {"event": "seeds", "trial": trial, "model": model, "seeds": told}
            self.log.append(event)
            record.apply(event)
            self._tell_listeners(record, "end")

    def _draw(self, number: int) -> tuple[optuna.Trial, Plain]:
        """A trial with a configuration that none had before; the sampler draws again where one had.

        Trained twice, a configuration costs twice and is judged by the luckier of two seeds.
        """
        for attempt in range(draw.DRAWS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)  # of grid and qmc; of no interest to users
                self.study.sampler = sampler(self.spec, number, self.window, attempt)
                if attempt == 0 and number < len(self.spec.search.enqueue):
                    self.study.enqueue_trial(enqueued.parameters(self.spec.search.enqueue[number], self.spec.domains))
                trial = self.study.ask()
                assignment = space.suggest(self.spec.domains, trial)
            if canonical(assignment) not in self.tried:
                break
            if attempt + 1 < draw.DRAWS:
                self.storage.take_back(self.study)
        return trial, assignment

    def _again(self, record: Record) -> Record:
        """An unfinished trial, continued unchanged; a failed one counts as running again from now on."""
        if record.state == "failed":
            event: Retry = {"event": "retry", "trial": record.number}
            self.log.append(event)
            record.apply(event)
            self._tell_listeners(record, "ask")
        return record

    def _order(self, record: Record) -> TrialConfig:
        plain = self.plain
        return TrialConfig(
            sweep=self.spec.name,
            number=record.number,
            seed=trial_seed(self.spec.search.seed, record.number),
            trainable=self.spec.trainable_of(record.assignment),
            dataset=plain["dataset"],
            config=self.spec.config(record.assignment),
            evaluation=plain["evaluation"],
            objectives=plain["objectives"],
            costs=self.spec.costs,
            ladder=tuple(plain["fidelity"]["ladder"]) if plain["fidelity"] else (),
            checked=self._is_checked(record.number),
            evaluation_seed=self.spec.search.seed,
            purpose=self.spec.purpose.stated(),
            device="cuda" if self.spec.resources.on_gpu else "cpu",
            threads=max(1, int(self.spec.resources.cpu)),
        )

    def _is_checked(self, number: int) -> bool:
        """Whether a trial is of the random share that is also measured under the full attack at every rung."""
        fidelity = self.spec.fidelity
        return fidelity is not None and np.random.default_rng([self.spec.search.seed, number]).random() < fidelity.check

    def began(self, number: int) -> None:
        """Record that a worker has begun a trial."""
        record, event = self.records[number], Begin(event="begin", trial=number)
        self.log.append(event)
        record.apply(event)
        self._tell_listeners(record, "begin")

    def report(self, number: int, report: TrialReport | TrialFailure) -> bool:
        """Record a trial's report; returns whether the trial must stop because it is done, failed or pruned."""
        record = self.records[number]
        if record.state != "running":
            return True
        if "epoch" not in report:
            self.failed(number, report["failure"], report["message"])
            return True
        event: Report = {"event": "report", "trial": number, **report}
        if not record.reports or report["epoch"] > record.reports[-1]["epoch"]:
            self.log.append(event)
            record.apply(event)
            self._tell_listeners(record, "report")
        # A finished trial counts in its rungs; a repeat is never stopped, as it is trained for its last figures.
        goes_on = record.repeats is not None or self._goes_on(number, report["epoch"], _compared(report))
        if report["done"] or not goes_on:
            self.end(number, "complete" if report["done"] else "pruned")
        return bool(report["done"] or not goes_on)

    def _goes_on(self, number: int, epoch: int, values: Mapping[str, float]) -> bool:
        return self.halving is None or self.halving.goes_on(number, epoch, values)

    def failed(self, number: int, kind: str, message: str) -> None:
        """Handle a failed attempt at a trial: it is handed out again if its kind of failure allows, or has failed.

        Raises StoreError or SweepError if other trials would fail in the same way.
        """
        record = self.records[number]
        if record.state != "running":
            return
        if retry.again(kind, record.retried[record.counted :], self.spec.retries):
            event: Retry = {"event": "retry", "trial": number, "failure": kind, "message": message}
            self.log.append(event)
            record.apply(event)
            self.waiting.insert(0, number)
            self._tell_listeners(record, "retry")
            return
        self.end(number, "failed", kind, message)
        if kind in retry.ENDS_ALL:
            raise (StoreError if kind == "store" else SweepError)(message)

    def end(self, number: int, state: str, failure: str = "", message: str = "") -> None:
        """Log a trial's end and pass it to the sampler: pruned as PRUNED, failed as FAIL, never as complete."""
        record = self.records[number]
        event: End = {"event": "end", "trial": number, "state": state, "failure": failure, "message": message}
        self.log.append(event)
        record.apply(event)
        at = self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, self.earlier + number)
        for name, share in self._constrained(record.costs).items():
            self.storage.set_trial_system_attr(at, name, share)
        self.study.tell(self.earlier + number, self._values(record, state), STATES[state])
        self._note(record, state)
        if failure not in retry.OUTSIDE:  # those are retried from their saved state
            self.store.remove(checkpoint(self.spec.name, number))
        self._tell_listeners(record, "end")

    def _tell_listeners(self, record: Record, event: str) -> None:
        for listener in self.listeners:
            listener(record, event)


def _compared(report: TrialReport | Report) -> Mapping[str, float]:
    """The figures by which a trial is compared at a rung: of the best epoch so far, on a ladder those of the rung."""
    return report["values"] if report.get("rung") else report["kept"]


_distribution = functools.cache(json_to_distribution)  # a sweep has few, and every trial repeats them
