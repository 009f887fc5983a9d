"""How often the interval of a hyperparameter's importance misses, and how often one without effect rises above chance.

    python benchmarks/importance.py [--sweeps 100] [--trials 40]          about 3 minutes on 2 cores

Every sweep tries three parameters at random: one decides the objective, one has a third of its effect, one has none.
`metrics.importance.table` makes the figures, as for a report. No gate acts on them. The truth is the mean of the
figures of 1,500 sweeps with as many trials: PED-ANOVA sees less in few trials than in many, which no interval tells.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pyarrow as pa
from coverage_shapes import Floats

from assay.metrics import importance

EFFECTS = {"strong": 1.0, "weak": 0.3, "none": 0.0}
NOISE = 0.3
MANY = 1500


def trials(seed: int, count: int) -> pa.Table:
    """A random search of so many complete trials."""
    random = np.random.default_rng(seed)
    tried = {name: random.random(count) for name in EFFECTS}
    objective = sum(effect * tried[name] for name, effect in EFFECTS.items()) + NOISE * random.normal(size=count)
    columns = {f"parameter.{name}": values for name, values in tried.items()}
    return pa.table({"state": ["complete"] * count, **columns, "objective.score": objective})


def figures(seed: int, count: int) -> Floats:
    """(3, 4) importance, bounds and chance level of each parameter, in the order of EFFECTS."""
    rows = {row["parameter"]: row for row in importance.table(trials(seed, count), {"score": "max"}).to_pylist()}
    return np.array([[rows[name][key] for key in ("importance", "lower", "upper", "chance")] for name in EFFECTS])


def value(seed: int, count: int) -> Floats:
    """(3,) the importance alone."""
    importance.RESAMPLES = 1
    found: Floats = figures(seed, count)[:, 0]
    importance.RESAMPLES = RESAMPLES
    return found


RESAMPLES = importance.RESAMPLES


def main() -> None:
    """Print the misses of every parameter."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    counts = [options.trials] * (MANY + options.sweeps)
    with ProcessPoolExecutor(options.processes) as pool:
        many = pool.map(value, range(10**6, 10**6 + MANY), counts, chunksize=50)
        seen = pool.map(figures, range(options.sweeps), counts, chunksize=5)
        true, found = np.mean(list(many), axis=0), np.array(list(seen))
    low, high = (found[:, :, 1] > true).mean(axis=0), (found[:, :, 2] < true).mean(axis=0)
    above = (found[:, :, 0] > found[:, :, 3]).mean(axis=0)
    for name, *row in zip(EFFECTS, true, low, high, above, strict=True):
        print(f"{name:8s} truth {row[0]:.3f}  missed {row[1]:.3f} {row[2]:.3f}  above chance {row[3]:.3f}")
    print(f"RESULT worst_miss={max(*low, *high):.3f} null_above_chance={above[-1]:.3f} sweeps={options.sweeps}")


if __name__ == "__main__":
    main()
