"""Waits until a cluster has so many nodes: `python -m assay.cluster.wait_for_nodes HOST:PORT 4`.

A sweep that joins a cluster counts the nodes there are, so one that is started by a batch system waits for all first.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from assay.errors import SweepError

EVERY = 2.0
"""Seconds between two looks."""


def wait(nodes: Callable[[], int], wanted: int, seconds: float, every: float = EVERY) -> None:
    """Ask for the number of nodes until it is at least `wanted`; raises SweepError after so many seconds.

    nodes: may raise SweepError while nothing answers.
    """
    until, last = time.monotonic() + seconds, "nothing answers"
    while True:
        try:
            there = nodes()
        except SweepError as error:
            last = str(error)
        else:
            if there >= wanted:
                return
            last = f"{there} of {wanted} nodes have joined"
        if time.monotonic() > until:
            raise SweepError(f"after {seconds:.0f} s {last}; look into the logs of `ray start` on the others")
        time.sleep(every)


def of_cluster(address: str) -> Callable[[], int]:
    """Counts the nodes of a cluster that are up; it is joined once it answers."""
    import ray

    from assay.cluster.address import reach

    def nodes() -> int:
        if not ray.is_initialized():
            reach(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        return sum(node["Alive"] for node in ray.nodes())

    return nodes


def main() -> None:
    """The command line; exit 1 where too few nodes joined in time."""
    parser = argparse.ArgumentParser(prog="python -m assay.cluster.wait_for_nodes", description=__doc__.split("\n")[0])
    parser.add_argument("address", help="HOST:PORT of the head")
    parser.add_argument("nodes", type=int, help="how many, the head among them")
    parser.add_argument("--minutes", type=float, default=5.0, help="after which it gives up")
    given = parser.parse_args()
    try:
        wait(of_cluster(given.address), given.nodes, given.minutes * 60)
    except SweepError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
