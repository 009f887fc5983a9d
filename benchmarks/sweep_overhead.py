"""What a sweep costs beside the training: 64 trials that train nothing, two at a time, W&B mirror on and off.

    .venv/bin/python benchmarks/sweep_overhead.py        2 to 5 minutes on 2 cores

Target: at most 0.06 s a trial beyond a fixed start. A trial here is everything but training: the sampler's choice,
the hand-over to a worker, the detector built, scored and attacked (FGSM) on a few tiny validation images, the
checkpoint and the model folder written and synced to disk, the log, the table of trials. With the mirror on, another
process sends the trials to a W&B server on the loopback (tests/support/wandb_server.py), on the same cores. What is
not sent when the trials are done is waited for at the end; that time is printed with every sweep and is none of the
trials'.

The fixed part is the time to the end of the first trial (Ray, the workers' imports); a trial's own cost
is the slope of the rest between two sizes of sweep, medians of several rounds. Rivals in the same run: Ray Tune
with OptunaSearch and a function that imports torch and trains nothing (no actor reuse, Tune's default), and Optuna
alone in this process. Both do less: they evaluate nothing and write neither checkpoint nor model.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from PIL import Image

from assay.cluster.connection import connected
from assay.config import reader
from assay.config.search_space import Spec
from assay.data import splits as data_module
from assay.store.store import Store
from assay.sweeps import sweep
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial
from assay.tracking.mirror import Tracker

TARGET = 0.06
SMALL, LARGE = 8, 64


def main() -> None:
    """Measure, print a table and the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of every size; medians are reported")
    parser.add_argument("--large", type=int, default=LARGE, help="trials of the larger sweep")
    options = parser.parse_args()
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))  # for Ray's workers
    with tempfile.TemporaryDirectory() as folder, wandb_on_the_loopback():
        os.environ["ASSAY_CACHE"] = f"{folder}/cache"
        spec = search_space(Path(folder))
        print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        one_sweep(spec, 2, Path(folder) / "warm-up", tracked=True)
        fixed, slope = {}, {}
        for tracked in (True, False):
            fixed[tracked], slope[tracked] = sweeps(spec, Path(folder), options.rounds, options.large, tracked)
        work = in_this_process(spec, Path(folder) / "alone", options.large)
    tune = plain_tune()
    alone = plain_optuna(options.large)
    print(f"load average after: {os.getloadavg()[0]:.1f}\n")
    row = "{:<58}{:>12}{:>10}{:>9}".format
    print(row("", "s per trial", "fixed s", "x ours"))
    per_trial = slope[True]
    print(row("assay sweep, W&B mirror on", f"{per_trial:.4f}", f"{fixed[True]:.1f}", "1"))
    for label, value, start in (
        ("assay sweep, W&B mirror off", slope[False], f"{fixed[False]:.1f}"),
        ("the same trials one by one in this process, without Ray", work, ""),
        ("Ray Tune + OptunaSearch, function, no actor reuse", tune, ""),
        ("Optuna alone, in this process", alone, ""),
    ):
        print(row(label, f"{value:.4f}", start, f"{value / per_trial:.2f}"))
    print(f"\ntarget {TARGET} s per trial: {'met' if per_trial <= TARGET else 'MISSED'}")
    print(f"RESULT seconds_per_trial={per_trial:.4f} fixed_seconds={fixed[True]:.2f}")


@contextlib.contextmanager
def wandb_on_the_loopback() -> Iterator[None]:
    """A W&B server and a key for it, in a process of its own; nothing leaves the machine."""
    script = Path(__file__).parent.parent / "tests" / "support" / "wandb_server.py"
    command = [sys.executable, str(script), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        os.environ.update(word.split("=", 1) for word in server.stdout.readline().split())
        os.environ.pop("WANDB_MODE", None)
        try:
            yield
        finally:
            server.kill()


def images(folder: Path) -> dict[str, Any]:
    """A dataset of 32 tiny images, written below the folder."""
    random = np.random.default_rng(0)
    for kind, count, darkest in (("good", 20, 60), ("bad", 12, 90)):
        (folder / "data" / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = random.integers(darkest, darkest + 100, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "data" / kind / f"{number}.png")
    dataset = {"name": "folder", "root": str(folder / "data"), "normal": "good", "anomalous": "bad"}
    return {**dataset, "image_size": 16, "channels": 1}


def search_space(folder: Path) -> Spec:
    """Two numbers to search for the trainable that trains nothing."""
    return reader.check(
        {
            "name": "overhead",
            "trainable": "idle_trainable:Idle",
            "dataset": images(folder),
            "space": {"weight": {"uniform": [0.1, 1]}, "unused": {"uniform": [0, 1]}},
            "evaluation": {"attack": "fgsm", "epsilon": "2/255"},
            "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
            "search": {"trials": LARGE},
            "resources": {"concurrent": 2},
        },
        "the benchmark's search space",
    )


def of_size(spec: Spec, trials: int) -> Spec:
    """The same search space with so many trials."""
    return spec.model_copy(update={"search": spec.search.model_copy(update={"trials": trials})})


def one_sweep(spec: Spec, trials: int, folder: Path, tracked: bool) -> tuple[float, float, float]:
    """Seconds to the end of the first trial, from there to the end of the sweep, and then for the mirror."""
    spec, store, ends = of_size(spec, trials), Store(str(folder)), []
    started = time.monotonic()
    told: list[str] = []
    with Tracker(store, f"sweeps/{spec.name}", "assay publish", told.append, enabled=tracked) as tracker:

        def listen(record: Any, event: str) -> None:
            if event == "end":
                ends.append(time.monotonic())

        study = sweep.run(spec, store, listeners=[listen, tracker.trial])
        done = time.monotonic()
    waited = time.monotonic() - done
    failed = [record.message for record in study.records.values() if record.state != "complete"]
    if failed or len(ends) != trials or (tracked and "trials sent" not in "".join(told)):
        raise SystemExit(f"not every trial completed or was sent: {len(ends)} ended, {failed[:1]}, {told}")
    return ends[0] - started, done - ends[0], waited


def sweeps(spec: Spec, folder: Path, rounds: int, large: int, tracked: bool) -> tuple[float, float]:
    """(fixed seconds, seconds per trial), medians over the rounds; the two sizes take turns."""
    starts, rests = [], {SMALL: [], large: []}
    for number in range(rounds):
        for trials, rest in rests.items():
            first, after, waited = one_sweep(spec, trials, folder / f"{tracked}-{trials}-{number}", tracked)
            starts.append(first)
            rest.append(after)
            told = f"first after {first:5.2f} s, the rest {after:5.2f} s, the mirror {waited:5.2f} s more"
            print(f"  mirror {tracked!s:5}  {trials:3d} trials: {told}")
    rest_of = {trials: statistics.median(rest) for trials, rest in rests.items()}
    slope = (rest_of[large] - rest_of[SMALL]) / (large - SMALL)
    return statistics.median(starts) + rest_of[SMALL] - (SMALL - 1) * slope, slope


def in_this_process(spec: Spec, folder: Path, trials: int) -> float:
    """Seconds per trial of the same work, one trial after another, without Ray: what a trial takes by itself."""
    spec, store = of_size(spec, trials), Store(str(folder))
    sweep.prepare(spec, store)
    data = data_module.training_data(spec.dataset.function(**spec.dataset.arguments()))
    study = Study(spec, store)
    started = time.monotonic()
    while order := study.next_order():
        study.report(order.number, Trial(order, data, store).step())
    seconds = time.monotonic() - started
    study.log.close()
    return seconds / trials


def plain_tune() -> float:
    """Seconds per trial of Ray Tune as its tutorial has it, two at a time; with few trials as they are slow."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    def idle(config: dict[str, float]) -> None:
        import torch  # what every training function needs

        weight = torch.tensor(config["weight"])
        tune.report({"clean_auroc": float(weight), "robust_auroc": config["unused"]})

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    domains = {"weight": tune.uniform(0.1, 1), "unused": tune.uniform(0, 1)}

    def seconds(trials: int) -> float:
        search = OptunaSearch(metric=["clean_auroc", "robust_auroc"], mode=["max", "max"], seed=0)
        config = tune.TuneConfig(search_alg=search, num_samples=trials, max_concurrent_trials=2)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
            run = tune.RunConfig(storage_path=folder, verbose=0)
            tuner = tune.Tuner(idle, param_space=domains, tune_config=config, run_config=run)
            return timed(tuner.fit)

    with connected():
        few = seconds(2)
        return (seconds(12) - few) / 10


def plain_optuna(trials: int) -> float:
    """Seconds per trial of Optuna alone: two objectives, TPE, in memory."""
    study = optuna.create_study(directions=["maximize"] * 2, sampler=optuna.samplers.TPESampler(seed=0))

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        return trial.suggest_float("weight", 0.1, 1), trial.suggest_float("unused", 0, 1)

    return timed(lambda: study.optimize(objective, trials)) / trials


def timed(action: Callable[[], Any]) -> float:
    """Seconds that an action takes."""
    started = time.monotonic()
    action()
    return time.monotonic() - started


if __name__ == "__main__":
    main()
