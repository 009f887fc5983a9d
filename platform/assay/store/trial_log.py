"""The trial log: every event of a sweep, appended as it happens. The one truth that a sweep is rebuilt from.

`sweeps/<name>/log/NNNN.jsonl` (`NNNN-<run>.jsonl` in object storage, where no two runs may write to one object), a
segment or more for every run of the driver, one JSON event a line. The first event of a segment carries the `format`
of the log as well. A line that was cut short by a crash is the last of its segment and is left out on reading.
Events: `ask` (a new configuration), `begin` (a worker has begun it), `report` (figures at an epoch), `end` (complete,
pruned or failed), `retry` (an attempt came to nothing, by which kind of failure, and it is tried again; without a kind:
one that had ended so, when the sweep was resumed), `seeds` (what the seeds of the best configuration came to).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NotRequired, TypedDict, final

from assay.contracts import Plain
from assay.errors import StoreError
from assay.runtime.provenance import Environment
from assay.store import formats
from assay.store.log_segments import Appended, Rewritten
from assay.store.store import Store


class TrialReport(TypedDict):
    """What a trial reports after an evaluation.

    epoch: how many are trained, of `epochs`. values: the objectives now. kept: those of the best epoch so far, and that
    `epoch`. intervals: 95 % bounds of those kept, where they have any. costs: of that epoch's detector, those that the
    search space limits. losses: of the last epoch. attempts: how often the trial was begun. seconds: of training and
    evaluation. rung: "" or the attack of a lower rung of the fidelity ladder, by which `values` were then measured;
    they are no objectives, and nothing is kept yet. checked: the same figures under the full attack, of some trials.
    node: the name of the machine.
    done: whether it was the last; then `model` is the hash of the model written, else "".
    """

    epoch: int
    epochs: int
    values: dict[str, float]
    kept: dict[str, float]
    intervals: NotRequired[dict[str, list[float]]]
    costs: NotRequired[dict[str, float]]
    rung: NotRequired[str]
    checked: NotRequired[dict[str, float]]
    losses: dict[str, float]
    seed: int
    attempts: int
    seconds: float
    node: NotRequired[str]
    done: bool
    model: str


@final
class TrialFailure(TypedDict):
    """What a worker reports of a trial that failed: the kind of failure (see retry.py) and a message for a person."""

    failure: str
    message: str


class Start(TypedDict):
    """A run of the driver begins. dataset: the hash of its images."""

    event: Literal["start"]
    dataset: str
    environment: NotRequired[Environment]


class Ask(TypedDict):
    """A new configuration, or another training of an earlier trial's; the fields are those of Record."""

    event: Literal["ask"]
    trial: int
    assignment: Plain
    parameters: Plain
    distributions: dict[str, str]
    attributes: Plain
    repeats: NotRequired[int]


class Seeds(TypedDict):
    """All seeds of a trial's configuration have been trained. model: its model, whose manifest now says `seeds`."""

    event: Literal["seeds"]
    trial: int
    model: str
    seeds: Plain


class Earlier(TypedDict):
    """Trials of earlier sweeps that the sampler is shown, each with parameters, distributions, values and costs."""

    event: Literal["earlier"]
    trials: list[Plain]
    said: list[str]


class Grown(TypedDict):
    """The sweep goes on in a larger search space. changes: a sentence each."""

    event: Literal["grown"]
    changes: list[str]


class Begin(TypedDict):
    """A worker has begun a trial, or goes on with it."""

    event: Literal["begin"]
    trial: int


class Report(TrialReport):
    """A report of a trial."""

    event: Literal["report"]
    trial: int


class Retry(TypedDict):
    """A trial is tried again; without `failure` when a sweep with a failed trial was resumed."""

    event: Literal["retry"]
    trial: int
    failure: NotRequired[str]
    message: NotRequired[str]


class End(TypedDict):
    """A trial has ended: complete, pruned or failed, and then why."""

    event: Literal["end"]
    trial: int
    state: str
    failure: str
    message: str


class Spending(TypedDict):
    """Hours of CPU cores and GPUs spent since the last such event. up_...: those that a cluster's workers were up."""

    event: Literal["spent"]
    cpu_hours: float
    gpu_hours: float
    up_cpu_hours: NotRequired[float]
    up_gpu_hours: NotRequired[float]


Event = Start | Earlier | Grown | Ask | Begin | Report | Retry | End | Seeds | Spending
"""A line of the log; there it also has `at`, when it was written, in seconds since 1970."""


@dataclass
class Record:
    """All that the log says of one trial."""

    number: int
    assignment: Plain
    parameters: Plain  # Optuna's names -> values
    distributions: dict[str, str]  # Optuna's names -> distributions as JSON
    attributes: Plain = field(default_factory=dict)  # what the sampler notes of a trial, such as a generation
    reports: list[Report] = field(default_factory=list)
    state: str = "running"  # complete, pruned, failed
    failure: str = ""
    message: str = ""
    retried: list[str] = field(default_factory=list)  # the kind of failure of every attempt that was not the last
    begun: float | None = None  # when a worker last began it, in seconds since 1970
    repeats: int | None = None  # the trial whose configuration it trains again with another seed
    seeds: Plain = field(default_factory=dict)  # what all its seeds came to, once they have been trained
    counted: int = 0  # which of them are counted by the rules of retry.py: those from here on

    @property
    def kept(self) -> dict[str, float]:
        """The objectives of the best epoch so far, and that `epoch`; empty before the first report."""
        return self.reports[-1]["kept"] if self.reports else {}

    @property
    def costs(self) -> dict[str, float]:
        """The measured costs of the best epoch so far, by name."""
        return self.reports[-1].get("costs", {}) if self.reports else {}

    def excess(self, constraints: Mapping[str, float]) -> float:
        """By how much, in all and as shares of the limits, the costs lie above them; 0 if none does."""
        return sum(max(0.0, share) for share in excesses(self.costs, constraints).values())

    def values(self, objectives: Mapping[str, str]) -> dict[str, float]:
        """The objectives of the best epoch so far, by name."""
        return {name: self.kept[name] for name in objectives}

    def apply(self, event: Begin | Report | Retry | End | Seeds) -> None:
        """Take in one event of this trial; a report of an epoch already reported changes nothing."""
        if event["event"] == "report":
            if not self.reports or event["epoch"] > self.reports[-1]["epoch"]:
                self.reports.append(event.copy())
        elif event["event"] == "seeds":
            self.seeds = event["seeds"]
            self.reports[-1] = {**self.reports[-1], "model": event["model"]}
        elif event["event"] == "begin":
            self.begun = float(event.get("at", time.time()))  # type: ignore[arg-type]
        elif event["event"] == "end":
            self.state, self.failure, self.message = event["state"], event["failure"], event["message"]
        elif event["event"] == "retry":
            self.retried.append(event.get("failure") or self.failure)
            if self.state == "failed":  # it had ended, and whoever resumed the sweep gives it all its chances again
                self.counted = len(self.retried)
            self.state, self.failure, self.message, self.begun = "running", "", "", None


def excesses(costs: Mapping[str, float], constraints: Mapping[str, float]) -> dict[str, float]:
    """How far each limited cost lies above its limit, as a share of the limit; 0 or less if it does not."""
    return {name: (costs[name] - most) / (most or 1.0) for name, most in constraints.items() if name in costs}


class TrialLog:
    """Appends events to a new segment; `read` gives those of all segments."""

    def __init__(self, store: Store, sweep: str) -> None:
        self.store, self.folder = store, f"sweeps/{sweep}/log"
        self._segment: Appended | Rewritten | None = None
        self._run = uuid.uuid4().hex[:8]

    def append(self, event: Event) -> None:
        """Append one event: there for any reader when this returns.

        In object storage a report may follow within about a second, or with the next event. A driver that is killed
        before loses nothing by it: the trial repeats the report when it goes on from its checkpoint.
        """
        version = {}
        if self._segment is None or self._segment.full:
            version = {formats.FIELD: formats.written("log")}
            last = max((int(name.split(".")[0].split("-")[0]) for name in self.store.names(self.folder)), default=-1)
            key = f"{self.folder}/{last + 1:04d}"
            if self.store.local:
                self._segment = Appended(self.store, f"{key}.jsonl")
            else:
                self._segment = Rewritten(self.store, f"{key}-{self._run}.jsonl")
        line = json.dumps({**version, **event, "at": time.time()}, allow_nan=False).encode() + b"\n"
        self._segment.add(line, urgent=event["event"] not in ("report", "begin"))

    def close(self) -> None:
        """Write everything down, to disk where it is one."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None


def read(store: Store, sweep: str) -> list[Event]:
    """All events of a sweep, in order.

    Raises StoreError where a line other than the last of a segment is damaged, DataError for a log of a newer format.
    """
    events: list[Event] = []
    names = store.names(f"sweeps/{sweep}/log")
    for name, content in zip(names, store.read_all([f"sweeps/{sweep}/log/{name}" for name in names]), strict=True):
        lines, place = content.split(b"\n"), store.place(f"sweeps/{sweep}/log/{name}")
        for number, line in enumerate(lines, 1):
            try:
                if line:
                    event = json.loads(line)
                    formats.check(event.pop(formats.FIELD, formats.FIRST), "log", place)
                    events.append(event)
            except (ValueError, RecursionError) as error:
                if number < len(lines):  # a whole line ends in a newline, so the last piece may be a cut one
                    raise StoreError(
                        f"{place} line {number} is damaged; restore the file from a copy, or run the sweep again "
                        "under another name"
                    ) from error
    return events


def records(events: Iterable[Event]) -> dict[int, Record]:
    """Trial number -> its record, from all events; raises StoreError where the log cannot be of one sweep.

    That is: events of a trial that was never asked for, or one asked for twice, as by two drivers at once.
    """
    by_number: dict[int, Record] = {}
    for event in events:
        take(by_number, event)
    return by_number


def take(by_number: dict[int, Record], event: Event) -> None:
    """Take one event into the records; raises as `records` does."""
    if event["event"] == "ask":
        if event["trial"] in by_number:
            raise StoreError(
                f"the log has trial {event['trial']} begun twice, so two drivers wrote to it at once; run the "
                "sweep again under another name"
            )
        by_number[event["trial"]] = Record(
            event["trial"], event["assignment"], event["parameters"], event["distributions"], event["attributes"],
            repeats=event.get("repeats"),
        )  # fmt: skip
    elif (
        event["event"] == "begin"
        or event["event"] == "report"
        or event["event"] == "end"
        or event["event"] == "retry"
        or event["event"] == "seeds"
    ):
        if event["trial"] not in by_number:
            raise StoreError(
                f"the log has lost the beginning of trial {event['trial']}; restore it from a copy, or run the "
                "sweep again under another name"
            )
        by_number[event["trial"]].apply(event)
