"""Watches for the notice that the cloud takes this worker away: `python -m assay.cluster.preemption aws HEAD:6379`.

Ray does not poll for it. A node that is drained in time gets no new trials, and those it loses count as pre-empted, not
as failed. AWS gives two minutes (User Guide for EC2, "Spot Instance interruption notices"), GCP thirty seconds
(Compute Engine, "Preemptible VM instances"). A worker on which no raylet has run for ten minutes has lost its head, or
never joined it, and is ended: see `orphan`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from assay.cluster import orphan

METADATA = {"aws": "http://169.254.169.254", "gcp": "http://metadata.google.internal"}
GCP_SECONDS = 30
ORPHANED = 600.0  # seconds without a raylet; `ray up` stops and starts it within one or two minutes


def _ask(url: str, headers: dict[str, str], method: str = "GET") -> str:
    """What the metadata service answers within two seconds; raises OSError."""
    with orphan.DIRECT.open(urllib.request.Request(url, headers=headers, method=method), timeout=2) as answer:
        return str(answer.read().decode())


def aws(metadata: str) -> float | None:
    """Seconds until this instance is taken, or None while there is no notice; raises OSError."""
    token = _ask(f"{metadata}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, "PUT")
    try:
        notice = _ask(f"{metadata}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token})
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
    at = datetime.fromisoformat(json.loads(notice)["time"])
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def gcp(metadata: str) -> float | None:
    """Seconds until this instance is taken, or None while there is no notice; raises OSError."""
    url = f"{metadata}/computeMetadata/v1/instance/preempted"
    return GCP_SECONDS if _ask(url, {"Metadata-Flavor": "Google"}).strip() == "TRUE" else None


def local_node(head: str, processes: Path = Path("/proc")) -> str:
    """The id of this machine's node in the cluster of that head, from its raylet's command line; raises LookupError."""
    for words in orphan.raylets(processes):
        if f"--gcs-address={head}" in words:
            return next(word.partition("=")[2] for word in words if word.startswith("--node_id="))
    raise LookupError(f"no raylet of the cluster {head} runs on this machine")


def drain(head: str, node: str, seconds: float) -> None:
    """Tell the cluster that the node goes away in so many seconds; raises CalledProcessError."""
    command = [str(Path(sys.executable).with_name("ray")), "drain-node", "--address", head, "--node-id", node]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the cloud takes this instance away"]
    deadline = ["--deadline-remaining-seconds", str(int(seconds))]
    subprocess.run([*command, *reason, *deadline], check=True, timeout=60)


def watch(
    cloud: str,
    head: str,
    metadata: str,
    every: float,
    orphaned: float = ORPHANED,
    end: Callable[[], None] | None = None,
) -> None:
    """Ask every so many seconds until the notice comes, then drain this node; errors are printed, and it goes on.

    end: ends this machine, once no raylet ran on it for `orphaned` seconds.
    """
    printed, ray = "", orphan.Absence()
    while True:
        try:
            if end and ray.after(any(orphan.raylets())) >= orphaned:
                print(f"no raylet for {orphaned:.0f} s: the head is lost, and this machine ends", flush=True)
                end()
                return
            left = {"aws": aws, "gcp": gcp}[cloud](metadata)
            if left is not None:
                drain(head, local_node(head), left)
                print(f"drained: this node is taken in {left:.0f} s", flush=True)
                return
            now = ""
        except (OSError, ValueError, KeyError, LookupError, subprocess.SubprocessError) as error:
            now = f"cannot ask {metadata}, or drain this node: {error}"
        if now != printed:
            print(now or "asking again works", flush=True)
            printed = now
        time.sleep(every)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m assay.cluster.preemption", description=__doc__.partition("\n")[0])
    parser.add_argument("cloud", choices=sorted(METADATA))
    parser.add_argument("head", help="the address of the cluster, HEAD:6379")
    parser.add_argument("--metadata", help="the metadata service, if it is not the cloud's usual one")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two questions")
    parser.add_argument("--orphaned", type=float, default=ORPHANED, help="seconds without Ray, then the machine ends")
    parser.add_argument("--end", help="the command that ends this machine", default=" ".join(orphan.SHUTDOWN))
    given = parser.parse_args()
    metadata = given.metadata or METADATA[given.cloud]
    watch(
        given.cloud,
        given.head,
        metadata,
        given.every,
        given.orphaned,
        lambda: orphan.end(given.cloud, metadata, given.end.split()),
    )


if __name__ == "__main__":
    main()
