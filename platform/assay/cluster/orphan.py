"""Ends a worker whose head is lost, or a head that has no workers: nobody else would, and both are billed.

Workers that are idle are ended by the autoscaler, which lives on the head. Where the head is gone, Ray ends its raylets
on the workers after a minute, but not the machines.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

SHUTDOWN = ("sudo", "-n", "shutdown", "-h", "now")
"""On AWS the instance is then terminated, for the cluster file says so; on GCP it is stopped, and its disk stays."""
COMPUTE = "https://compute.googleapis.com/compute/v1"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the metadata are never behind a proxy


class Absence:
    """How long something has not been seen, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.seen = clock, clock()

    def after(self, there: bool) -> float:
        """Note whether it is there now; returns for how long it hasn't been."""
        if there:
            self.seen = self.clock()
        return self.clock() - self.seen


def raylets(processes: Path = Path("/proc")) -> Iterator[list[str]]:
    """The command line of every raylet of this machine."""
    for process in processes.glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended
        if Path(words[0]).name == "raylet":
            yield words


def end(cloud: str, metadata: str, shutdown: Sequence[str] = SHUTDOWN, compute: str = COMPUTE) -> None:
    """End this machine: on GCP by deleting it, where its account may do that; else by shutting it down.

    Raises OSError or SubprocessError where it can't.
    """
    if cloud == "gcp":
        try:
            _delete(metadata, compute)
            return
        except (OSError, ValueError, KeyError) as error:
            print(f"cannot delete this instance ({error}); shutting it down: its disk stays until deleted", flush=True)
    subprocess.run(shutdown, check=True, timeout=60)


def _delete(metadata: str, compute: str) -> None:
    def ask(path: str) -> str:
        request = urllib.request.Request(f"{metadata}/computeMetadata/v1/{path}", headers={"Metadata-Flavor": "Google"})
        with DIRECT.open(request, timeout=2) as answer:
            return str(answer.read().decode()).strip()

    token = json.loads(ask("instance/service-accounts/default/token"))["access_token"]
    zone = ask("instance/zone").rpartition("/")[2]
    url = f"{compute}/projects/{ask('project/project-id')}/zones/{zone}/instances/{ask('instance/name')}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"}, method="DELETE")
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()
