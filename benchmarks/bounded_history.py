"""Whether TPE finds as much where it looks at a part of a long sweep as where it looks at all of it.

    python benchmarks/bounded_history.py                      about 15 minutes on one core

Target: ratio at least 0.99. A sampler that looks at every trial is the rival, in the same run: both search the same two
made-up landscapes of two objectives, one of two parameters and one of seven, some of them conditional, with early
stopping and without, on 50 virtual workers, with several seeds. Compared is the hypervolume of the complete trials
above (0.5, 0) at the end, and the processor time it took. `ratio` is the mean over landscapes, stopping and seeds of
ours over the rival's, `worst` the lowest mean over the seeds.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sweep_simulator
from sweep_simulator import Curve, Report

from assay.config import reader
from assay.config.search_space import Spec
from assay.store.store import Store
from assay.sweeps import draw
from assay.sweeps.study import Study

EPOCHS, WORKERS = 9, 50
FEW = {"learning_rate": {"loguniform": [1e-4, 1e-2]}, "adversary.epsilon": {"uniform": [0, 8 / 255]}}
MANY = {
    **FEW,
    "weight_decay": {"loguniform": [1e-6, 1e-2]},
    "loss.contrastive": {"uniform": [0, 2]},
    "loss.pairs": {"choice": ["none", "supcon", "cobra", "opposite"]},
    "pseudo_anomaly": {"choice": [{"cutpaste": {"area": {"uniform": [0.02, 0.3]}}}, "rotation", "perlin"]},
}


def few(parameters: Mapping[str, Any]) -> tuple[float, float]:
    """How good a trial can get without and under attack: a best rate for each, which differ, and a trade by epsilon."""
    rate, share = math.log10(parameters["learning_rate"]), parameters["adversary.epsilon"] * 255 / 8
    clean = 0.95 - 0.25 * share**2 - 0.1 * (rate + 2.7) ** 2
    return clean, 0.2 + 0.5 * math.sqrt(share) - 0.15 * (rate + 3.3) ** 2


def many(parameters: Mapping[str, Any]) -> tuple[float, float]:
    """As `few`, with further parameters that matter, some of them to one objective alone or only with another."""
    clean, robust = few(parameters)
    decay, contrastive = math.log10(parameters["weight_decay"]), parameters["loss.contrastive"]
    loss = 0.01 * (decay + 4) ** 2
    pairs = {"none": 0.0, "supcon": 0.03, "cobra": 0.05, "opposite": -0.02}[parameters["loss.pairs"]]
    gain = pairs * math.sin(min(contrastive, 1.5) * math.pi / 1.5)
    kind = parameters["pseudo_anomaly"]
    area = parameters.get("pseudo_anomaly.cutpaste.area", 0.0)
    made = {"cutpaste": 0.06 - 4 * (area - 0.1) ** 2, "rotation": -0.05, "perlin": 0.02}[kind]
    return clean - loss + made, robust - loss + gain + made / 2


def curve_of(landscape: Callable[[Mapping[str, Any]], tuple[float, float]]) -> sweep_simulator.CurveOf:
    """Curves that rise to what the landscape says, the slower the lower the learning rate."""

    def curve(parameters: Mapping[str, Any]) -> Curve:
        ends = landscape(parameters)
        pace = 1 + 2 * (math.log10(parameters["learning_rate"]) + 2) ** 2 / 4
        risen = [1 - math.exp(-epoch / pace) for epoch in range(1, EPOCHS + 1)]
        names = ("clean_auroc", "robust_auroc")
        values = [{name: 0.3 + (end - 0.3) * by for name, end in zip(names, ends, strict=True)} for by in risen]
        return Curve(parameters, tuple(Report(n + 1, figures, 60.0 * (n + 1)) for n, figures in enumerate(values)))

    return curve


def search_space(space: Mapping[str, Any], trials: int, seed: int, stop: bool) -> Spec:
    """A search of so many trials."""
    raw = {
        "name": "searched",
        "trainable": "cobra",
        "dataset": {"name": "elpv"},
        "fixed": {"epochs": EPOCHS},
        "space": space,
        "evaluation": {"attack": "pgd", "epsilon": "2/255", "every": 1},
        "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
        "search": {"sampler": "tpe", "trials": trials, "seed": seed},
        "stop_early": {"grace": 1, "reduction": 3} if stop else None,
    }
    return reader.check(raw, "the benchmark's search space")


def hypervolume(study: Study) -> float:
    """The area above (0.5, 0) that the complete trials cover."""
    kept = [record.kept for record in study.records.values() if record.state == "complete"]
    points = sorted(((row["clean_auroc"], row["robust_auroc"]) for row in kept), reverse=True)
    area, height = 0.0, 0.0
    for clean, robust in points:
        if clean > 0.5 and robust > height:
            area += (clean - 0.5) * (robust - height)
            height = robust
    return area


@contextmanager
def all_of_it() -> Iterator[None]:
    """The sampler looks at every trial, as Optuna's own does."""
    before = draw.ENDED, draw.RUNNING
    draw.ENDED = draw.RUNNING = 10**9
    try:
        yield
    finally:
        draw.ENDED, draw.RUNNING = before


def searched(found: Spec, curve: sweep_simulator.CurveOf) -> tuple[float, float]:
    """Hypervolume and processor seconds of one search."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        study = sweep_simulator.simulate(found, Store(folder), curve, WORKERS).study
        return hypervolume(study), time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    row = "{:<12}{:<10}{:>6}{:>12}{:>12}{:>8}{:>10}{:>10}".format
    print(row("parameters", "stopping", "seed", "a part", "all", "ratio", "s part", "s all"))
    means, ours, theirs = [], 0.0, 0.0
    for name, space, landscape in (("few", FEW, few), ("many", MANY, many)):
        for stop in (False, True):
            ratios = []
            for seed in range(options.seeds):
                found, curve = search_space(space, options.trials, seed, stop), curve_of(landscape)
                part, seconds = searched(found, curve)
                with all_of_it():
                    whole, longer = searched(found, curve)
                ratios.append(part / whole)
                ours, theirs = ours + seconds, theirs + longer
                volumes = (f"{part:.4f}", f"{whole:.4f}", f"{ratios[-1]:.3f}", f"{seconds:.0f}", f"{longer:.0f}")
                print(row(name, "asha" if stop else "none", seed, *volumes), flush=True)
            means.append(statistics.mean(ratios))
    times = f"seconds_part={ours:.0f} seconds_all={theirs:.0f}"
    print(f"RESULT ratio={statistics.mean(means):.4f} worst={min(means):.4f} {times} trials={options.trials}")


if __name__ == "__main__":
    main()
