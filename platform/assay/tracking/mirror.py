"""W&B beside a sweep or an audit: a separate process that reads the store, and can neither stop nor slow the run.

Nothing is kept for W&B: the store has everything, and `assay publish` sends it at any later time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from assay.store.audit_reader import Audit
from assay.store.store import Store
from assay.tracking import user_settings
from assay.tracking.user_settings import Mode

PATIENCE = 60.0  # seconds that closing waits for what is still to be sent


def project_of(store: Store, key: str) -> str:
    """The project of `sweeps/NAME` or `audits/ID`: WANDB_PROJECT, else what the search space of its sweep says."""
    return os.environ.get("WANDB_PROJECT") or settings(store, key).project or "assay"


@dataclass(frozen=True)
class Settings:
    """`tracking:` of a search space. wandb: whether anything is sent. project: on W&B, None for the default."""

    wandb: bool = True
    project: str | None = None


def settings(store: Store, key: str) -> Settings:
    """The settings of `sweeps/NAME`, or of the sweep of `audits/ID`; the defaults where there is none."""
    if key.startswith("audits/"):
        key = f"sweeps/{Audit(store.below(key)).info['sweep']}"
    file = f"{key}/spec.yaml"
    values = store.read_yaml(file).get("tracking", {}) if store.exists(file) else {}
    return Settings(**{name: values[name] for name in ("wandb", "project") if name in values})


class Tracker:
    """Sends a sweep while it runs, or an audit, from another process; use it as a context.

    `say` receives one sentence at the end: what was sent and where, or what was not and the command that sends it.
    """

    def __init__(self, store: Store, key: str, again: str, say: Callable[[str], Any], enabled: bool = True) -> None:
        """key: `sweeps/NAME` or `audits/ID`. again: the command that sends it later."""
        self.command = [sys.executable, "-m", "assay.tracking.publish", store.root, key, again]
        self.again, self.say = again, say
        self.mode = user_settings.mode() if enabled else Mode("disabled")
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Tracker:
        """Starts nothing yet; `trial` or `start` does."""
        return self

    def trial(self, *_: Any) -> None:
        """Listens to a Study: after its first event there is a sweep to read."""
        self.start()

    def start(self) -> None:
        """Start the process that sends, if there is a key and it is not running yet."""
        if self.mode.value == "online" and self.process is None:
            # In its own session, as Ctrl-C is meant for the sweep. It ends with its standard input and never lingers.
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Wait for the rest to be sent, for at most PATIENCE seconds or until Ctrl-C, and report the outcome."""
        if self.process is not None:
            self.say(f"W&B: {self._end(self.process)}")
        elif error is None and self.mode.value in ("no key", "offline"):
            why = f"as {self.mode.source} says offline" if self.mode.source else "as there is no key"
            self.say(f"W&B: nothing was sent, {why}; send it at any time with: {self.again}")

    def _end(self, process: subprocess.Popen[str]) -> str:
        try:
            said, _ = process.communicate(timeout=PATIENCE)
            why = f"the process that sends ended with {process.returncode}"
        except subprocess.TimeoutExpired:
            said, why = "", f"not done after {PATIENCE:.0f} s"
        except KeyboardInterrupt:
            said, why = "", "stopped by Ctrl-C"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return said.strip() or f"{why}; nothing else is affected. Send what is missing with: {self.again}"
