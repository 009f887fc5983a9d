"""A study of 12 short cells: how much longer it takes than its trainings alone.

    python benchmarks/study_overhead.py                                    target: overhead_fraction at most 0.10

Three detectors x two datasets x two seeds of cells that take --seconds each: the rival is the same `Trial`s stepped one
after the other in this process, without Ray, log or page. Both train the same in one run; the study's time includes the
start of Ray, every sweep's start and end, `study.parquet` and `study.html`. Medians of --repeats.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

from assay.api.study import study
from assay.cluster import user_code
from assay.data import splits
from assay.store.store import Store
from assay.studies import study_file
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial

EPOCHS = 10


def space(folder: Path, seconds: float) -> dict[str, Any]:
    """Detectors whose epochs wait, so that a cell takes its time on any machine."""
    fixed = {"epochs": EPOCHS, "pause": seconds / EPOCHS}
    rates = {"slow": 0.001, "middle": 0.01, "quick": 0.1}
    return {
        "name": "overhead",
        "detectors": {
            name: {"trainable": "toy_runs:Runs", "fixed": {**fixed, "learning_rate": rate}}
            for name, rate in rates.items()
        },
        "datasets": {name: {"name": "toy_runs:squares", "root": str(folder / name)} for name in ("one", "two")},
        "seeds": [0, 1],
        "evaluation": {"attack": "fgsm", "epsilon": "1/255", "every": EPOCHS},
        "tracking": {"wandb": False},
    }


def alone(raw: dict[str, Any], folder: Path) -> float:
    """Seconds of the trainings and evaluations of all cells, one after the other."""
    started = time.monotonic()
    for cell in study_file.check(raw, "the benchmark").cells:
        data = splits.training_data(cell.spec.dataset.function(**cell.spec.dataset.arguments()))
        store = Store(folder / cell.spec.name)
        order = Study(cell.spec, store).next_order()
        assert order is not None
        trial = Trial(order, data, store)
        while not trial.step()["done"]:
            pass
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="a cell takes at least so long")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    user_code.beside(Path(__file__).parents[1] / "tests" / "support" / "toy_runs.py")  # for Ray's workers
    fractions = []
    for turn in range(options.repeats):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            raw = space(folder, options.seconds)
            rival = alone(raw, folder / "alone")
            started = time.monotonic()
            done = study(raw, store=folder / "store")
            ours = time.monotonic() - started
            assert not done.missing, done.missing[0].missing
        fractions.append(ours / rival - 1)
        print(f"{turn + 1}: trainings alone {rival:.1f} s, as a study {ours:.1f} s")
    fraction = statistics.median(fractions)
    print(f"RESULT overhead_fraction={fraction:.3f} cell_seconds={options.seconds:g} repeats={len(fractions)}")


if __name__ == "__main__":
    main()
