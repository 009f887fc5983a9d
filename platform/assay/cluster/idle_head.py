"""Ends a head that has had no worker for hours: `python -m assay.cluster.idle_head aws --hours 2`.

That is the case when no job runs, for idle workers are ended within minutes; when no worker can be had; and when a
setup command fails on every one, which Ray would start anew for ever. The sweep that waits is resumed on a new head.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from assay.cluster import orphan
from assay.cluster.preemption import METADATA


def workers() -> int:
    """How many nodes beside the head are in the cluster of this machine.

    Raises SubprocessError or ValueError where Ray can't say.
    """
    ray = str(Path(sys.executable).with_name("ray"))
    command = [ray, "list", "nodes", "--filter", "state=ALIVE", "--format", "json"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    return sum(not node["is_head_node"] for node in json.loads(told))


def watch(count: Callable[[], int], seconds: float, every: float, end: Callable[[], None]) -> None:
    """Ask every so many seconds, until there was no worker for `seconds`; then end this machine."""
    alone = orphan.Absence()
    while True:
        try:
            there = count() > 0
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            print(f"cannot ask Ray for its nodes: {error}", flush=True)
            there = False  # a head on which Ray has stopped is one without workers, too
        if alone.after(there) >= seconds:
            print(f"no worker for {seconds / 3600:.1f} hours: this head ends", flush=True)
            end()
            return
        time.sleep(every)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m assay.cluster.idle_head", description=__doc__.partition("\n")[0])
    parser.add_argument("cloud", choices=sorted(METADATA))
    parser.add_argument("--hours", type=float, default=2.0, help="without a worker, after which the head ends")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two questions")
    parser.add_argument("--metadata", help="the metadata service, if it is not the cloud's usual one")
    parser.add_argument("--end", help="the command that ends this machine", default=" ".join(orphan.SHUTDOWN))
    given = parser.parse_args()
    metadata = given.metadata or METADATA[given.cloud]
    watch(
        workers,
        given.hours * 3600,
        given.every,
        lambda: orphan.end(given.cloud, metadata, given.end.split()),
    )


if __name__ == "__main__":
    main()
