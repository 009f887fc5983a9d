"""How many trials a sweep gets through: of those that take a second each, and of those that train nothing.

    python benchmarks/throughput.py                                        about 5 minutes on 2 cores
    python benchmarks/throughput.py --trials 64 --idle 40                  a short run, to see that it works

Targets: 1,000 trials that sleep a second, over 8 workers: at least 0.9 of the ideal throughput, which is 8 trials a
second, once all workers have ended a first trial. 200 trials that train nothing on 4 raylets of one machine, joined by
their address: at most 60 ms of the driver each, of its own wall time and of its processor time. What a trial still
does: the sampler's choice, the hand-over, a detector built, scored and attacked (FGSM) on a few tiny images, the model
folder and the log written.

`driver_ms` is the wall time that the driver spends in its own handling of a trial: the next order asked for, each
report taken in, a failure noted, with all that waits for the disk or the store. What Tune does around it is not in it.
`driver_cpu_ms` is the processor time of the whole driver, Tune included, in which waiting costs nothing.

Rivals in the same run: Ray Tune with OptunaSearch and a function that sleeps as long, or not at all (Tune's defaults:
no actor reuse), with fewer trials, as it is slow, and as many at a time. It evaluates and writes nothing.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from sweep_overhead import images

from assay.cluster.connection import connected
from assay.config import reader
from assay.config.search_space import Spec
from assay.store.store import Store
from assay.sweeps import sweep
from assay.sweeps.study import Study

WORKERS, RAYLETS, TARGET, DRIVER_MS = 8, 4, 0.9, 60


@dataclass
class Ends:
    """When trials ended, on the clock, of the driver's processor time and of its own handling of trials."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    handled: list[float] = field(default_factory=list)

    def note(self, handled: float = math.nan) -> None:
        """A trial ended; so many seconds went into handling trials until now."""
        self.wall.append(time.monotonic())
        self.cpu.append(time.process_time())
        self.handled.append(handled)

    def after(self, first: int) -> tuple[float, float, float]:
        """Seconds a trial, wall, processor and handling, of those after the first few."""
        rest = len(self.wall) - first
        wall, cpu, handled = ((c[-1] - c[first - 1]) / rest for c in (self.wall, self.cpu, self.handled))
        return wall, cpu, handled


class Handling:
    """The wall time spent in what the driver itself does for trials, where it asks the study from outside."""

    def __init__(self) -> None:
        self.before, self.since = 0.0, math.nan

    def seconds(self) -> float:
        """Until now."""
        return self.before + (0 if math.isnan(self.since) else time.monotonic() - self.since)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """All studies are watched during the block."""
        with ExitStack() as stack:
            for name in ("next_order", "report", "failed"):
                stack.enter_context(mock.patch.object(Study, name, self._timed(getattr(Study, name))))
            yield

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            if not math.isnan(self.since):  # asked by another of them
                return function(*given, **named)
            self.since = time.monotonic()
            try:
                return function(*given, **named)
            finally:
                self.before, self.since = self.seconds(), math.nan

        return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="trials that sleep")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each sleeps")
    parser.add_argument("--idle", type=int, default=200, help="trials that train nothing")
    options = parser.parse_args()
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))  # for Ray's workers
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    share = (os.cpu_count() or 1) / WORKERS
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["ASSAY_CACHE"] = f"{folder}/cache"
        found = search_space(folder, options.trials, options.seconds, share, WORKERS)
        slept, *_ = run(found, Store(str(folder / "asleep")), None).after(WORKERS)
        with connected() as _:
            tune_slept, *_ = plain_tune(3 * WORKERS, options.seconds, share, WORKERS).after(WORKERS)
        with raylets() as address:
            found = search_space(folder, options.idle, 0.0, 1, RAYLETS)
            wall, cpu, driver = run(found, Store(str(folder / "idle")), address).after(RAYLETS)
            with connected(address) as _:
                tune_wall, tune_cpu, _ = plain_tune(3 * RAYLETS, 0.0, 1, RAYLETS).after(RAYLETS)
    print(f"load average after: {os.getloadavg()[0]:.1f}\n")
    ideal = options.seconds / WORKERS
    row = "{:<58}{:>16}{:>16}{:>16}".format
    asleep = f"{options.trials} trials asleep for {options.seconds:g} s, {WORKERS} at a time"
    print(row(asleep, "trials/s", "of the ideal", ""))
    print(row("assay sweep", f"{1 / slept:.2f}", f"{ideal / slept:.3f}", ""))
    print(row("Ray Tune + OptunaSearch", f"{1 / tune_slept:.2f}", f"{ideal / tune_slept:.3f}", ""))
    print(row(f"{options.idle} trials of nothing, {RAYLETS} raylets", "driver ms", "driver CPU ms", "wall ms each"))
    print(row("assay sweep", f"{1000 * driver:.1f}", f"{1000 * cpu:.1f}", f"{1000 * wall:.1f}"))
    print(row("Ray Tune + OptunaSearch", "-", f"{1000 * tune_cpu:.1f}", f"{1000 * tune_wall:.1f}"))
    met = ideal / slept >= TARGET, 1000 * max(driver, cpu) <= DRIVER_MS
    print(f"\ntargets {TARGET} and {DRIVER_MS} ms: " + ", ".join("met" if one else "MISSED" for one in met))
    print(
        f"RESULT fraction_of_ideal={ideal / slept:.3f} driver_ms={1000 * driver:.1f} "
        f"driver_cpu_ms={1000 * cpu:.1f} wall_ms={1000 * wall:.1f}"
    )


def search_space(folder: Path, trials: int, seconds: float, cpu: float, concurrent: int) -> Spec:
    """Two parameters of the trainable that sleeps."""
    return reader.check(
        {
            "name": "throughput",
            "trainable": "sleeping_trainable:Sleeping",
            "dataset": images(folder),
            "fixed": {"seconds": seconds},
            "space": {"weight": {"uniform": [0.1, 1]}, "unused": {"uniform": [0, 1]}},
            "evaluation": {"attack": "fgsm", "epsilon": "2/255"},
            "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
            "search": {"trials": trials},
            "resources": {"cpu": cpu, "concurrent": concurrent},
            "tracking": {"wandb": False},
        },
        "the benchmark's search space",
    )


def run(found: Spec, store: Store, address: str | None) -> Ends:
    """Our sweep; raises SystemExit where a trial did not complete."""
    ends, handling = Ends(), Handling()

    def listen(record: Any, event: str) -> None:
        if event == "end":
            ends.note(handling.seconds())

    with handling.watched():
        study = sweep.run(found, store, address=address, listeners=[listen])
    failed = [record.message for record in study.records.values() if record.state != "complete"]
    if failed:
        raise SystemExit(f"{len(failed)} trials did not complete, such as: {failed[0]}")
    return ends


@contextmanager
def raylets() -> Iterator[str]:
    """The address of a cluster of several raylets on this machine, with one worker each, which asks for a token."""
    from ray._private.authentication.authentication_token_setup import enable_token_auth_by_default
    from ray.cluster_utils import Cluster

    enable_token_auth_by_default()
    small = {"object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **small})
    try:
        for _ in range(RAYLETS - 1):
            cluster.add_node(num_cpus=1, **small)
        cluster.wait_for_nodes(timeout=120)
        yield cluster.address
    finally:
        cluster.shutdown()


def plain_tune(trials: int, seconds: float, cpu: float, concurrent: int) -> Ends:
    """Ray Tune as its tutorial has it, on the cluster that is connected."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    def idle(config: dict[str, float]) -> None:
        import torch  # what every training function needs

        time.sleep(seconds)
        tune.report({"clean_auroc": float(torch.tensor(config["weight"])), "robust_auroc": config["unused"]})

    ends = Ends()

    class Noting(tune.Callback):  # type: ignore[misc]
        def on_trial_complete(self, *told: Any, **more: Any) -> None:
            ends.note()

    domains = {"weight": tune.uniform(0.1, 1), "unused": tune.uniform(0, 1)}
    search = OptunaSearch(metric=["clean_auroc", "robust_auroc"], mode=["max", "max"], seed=0)
    config = tune.TuneConfig(search_alg=search, num_samples=trials, max_concurrent_trials=concurrent)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        run = tune.RunConfig(storage_path=folder, verbose=0, callbacks=[Noting()])
        trainable = tune.with_resources(idle, {"cpu": cpu})
        tune.Tuner(trainable, param_space=domains, tune_config=config, run_config=run).fit()
    return ends


if __name__ == "__main__":
    main()
