"""What an audit asks the detector once its attacks are made: the checks, and where the detector looks.

One piece of work that needs no Ray. It is done on the device of the attacks, wherever that is: another one sums and
rounds otherwise, and then sound scores would not be found again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assay.audits import explanations, self_checks
from assay.audits.checks._context import Context
from assay.audits.checks._kept import KeptChecks
from assay.models import model_folder
from assay.runtime.float32 import exact_float32
from assay.runtime.threads import one_thread
from assay.store import parquet
from assay.store.store import Store

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Examination:
    """Plain values, so that it can be sent to a worker.

    given: makes what the checks are given, of a detector and its device. mark: of their results in `checks._kept`.
    masks: (N, S, S) of the images, all False where there is none.
    """

    audit: str
    model: str
    device: str
    given: Callable[..., Context]
    mark: str
    masks: NDArray[np.bool_]

    @property
    def label(self) -> str:
        """Its name in progress messages."""
        return "checks"

    def tables(
        self,
        store: Store,
        detector: nn.Module,
        on_check: Callable[[str, float], object] = lambda name, seconds: None,
    ) -> dict[str, pa.Table]:
        """Name -> table: `checks`, and what `explanations` makes of a score that has a gradient.

        on_check: called after each check with its name and the seconds it took, 0 for one that was kept in the store.
        """
        context = self.given(detector=detector, device=self.device)
        kept = KeptChecks(store, self.audit, self.mark)
        with one_thread(), exact_float32():
            found = {"checks": self_checks.table(context, on_check, kept)}
            if context.facts.differentiable:
                found |= explanations.tables(detector, context.images, self.masks, self.device)
        return found

    def run(self, root: str) -> float:
        """Write the tables into the audit's folder; returns the seconds spent."""
        started = time.monotonic()
        store = Store(root)
        for name, table in self.tables(store, model_folder.loaded(root, self.model, self.device)).items():
            store.write(f"audits/{self.audit}/{name}.parquet", parquet.dump(table))
        return time.monotonic() - started
