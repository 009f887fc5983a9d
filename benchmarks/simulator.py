"""10,000 trials of 20 reports on 1,000 virtual workers: the real searcher and early stopping, against bare Optuna.

    python benchmarks/simulator.py                                         target: 120 s, 1 GB, slowdown at most 2
    python benchmarks/simulator.py --trials 500                            a short run, to see that it works
    python benchmarks/simulator.py --sweep demo --store demo-store         the curves of a sweep that was run

`seconds` and `peak_mb` are of the whole simulation, on one core. `slowdown` says whether deciding about a report takes
longer the more reports came before: the mean time of the last thousand over that of the first, of each kind of decision
by itself (with a rung or without, the trial ends or goes on; of a kind with fewer than 2,000 the last half over the
first), the worst of them. Without --sweep the curves are made up, saturating ones whose height depends on two
parameters. With it they are recorded: those of the complete trials in the log of a sweep that was run, whose search
space is searched again. The rival draws as many trials with the same sampler of Optuna and tells it their last value:
no log, no rungs, no reports. Its time grows with the square of the trials, so it draws --rival of them.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sweep_simulator
from sweep_simulator import Curve, Judged, Report

from assay.config import reader
from assay.store import trials_table
from assay.store.store import Store

EPOCHS, RECORDED, BLOCK = 20, 64, 1000
SPACE: dict[str, Any] = {
    "name": "simulated",
    "trainable": "cobra",
    "dataset": {"name": "elpv"},
    "fixed": {"epochs": EPOCHS},
    "space": {"learning_rate": {"loguniform": [1e-4, 1e-2]}, "adversary.epsilon": {"uniform": [0, 8 / 255]}},
    "evaluation": {"attack": "pgd", "epsilon": "2/255", "every": 1},
    "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
    "search": {"sampler": "tpe", "trials": 10_000, "seed": 0},
    "stop_early": {"grace": 2, "reduction": 3},
}


def made_up() -> list[Curve]:
    """Curves of made-up trials: more epsilon costs clean AUROC and buys robust AUROC, and there is a best rate."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(RECORDED):
        rate, epsilon = 10 ** rng.uniform(-4, -2), rng.uniform(0, 8 / 255)
        height = 1 - 0.1 * (np.log10(rate) + 3) ** 2
        share = epsilon * 255 / 8
        ends = {"clean_auroc": (0.95 - 0.1 * share) * height, "robust_auroc": (0.2 + 0.5 * share) * height}
        pace, noise = rng.uniform(2, 6), rng.normal(0, 0.01, (EPOCHS, 2))
        reports = [
            Report(
                epoch,
                {
                    name: float(0.5 + (end - 0.5) * (1 - np.exp(-epoch / pace)) + noise[epoch - 1, at])
                    for at, (name, end) in enumerate(ends.items())
                },
                60.0 * epoch * float(1 + share),
            )
            for epoch in range(1, EPOCHS + 1)
        ]
        found.append(Curve({"learning_rate": rate, "adversary.epsilon": epsilon}, tuple(reports)))
    return found


def bare_optuna(count: int, curves: list[Curve]) -> float:
    """Processor seconds of the sampler alone."""
    study = optuna.create_study(directions=["maximize"] * 2, sampler=optuna.samplers.TPESampler(seed=0))
    started = time.process_time()
    for number in range(count):
        trial = study.ask()
        trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
        trial.suggest_float("adversary.epsilon", 0, 8 / 255)
        study.tell(trial, list(curves[number % len(curves)].reports[-1].values.values()))
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--rival", type=int, default=2000, help="trials of the rival, at most")
    parser.add_argument("--sweep", help="name of a recorded sweep whose curves are played")
    parser.add_argument("--store", type=Path, default=Path("assay-store"))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    changes: dict[str, Any] = {"trials": options.trials}
    if options.sweep:
        whole, records = trials_table.load(Store(options.store), options.sweep)
        curves, plain = sweep_simulator.curves(whole, records), whole.plain()
    else:
        curves, plain = made_up(), SPACE
    space = reader.check({**plain, "search": {**plain["search"], **changes}}, "the benchmark's search space")
    with tempfile.TemporaryDirectory() as folder:
        wall, began = time.monotonic(), time.process_time()
        found = sweep_simulator.simulate(space, Store(folder), sweep_simulator.Nearest(curves).to, options.workers)
        wall, seconds = time.monotonic() - wall, time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    states = [record.state for record in found.study.records.values()]
    print(f"{len(states)} trials, {states.count('pruned')} stopped early, {len(found.judging)} reports")
    print(f"{found.seconds / 3600:.1f} simulated hours on {options.workers} workers, {wall:.1f} s of wall time")
    taken = sum(one.seconds for one in found.judging)
    print(f"processor: {sum(found.asking):.1f} s asking, {taken:.1f} s judging reports")
    print(
        "ms an ask, by tenths of the trials: "
        + " ".join(f"{1000 * x:.1f}" for x in tenths(found.asking[: len(states)]))
    )
    rungs = set(found.study.halving.rungs) if found.study.halving else set()
    slowest = 0.0
    for kind, taken_by in by_kind(found.judging, rungs).items():
        block = min(BLOCK, len(taken_by) // 2)
        first, last = (1000 * float(np.mean(part)) for part in (taken_by[:block], taken_by[-block:]))
        print(f"  {kind:<26}{len(taken_by):>7} reports, first {block} {first:.3f} ms each, last {block} {last:.3f} ms")
        slowest = max(slowest, last / first)
    rival = min(options.trials, options.rival)
    print(f"bare Optuna, the sampler alone, {rival} trials: {bare_optuna(rival, curves):.1f} s")
    print(f"RESULT seconds={seconds:.1f} peak_mb={peak:.0f} slowdown={slowest:.2f} trials={len(states)}")


def tenths(values: list[float]) -> list[float]:
    """The mean of each tenth of the values."""
    return [float(np.mean(part)) for part in np.array_split(values, 10)]


def by_kind(judging: list[Judged], rungs: set[int]) -> dict[str, list[float]]:
    """The seconds of every decision, by kind; a kind with fewer than 100 is left out."""
    found: dict[str, list[float]] = {}
    for one in judging:
        where = "at a rung" if one.epoch in rungs else "no rung"
        found.setdefault(f"{where}, the trial {'ends' if one.ended else 'goes on'}", []).append(one.seconds)
    return {kind: seconds for kind, seconds in found.items() if len(seconds) >= BLOCK // 10}


if __name__ == "__main__":
    main()
