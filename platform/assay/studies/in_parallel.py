"""Runs the cells of a study side by side on one Ray cluster, as many at once as it holds.

Each cell is driven by a process of its own, on the node of this one, which needs no CPU: its trials do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
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
class _Run:
    """The cells that run, each with its share of the cluster."""

    running: dict[Any, tuple[Cell, float]] = field(default_factory=dict)
    interrupted: str = ""

    def has_room(self, share: float) -> bool:
        return not self.running or sum(taken for _, taken in self.running.values()) + share <= 1 + 1e-9


def outcomes(cells: Sequence[Cell], root: str, address: str | None) -> Iterator[tuple[Cell, str, str]]:
    """Each cell as it ends, with what stopped it ("" if nothing did) and what interrupted it.

    After Ctrl-C or SIGTERM no cell is begun, and those that run end as interrupted sweeps do. Raises SweepError if no
    Ray can be had, StoreError if the store cannot be written.
    """
    run, waiting, cancelled = _Run(), deque(cells), False
    with connected(address) as resources, noted_interrupt(run):
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        driver = ray.remote(num_cpus=0, max_retries=0)(cell_run.run).options(scheduling_strategy=here)
        while run.running or (waiting and not run.interrupted):
            while waiting and not run.interrupted and run.has_room(share := _share(waiting[0], resources, address)):
                cell = waiting.popleft()
                run.running[driver.remote(cell, root, address)] = cell, share
            if run.interrupted and not cancelled:
                cancelled = True
                for one in run.running:
                    ray.cancel(one)  # as Ctrl-C: the sweep ends its trials and closes its log
            for one in ray.wait(list(run.running), timeout=LOOK)[0]:
                cell, _ = run.running.pop(one)
                yield cell, *_outcome(one, run.interrupted)


def _outcome(one: Any, came: str) -> tuple[str, str]:
    """What a cell's driver returned; came: the signal that all of them were told of, if any."""
    try:
        error, interrupted = ray.get(one)
    except ray.exceptions.TaskCancelledError:
        return "was interrupted", came
    except ray.exceptions.RayTaskError as error:
        raise error.as_instanceof_cause() from error
    except ray.exceptions.RayError as error:
        return f"its process was lost: {ray_failures.reason(error)}", ""
    return error, came if interrupted else ""


def _share(cell: Cell, resources: dict[str, float], address: str | None) -> float:
    """The share of the cluster that a cell's trials fill; 0 where they do not fit, which its own run says."""
    spec = cell.spec
    try:
        at_once = min(capacity.together(spec, resources, address is not None), spec.trials)
        return at_once / max(at_once, capacity.fitting(spec, resources))
    except SweepError:
        return 0.0
