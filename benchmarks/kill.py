"""How many sweeps outlive a SIGKILL of their driver, of a worker process or of a whole node, and lose nothing by it.

    .venv/bin/python benchmarks/kill.py                about 8 minutes on 2 free cores
    .venv/bin/python benchmarks/kill.py --kills 3      one of each

Target: survived=20 tried=20. Each try is a sweep of 24 toy trials, two at a time, by the command line on a Ray cluster
of a head and two nodes of one core each. At a random moment of it (seeded), from before its first report to after its
last one, one thing is killed: the driver, which is resumed; the process of a trial; a node, its raylet and all that
runs on it, which then comes back. A try has survived when the log holds every trial exactly once and all of them have
the configurations and figures, to the last bit, of the rival, and so has trials.parquet: the same sweep, undisturbed,
one trial after another without Ray, in this run. Where the kill hit nothing, as the sweep had ended or the log notes no
retry, the try is made again at another moment; one that hits nothing three times has not survived.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

TESTS = Path(__file__).resolve().parent.parent / "tests" / "support"
sys.path.insert(0, str(TESTS))

import nodes as nodes_module  # noqa: E402 - they lie in tests
import toy_runs  # noqa: E402
from sweep_process import ASSAY, outcome, without_ray  # noqa: E402

from assay.config import reader, search_space  # noqa: E402
from assay.store import trial_log, trials_table  # noqa: E402
from assay.store.store import Store  # noqa: E402

TRIALS, EPOCHS, PAUSE = 24, 4, 0.1
WHAT = ("driver", "worker", "node")
SPEC = "sweeps/toy/spec.yaml"  # with it the sweep exists
LIMIT = 300  # seconds for a sweep to end
GOES = 3  # at a kill that hits
Expected = tuple[list[Any], pa.Table]
"""What the sweep is to have found: configurations and figures, and the table of them."""


def main() -> None:
    """Kill, count, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    random_, survived, goes = random.Random(arguments.seed), 0, itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(toy_runs.__file__, folder)
        found = write(Path(folder), 0)
        records = without_ray(found, Store(f"{folder}/whole")).records
        expected = outcome(records), results(trials_table.table(trials_table.trials(found, records)))
        write(Path(folder), PAUSE)
        with nodes_module.cluster(2) as nodes:
            for number in range(arguments.kills):
                what = WHAT[number % len(WHAT)]
                for _ in range(GOES):
                    told, same = attempt(Path(folder), next(goes), what, random_, nodes, expected)
                    verdict = {True: "same", False: "DIFFERENT", None: "hit nothing"}[same]
                    print(f"{number + 1:3d}  {what:<7}{told}  {verdict}", flush=True)
                    if same is not None:
                        break
                survived += same is True
    print(f"\nRESULT survived={survived} tried={arguments.kills}")


def write(folder: Path, pause: float) -> search_space.Spec:
    """The search space, with epochs that take so long."""
    raw = toy_runs.search_space(
        folder,
        fixed={"epochs": EPOCHS, "pause": pause, "marks": str(folder / "marks")},
        search={"sampler": "random", "trials": TRIALS, "seed": 3},
        resources={"concurrent": 2},
    )
    (folder / "marks").mkdir(exist_ok=True)
    (folder / "toy.yaml").write_text(yaml.safe_dump(raw))
    return reader.read(folder / "toy.yaml")


def attempt(
    folder: Path, number: int, what: str, random_: random.Random, nodes: nodes_module.Nodes, expected: Expected
) -> tuple[str, bool | None]:
    """One sweep and one kill: what happened, and whether the sweep found what it should; None if nothing was hit."""
    store = Store(folder / f"store-{number}")
    last = TRIALS * EPOCHS - (0 if what == "driver" else EPOCHS)  # later no trial may run
    moment = min(random_.randrange(-TRIALS, last + TRIALS), last)  # so many reports; begin and end are likelier
    lag = random_.uniform(0, PAUSE * 2) if moment > 0 else -moment / 10  # seconds into the next epoch, or the sweep
    started = time.monotonic()
    process = start(folder, store, nodes.address, "toy.yaml")
    try:
        while process.poll() is None and (not store.exists(SPEC) or count(store, "report") < moment):
            time.sleep(0.02)
        time.sleep(lag)
        at, killed = count(store, "report"), strike(what, process, folder, nodes)
        if what == "driver" and killed:
            process = start(folder, store, nodes.address, "--resume", "toy")
        output = process.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        return f"not over after {LIMIT} s", False
    finally:
        process.kill()
    events = trial_log.read(store, "toy")
    retries = Counter(event["failure"] for event in events if event["event"] == "retry")
    once = all(
        Counter(event["trial"] for event in events if event["event"] == kind) == Counter(range(TRIALS))
        for kind in ("ask", "end")
    )
    again = "resumed" if what == "driver" else ", ".join(f"{kind} lost {n} x" for kind, n in retries.items()) or "-"
    told = f"after report {at:3d} of {TRIALS * EPOCHS}, then {again:<15} exit {process.returncode}, "
    told += f"{count(store, 'end')} ended, {time.monotonic() - started:.0f} s"
    same = process.returncode == 0 and once and outcome(trial_log.records(events)) == expected[0]
    if not (same and results(pq.read_table(store.path("sweeps/toy/trials.parquet"))).equals(expected[1])):
        return f"{told}\n{output[-2000:]}", False
    return told, True if killed and (what == "driver" or retries) else None


def strike(what: str, process: subprocess.Popen[str], folder: Path, nodes: nodes_module.Nodes) -> bool:
    """Kill it; whether it was there to be killed."""
    if what == "driver":
        process.kill()
        return process.wait() == -signal.SIGKILL
    while (found := running(folder, nodes)) is None:
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    pid, node = found
    if what == "worker":
        with suppress(ProcessLookupError):  # it ended this moment, so that no retry is noted
            os.kill(pid, signal.SIGKILL)
    else:
        nodes.kill(node)
        nodes.add()
    return True


def results(table: pa.Table) -> pa.Table:
    """What of trials.parquet must be the same: rows, states, objectives."""
    return table.select(["trial", "state", *sorted(n for n in table.column_names if n.startswith("objective."))])


def start(folder: Path, store: Store, address: str, *arguments: str) -> subprocess.Popen[str]:
    """`assay sweep` on the cluster."""
    return subprocess.Popen(
        [ASSAY, "sweep", *arguments, "--address", address, "--store", str(store.root)],
        cwd=folder,
        env={**os.environ, "WANDB_MODE": "disabled", "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def count(store: Store, event: str) -> int:
    """How many events of that kind the log holds."""
    return sum(one["event"] == event for one in trial_log.read(store, "toy"))


def running(folder: Path, nodes: nodes_module.Nodes) -> tuple[int, int] | None:
    """The process and the node of the newest trial, if any runs; of others, their workers may wait for one."""
    for mark in sorted((folder / "marks").glob("pid-*"), key=lambda mark: -mark.stat().st_mtime):
        with suppress(OSError, ValueError):
            return int(mark.name[4:]), nodes.of(int(mark.name[4:]))
    return None


if __name__ == "__main__":
    main()
