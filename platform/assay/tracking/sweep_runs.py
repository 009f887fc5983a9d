"""The trials of a sweep as W&B runs of one group, made from the trial log alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from assay.errors import UnknownName
from assay.store import trial_log
from assay.store.store import Store
from assay.store.trial_log import Record
from assay.tracking.client import Connection, content_of, run_id, tracking_errors
from assay.tracking.sent import Published


class SweepRuns:
    """`update` sends what the log has and W&B lacks, for a running sweep as well as for a finished one."""

    def __init__(self, connection: Connection, store: Store, name: str) -> None:
        self.connection, self.store, self.name = connection, store, name
        if not store.exists(f"sweeps/{name}/spec.yaml"):
            raise UnknownName("sweep", name, store.names("sweeps"), store.root)
        # As it is written, unchecked: a trainable of the user's own may be gone by now.
        self.search_space = store.read_yaml(f"sweeps/{name}/spec.yaml")
        self.published = Published(store, f"sweeps/{name}", connection)
        self.open: dict[int, tuple[Any, int]] = {}  # trial -> its run and how many reports it was given
        self.closed: dict[str, str] = {}  # run id -> content; sent, and not yet seen on the server
        self.contents: dict[str, str] = {}  # run id -> content, of all trials
        self.sent = 0

    @property
    def there(self) -> int:
        """How many trials the server has in their current state."""
        return len(self.contents.items() & self.published.sent.items())

    @property
    def url(self) -> str:
        """The page with the runs."""
        return f"{self.connection.url}/groups/{self.name}"

    def update(self, last: bool = False) -> None:
        """Send what is new; with `last` also end the runs of trials that have not ended."""
        events = trial_log.read(self.store, self.name)
        # The first event tells this sweep apart from one of the same name in another store.
        records = {run_id(events[0], record.number): record for record in trial_log.records(events).values()}
        self.contents = {run: content_of(asdict(record)) for run, record in records.items()}
        for run, content in self.contents.items():
            if content not in (self.published.sent.get(run), self.closed.get(run)):
                with tracking_errors(self.connection.server):
                    self._send(records[run], run, content, last)
        self.confirm()

    def _send(self, record: Record, run_id: str, content: str, last: bool) -> None:
        run, given = self.open.pop(record.number) if record.number in self.open else (self._start(record, run_id), 0)
        for report in record.reports[given:]:
            losses = {f"loss/{name}": value for name, value in report["losses"].items()}
            run.log({**report["values"], **losses}, step=report["epoch"])
        if record.state == "running" and not last:
            self.open[record.number] = (run, len(record.reports))
        else:
            self.connection.finish(run, content, _summary(record), failed=record.state == "failed")
            self.closed[run_id] = content

    def _start(self, record: Record, run_id: str) -> Any:
        # W&B takes a dot in a name for a step into a mapping
        varied = {name.replace(".", "/"): value for name, value in record.parameters.items()}
        config = {**varied, "sweep": self.name, "trial": record.number, "search_space": self.search_space}
        return self.connection.start(run_id, f"{self.name}-{record.number:05d}", self.name, "trial", config)

    def confirm(self, wait: bool = False) -> None:
        """Ask the server which of the ended runs it has, and note those."""
        there = self.connection.arrived(self.closed, wait)
        if there:
            self.published.note(there)
        self.sent += len(there)
        self.closed = {run: content for run, content in self.closed.items() if run not in there}


def _summary(record: Record) -> dict[str, object]:
    """The objectives of the epoch that was kept, and how the trial ended; no error message, which can hold anything."""
    last: Mapping[str, object] = record.reports[-1] if record.reports else {}
    kept = {f"kept/{name}": value for name, value in record.kept.items()}
    about = {name: last.get(name) for name in ("model", "seed", "seconds", "attempts")}
    return {"state": record.state, "failure": record.failure, **kept, **about}
