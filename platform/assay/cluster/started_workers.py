"""The workers that an autoscaler started for a joined cluster: for how long they were up, and their end.

Machines that no autoscaler started, such as one's own, are none of them: nobody bills their hours, and nobody would
start Ray on them again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.autoscaler.v2.schema import NodeInfo
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.core.generated.autoscaler_pb2 import DrainNodeReason

PATIENCE = 15.0
"""Seconds until the processes of trials that were just stopped are gone, and their nodes idle."""
EVERY = 15.0
"""Seconds between two looks at the cluster."""


@dataclass
class UpTime:
    """Hours for which cores and GPUs of these workers were up, whether or not a trial held them."""

    cpu_hours: float = 0.0
    gpu_hours: float = 0.0


@contextmanager
def watched(every: float = EVERY) -> Iterator[UpTime]:
    """Count the hours for the time of the block. Ray must be connected."""
    found, over = UpTime(), threading.Event()

    def look() -> None:
        before = time.monotonic()
        while not over.wait(every):
            now = time.monotonic()
            try:
                there = [node.total_resources() for node in started()]
            except (
                ray.exceptions.RayError,
                RuntimeError,
                ValueError,
                OSError,
            ) as error:  # asked again at the next look
                logging.getLogger(__name__).info("the cluster does not say which workers it has: %s", error)
                there = []
            found.cpu_hours += sum(node.get("CPU", 0) for node in there) * (now - before) / 3600
            found.gpu_hours += sum(node.get("GPU", 0) for node in there) * (now - before) / 3600
            before = now

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield found
    finally:
        over.set()
        watch.join()


def started() -> list[NodeInfo]:
    """Those that are up now."""
    heads = {node["NodeID"] for node in ray.nodes() if "node:__internal_head__" in node["Resources"]}
    told = get_cluster_status(_address())
    there = [*told.active_nodes, *told.idle_nodes]
    return [node for node in there if node.node_id and node.instance_id and node.node_id not in heads]


def end_idle(patience: float = PATIENCE) -> int:
    """End those that have nothing to do, for which the autoscaler would wait minutes; returns how many.

    A raylet that is asked to end because it is idle refuses if it is not, so the work of others goes on. The autoscaler
    then finds Ray stopped on the machine, and ends it.
    """
    client, until, ended = GcsClient(address=_address()), time.monotonic() + patience, set[str]()
    while True:
        left = {str(node.node_id) for node in started()} - ended
        for node in left:
            reason = DrainNodeReason.DRAIN_NODE_REASON_IDLE_TERMINATION
            accepted, _ = client.drain_node(node, reason, "the budget of the sweep is used up", 0)
            ended |= {node} if accepted else set()
        if left <= ended or time.monotonic() > until:
            return len(ended)
        time.sleep(1)


def _address() -> str:
    return str(ray.get_runtime_context().gcs_address)
