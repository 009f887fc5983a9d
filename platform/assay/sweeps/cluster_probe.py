"""Runs the probes of a forecast on the cluster that would run the trials."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayTaskError

from assay.cluster import capacity, image_blocks
from assay.cluster.connection import connected
from assay.config.search_space import Spec
from assay.contracts import TrainingData
from assay.errors import AssayError, SweepError
from assay.sweeps.probe import Arrived, Rate, probe

PATIENCE = 900.0
"""Seconds within which a cluster must start its nodes and run the probes."""


def rates(
    spec: Spec, wanted: Mapping[str, Spec], data: TrainingData, address: str, seconds: float
) -> tuple[dict[str, float], list[Rate], Arrived | None]:
    """The cluster's resources, the rate of every trainable in `wanted`, and how the images came to a node.

    The probes run in parallel if there is room. Raises SweepError if no trial fits or no probe finishes in time.
    """
    with connected(address) as resources:
        capacity.together(spec, resources, joined=True)
        need = capacity.need(spec)
        task = ray.remote(num_cpus=need["cpu"], num_gpus=need["gpu"], memory=need["memory"], max_calls=1)(_probe)
        held = [ray.put(image_blocks.sent(data))]  # in a list, or Ray would fetch it before the clock starts
        asked = [task.remote(name, alone, held, seconds) for name, alone in wanted.items()]
        try:
            answers = ray.get(asked, timeout=PATIENCE)
        except GetTimeoutError as error:
            raise SweepError(
                f"no probe finished within {PATIENCE:.0f} s; look at `ray status`: the cluster may not start the nodes"
            ) from error
        except RayTaskError as error:
            if isinstance(error.cause, AssayError):
                raise error.cause from error
            raise
        slowest = max((arrived for _, arrived in answers), key=lambda arrived: arrived.seconds, default=None)
        return resources, [rate for rate, _ in answers], slowest


def _probe(name: str, alone: Spec, held: list[Any], seconds: float) -> tuple[Rate, Arrived]:
    """A probe on a node of the cluster, to which the images come first."""
    started = time.monotonic()
    sent = ray.get(held[0])
    data = image_blocks.here(sent)
    taken, folder = time.monotonic() - started, image_blocks.place(sent)
    arrived = Arrived(taken, str(folder), shutil.disk_usage(folder).free) if folder else Arrived(taken)
    return probe(name, alone, data, seconds), arrived
