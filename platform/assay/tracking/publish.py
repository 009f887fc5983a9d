"""Sends sweeps and audits of the store to W&B, each once. As a process, it sends one of them while it is being made."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from dataclasses import dataclass

from assay.errors import AssayError, TrackingError
from assay.store.audit_reader import Audit
from assay.store.store import Store
from assay.tracking import audit_run, mirror, wandb_report
from assay.tracking.client import Connection, connected, run_id
from assay.tracking.sent import Published
from assay.tracking.sweep_runs import SweepRuns

TICK = 3.0  # seconds between two readings of the log of a running sweep
RETRY = 60.0  # seconds until a server that failed is asked again
Ended = Callable[[float], bool]
"""Waits at most that many seconds, and returns whether the sweep has ended."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of publishing one sweep or audit: `why` is empty if everything is on the server."""

    what: str
    state: str
    why: str = ""

    def text(self, again: str) -> str:
        """As a sentence; again: the command that sends the rest."""
        if not self.why:
            return f"{self.what}: {self.state}"
        return f"{self.what}: {self.state}; {self.why}. Nothing else is affected; send the rest with: {again}"


def sweep(connection: Connection, store: Store, name: str, ended: Ended = lambda seconds: True) -> Outcome:
    """Send a sweep's trials, and continue until it has ended."""
    runs = SweepRuns(connection, store, name)
    why = ""
    with runs.published.locked():
        try:
            while not ended(TICK):
                runs.update()
            runs.update(last=True)
            runs.confirm(wait=True)
        except TrackingError as error:
            why = str(error)
        if runs.closed and not why:
            why = f"the W&B server {connection.server} accepted {len(runs.closed)} more and does not show them"
    if why:
        return Outcome(f"sweep {name}", f"{runs.there} of {len(runs.contents)} trials are on W&B", why)
    state = (
        f"{runs.sent} trial{'s' * (runs.sent > 1)} sent" if runs.sent else f"all {runs.there} trials are there already"
    )
    return Outcome(f"sweep {name}", f"{state}: {runs.url}")


def audit(connection: Connection, store: Store, name: str) -> Outcome:
    """Send an audit and the W&B report on it."""
    with store.near(f"audits/{name}") as folder:
        return _audit(connection, store, name, Audit(folder))


def _audit(connection: Connection, store: Store, name: str, reader: Audit) -> Outcome:
    run = run_id("audit", name)
    published, content = Published(store, f"audits/{name}", connection), audit_run.content(reader.folder)
    what, url = f"audit {name}", f"{connection.url}/runs/{run}"
    with published.locked():
        if published.sent.get("report") == content:
            return Outcome(what, f"is there already: {url}")
        try:
            if published.sent.get(run) != content:
                audit_run.send(connection, store, reader, run)
                published.note(connection.arrived({run: content}, wait=True))
            if published.sent.get(run) != content:
                raise TrackingError(f"the W&B server {connection.server} accepted it and does not show it")
            report = wandb_report.save(connection, reader, run)
            published.note({"report": content})
        except TrackingError as error:
            state = "the run is there, its report is not" if published.sent.get(run) == content else "not sent"
            return Outcome(what, state, str(error))
    return Outcome(what, f"sent: {url}\n  report: {report}")


SENDERS: dict[str, Callable[..., Outcome]] = {"sweeps": sweep, "audits": audit}
"""A folder of the store -> what sends an item of it."""


def main() -> None:
    """`python -m assay.tracking.publish STORE KEY COMMAND`: sends until standard input ends, then prints."""
    root, key, again = sys.argv[1:]
    store, (kind, _, name) = Store(root), key.partition("/")
    while True:
        over = ended(0)
        try:
            with connected(mirror.project_of(store, key)) as connection:
                in_time = (ended,) if kind == "sweeps" else ()
                outcome = SENDERS[kind](connection, store, name, *in_time)
        except AssayError as error:
            outcome = Outcome(f"{kind.removesuffix('s')} {name}", "not sent", str(error))
        if over or not outcome.why or kind == "audits":
            break
        ended(RETRY)
    print(outcome.text(again), flush=True)


def ended(seconds: float) -> bool:
    """Whether standard input, which the process that makes the sweep holds open, was closed."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


if __name__ == "__main__":
    main()
