"""A Ray cluster of several nodes on this machine, whose nodes can be killed whole."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import ray
from ray._private.authentication import authentication_token_setup
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

SMALL = {"object_store_memory": 80 * 2**20}


class Nodes:
    """A head that runs no work, and nodes of one core each."""

    def __init__(self, count: int) -> None:
        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **SMALL}
        )
        self.address = self.cluster.address
        self.nodes = {}
        for _ in range(count):
            self.add()

    def add(self) -> None:
        """One more node, or one that comes back."""
        node = self.cluster.add_node(num_cpus=1, **SMALL)
        self.nodes[raylet(node)] = node

    def of(self, pid: int) -> int:
        """The node (its raylet's process) on which a process runs."""
        while pid not in self.nodes:
            pid = parent(pid)
        return pid

    def kill(self, node: int) -> None:
        """SIGKILL to everything that runs on a node, as when its machine loses power."""
        for pid in (node, *descendants(node)):
            with suppress(ProcessLookupError):  # it died with another one
                os.kill(pid, signal.SIGKILL)
        self.cluster.remove_node(self.nodes.pop(node), allow_graceful=False)

    def drain(self, node: int, seconds: int = 30) -> None:
        """The notice that the cloud takes a machine back, as `ray drain-node` there passes it on."""
        reason = autoscaler_pb2.DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION
        deadline = int((time.time() + seconds) * 1000)
        accepted, why = GcsClient(address=self.address).drain_node(self.nodes[node].node_id, reason, "spot", deadline)
        assert accepted, why


@contextmanager
def cluster(count: int) -> Iterator[Nodes]:
    """A cluster for the time of the block, which asks for a token as any should; nothing of it is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authentication_token_setup.logger, "disabled", True)
        patch.setenv("RAY_AUTH_MODE", "token")  # noted, to be as before at the end; Ray itself sets it only if unset
        patch.delenv("RAY_AUTH_MODE")
        authentication_token_setup.enable_token_auth_by_default()
        found = Nodes(count)
        try:
            yield found
        finally:
            ray.shutdown()
            found.cluster.shutdown()


def raylet(node) -> int:
    return node.all_processes["raylet"][0].process.pid


def parent(pid: int) -> int:
    """The parent of a process; raises OSError where there is no such process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    children = dict[int, list[int]]()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            children.setdefault(parent(int(path.name)), []).append(int(path.name))
        except OSError:
            continue  # it has ended
    found, pending = [], [pid]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found
