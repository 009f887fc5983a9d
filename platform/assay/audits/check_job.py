"""One check of an audit as a piece of work for a worker; its result goes to where `checks._kept` looks for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from assay import shelves
from assay.audits import fan_out, self_checks
from assay.audits.checks._context import Context
from assay.audits.checks._kept import KeptChecks
from assay.audits.examination import Examination
from assay.models import model_folder
from assay.runtime.float32 import exact_float32
from assay.runtime.threads import one_thread
from assay.store.store import Store

_CONTEXTS: dict[tuple[str, str], Context] = {}
"""Of the last audit that this process worked for: its checks share clean scores, which a context makes once."""


@dataclass(frozen=True, kw_only=True)
class CheckJob:
    """Plain values, so that it can be sent to a worker. mark: of the results in `checks._kept`."""

    check: str
    audit: str
    model: str
    device: str
    mark: str

    @property
    def label(self) -> str:
        """Its name in progress messages."""
        return f"check {self.check}"

    def run(self, root: str, given: Callable[..., Context]) -> float:
        """Make the check and keep its result; returns the seconds spent. given: makes the context, as of `tables`."""
        started = time.monotonic()
        store, key = Store(root), (self.audit, self.mark)
        if key not in _CONTEXTS:
            _CONTEXTS.clear()
            detector = model_folder.loaded(root, self.model, self.device)
            _CONTEXTS[key] = given(detector=detector, device=self.device)
        with one_thread(), exact_float32():
            self_checks.made(self.check, _CONTEXTS[key], KeptChecks(store, self.audit, self.mark))
        return time.monotonic() - started


def spread(store: Store, about: Examination, on_check: Callable[[str, float], object], **where: Any) -> None:
    """Have workers make the checks that no earlier run made; where: as of `fan_out.run`.

    on_check: called after each with its name and the seconds it took. A check that could not be made is not kept, and
    is tried again by whoever collects the results.
    """
    kept = KeptChecks(store, about.audit, about.mark)
    same = {"audit": about.audit, "model": about.model, "device": about.device, "mark": about.mark}
    jobs = [CheckJob(check=check, **same) for check in self_checks.names() if kept.read(check) is None]
    jobs.sort(key=_long, reverse=True)  # so that at the end no worker waits for one that began it last
    root = str(store.root)
    fan_out.run(jobs, root, **where, shared=[about.given], on_done=lambda job, seconds: on_check(job.check, seconds))


def _long(job: CheckJob) -> bool:
    """Whether a check takes long: its file says so, as it attacks with every attack of the suite."""
    return bool(shelves.stated(shelves.load("checks", job.check), "LONG", False))
