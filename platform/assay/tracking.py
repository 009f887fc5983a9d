"""W&B beside a sweep and an audit: one guarded writer in this process, offline without a key, never able to stop a run.

Everything is written from one background thread: a slow or broken W&B costs the sweep nothing but its own mirror.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from assay.trial_log import Record

logger = logging.getLogger(__name__)
PATIENCE = 20.0  # seconds that closing waits for what is still to be written
SETTINGS: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "x_disable_stats": True,
    "init_timeout": 30,
    "x_save_requirements": False,  # listing all packages takes a third of a second for every trial
    "disable_git": True,  # the commit and the versions are in the sweep's environment.json
}


def mode() -> str:
    """`online` with a key, else `offline`; WANDB_MODE overrides both."""
    if os.environ.get("WANDB_MODE"):
        return os.environ["WANDB_MODE"]
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        known = os.environ.get("WANDB_API_KEY") or b"api.wandb.ai" in netrc.read_bytes()
    except OSError:  # none there, or none that may be read
        known = False
    return "online" if known else "offline"


class Tracker:
    """Mirrors trials, or one audit, to W&B; use it as a context. `failed` holds the first error, if there was one."""

    def __init__(self, folder: Path, project: str, group: str, enabled: bool = True) -> None:
        """folder: where W&B keeps its files. group: the sweep. A Tracker that is not enabled does nothing."""
        self.folder, self.project, self.group = folder, project, group
        self.enabled = enabled and mode() != "disabled"
        self.failed: Exception | None = None
        self._runs: dict[str, Any] = {}
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="wandb-writer")

    def __enter__(self) -> Tracker:
        """Start the writer."""
        if self.enabled:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Write what is left, for at most PATIENCE seconds; a warning says how to send it later."""
        if self.enabled:
            self._jobs.put(self._finish_all)
            self._jobs.put(None)
            self._thread.join(PATIENCE)
        if self.failed or (self.enabled and self._thread.is_alive()):
            why = self.failed or f"not done after {PATIENCE:.0f} s"
            logger.warning("W&B: %s; nothing else is affected. Send later: wandb sync %s/wandb/*", why, self.folder)

    def trial(self, record: Record, event: str) -> None:
        """A Study's listener: a run for each trial, a step for each report."""
        if not self.enabled:
            return
        name = f"trial-{record.number:05d}"
        if event == "ask":
            self._put(name, lambda run: None, record.parameters)
        elif event == "report":
            report = dict(record.reports[-1])
            values = {**report["values"], **{f"loss/{k}": v for k, v in report["losses"].items()}}
            self._put(name, lambda run: run.log(values, step=report["epoch"]), record.parameters)
        else:
            summary = {
                "state": record.state,
                "failure": record.failure,
                **{f"kept/{k}": v for k, v in record.kept.items()},
            }
            self._put(name, lambda run: run.summary.update(summary), record.parameters)
            self._jobs.put(lambda: self._finish(name))

    def audit(self, name: str, config: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
        """One finished audit as a run: its figures and verdicts as the run's summary."""
        if self.enabled:
            self._put(f"audit-{name}", lambda run: run.summary.update(dict(summary)), config)

    def _put(self, name: str, action: Callable[[Any], None], config: Mapping[str, Any]) -> None:
        self._jobs.put(lambda: action(self._run(name, dict(config))))

    def _run(self, name: str, config: dict[str, Any]) -> Any:
        if name not in self._runs:
            import wandb

            self.folder.mkdir(parents=True, exist_ok=True)
            self._runs[name] = wandb.init(
                project=self.project,
                group=self.group,
                name=name,
                config=config,
                dir=str(self.folder),
                mode=mode(),  # type: ignore[arg-type]
                reinit="create_new",
                settings=wandb.Settings(**SETTINGS),
            )
        return self._runs[name]

    def _finish(self, name: str) -> None:
        if name in self._runs:
            self._runs.pop(name).finish()

    def _finish_all(self) -> None:
        for name in list(self._runs):
            self._finish(name)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self.failed is None:  # after the first failure the mirror is given up, not the sweep
                try:
                    job()
                except Exception as error:  # noqa: BLE001 - whatever W&B raises, the sweep goes on
                    self.failed = error
