"""A trainable that sleeps in place of training, for throughput.py and resume.py; it notes when it was started."""

from __future__ import annotations

import os
import time
from pathlib import Path

from idle_trainable import Idle

from assay.contracts import TrainingData
from assay.units import Fraction, NonNegative


class Sleeping(Idle):
    """One epoch that sleeps; two parameters for the sampler to play with."""

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        weight: Fraction = 1.0,
        unused: Fraction = 0.0,
        seconds: NonNegative = 0.0,
        marks: str | None = None,
    ) -> None:
        """marks: a file that a line is added to for each start: the time, and the process."""
        super().__init__(data, seed=seed, device=device, weight=weight, unused=unused)
        self.seconds = seconds
        if marks:
            with Path(marks).open("a") as file:
                file.write(f"{time.time()} {os.getpid()}\n")

    def train_epoch(self) -> dict[str, float]:
        """Sleep."""
        time.sleep(self.seconds)
        return {}
