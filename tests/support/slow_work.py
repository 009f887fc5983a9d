"""Work that can be interrupted: what the tests of the fan-out kill."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from toy_audit import Detector

from assay.contracts import Attacked
from assay.store.store import Store


@dataclass(frozen=True)
class Note:
    """Writes its number; the one that is `deadly` kills the process it runs in, so many times."""

    number: int
    deadly: int = 0
    device: str = "cpu"

    @property
    def label(self) -> str:
        """What progress calls it."""
        return f"note-{self.number}"

    def done(self, store: Store) -> bool:
        """Whether it was written."""
        return store.exists(f"notes/{self.number}")

    def run(self, root: str) -> float:
        """Write it."""
        print(f"note {self.number} is written")
        store = Store(root)
        store.write(f"processes/{os.getpid()}", b"")
        if len(store.names("killed")) < self.deadly:
            store.write(f"killed/{len(store.names('killed'))}", b"")
            os.kill(os.getpid(), signal.SIGKILL)
        store.write(f"notes/{self.number}", str(self.number).encode())
        return 0.0


def slow(score, images, direction, threat, generator, *, start=None) -> Attacked:
    """Waits until the test says go on (the file SLOW_WORK; beside it each process notes that it waits).

    Only where it attacks the audited detector itself: the forecast, with its stand-in, isn't to wait.
    """
    flag = Path(os.environ["SLOW_WORK"])
    if isinstance(score, Detector):
        flag.with_name(f"pid-{os.getpid()}").touch()
        while not flag.exists():
            time.sleep(0.05)
    count = torch.ones(len(images), dtype=torch.int64)
    with torch.no_grad():
        return Attacked(images.clone(), score(images), count, count)
