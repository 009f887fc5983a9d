"""Runs the cells of a study side by side on one Ray cluster, as many at once as it holds.

Each cell is driven by a process of its own, on the node of this one, which needs no CPU: its trials do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from assay.cluster import capacity, ray_failures
from assay.cluster.connection import connected
from assay.errors import SweepError
from assay.runtime.interrupt import noted_interrupt
from assay.studies import cell_run
from assay.studies.study_file import Cell

LOOK = 1.0  # seconds between looks for a signal


@dataclass
class _Cells:
    """The cells that run, each with its share of the cluster."""

    running: dict[Any, tuple[Cell, float]] = field(default_factory=dict)
    interrupted: str = ""

    def have_room(self, share: float) -> bool:
        return not self.running or sum(taken for _, taken in self.running.values()) + share <= 1 + 1e-9


def run(cells: Sequence[Cell], root: str, address: str | None, on_end: Callable[[Cell, str], object]) -> str:
    """Run the cells; on_end gets each as it ends, with what stopped it ("" if nothing did).

    After Ctrl-C or SIGTERM no cell is begun, and those that run end as interrupted sweeps do. Returns which of the two
    it was where a cell did not run to its end because of it, else "". Raises SweepError if no Ray can be had,
    StoreError if the store cannot be written.
    """
    begun, waiting, cancelled, cut_short = _Cells(), deque(cells), False, ""
    with connected(address) as resources, noted_interrupt(begun):
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        driver = ray.remote(num_cpus=0, max_retries=0)(cell_run.run).options(scheduling_strategy=here)
        while begun.running or (waiting and not begun.interrupted):
            while (
                waiting and not begun.interrupted and begun.have_room(share := _share(waiting[0], resources, address))
            ):
                cell = waiting.popleft()
                begun.running[driver.remote(cell, root, address)] = cell, share
            if begun.interrupted and not cancelled:
                cancelled = True
                for one in begun.running:
                    ray.cancel(one)  # as Ctrl-C: the sweep ends its trials and closes its log
            for one in ray.wait(list(begun.running), timeout=LOOK)[0]:
                cell, _ = begun.running.pop(one)
                error, interrupted = _outcome(one)
                cut_short = cut_short or interrupted
                on_end(cell, error)
    return begun.interrupted or cut_short if cut_short or waiting else ""


def _outcome(one: Any) -> tuple[str, str]:
    """What stopped a cell, "" if nothing did, and what interrupted it."""
    try:
        error, interrupted = ray.get(one)
    except ray.exceptions.TaskCancelledError:
        return "was interrupted", "interrupt"
    except ray.exceptions.RayTaskError as error:
        raise error.as_instanceof_cause() from error
    except ray.exceptions.RayError as error:
        return f"its process was lost: {ray_failures.reason(error)}", ""
    return error, interrupted


def _share(cell: Cell, resources: dict[str, float], address: str | None) -> float:
    """The share of the cluster that a cell's trials fill; 0 where they do not fit, which its own run says."""
    spec = cell.spec
    try:
        at_once = min(capacity.together(spec, resources, address is not None), spec.trials)
        return at_once / max(at_once, capacity.fitting(spec, resources))
    except SweepError:
        return 0.0
