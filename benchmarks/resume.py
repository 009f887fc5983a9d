"""How soon a sweep with 5,000 finished trials goes on when it is resumed.

    python benchmarks/resume.py                               3 to 5 minutes on 2 cores
    python benchmarks/resume.py --trials 500                  a short run, to see that it works

Target: at most 15 s from the start of the command `assay sweep --resume NAME` to the start of the first new trial in a
worker, the interpreter, the imports, the reading of the log and the start of Ray all included. The finished trials
have 10 reports each; their log is written by the simulator, as by a real sweep, with TPE on two objectives. Measured in
the same run: a new sweep of the same search space, from its command to its first trial, which is what Ray and the
workers' imports take; and `assay trials NAME`, whose target is 2 s.

The rival is Optuna's own way to resume: a study of as many trials with their values in an SQLite file, which is opened
and asked for one trial. It starts no worker and keeps no reports.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sweep_simulator
import yaml
from sweep_overhead import images
from sweep_simulator import Curve, Report

from assay.config import reader
from assay.config.search_space import Spec
from assay.runtime.provenance import environment
from assay.store.store import Store
from assay.store.trial_log import TrialLog
from assay.sweeps import sweep

NAME, REPORTS, MORE, TARGET = "resumed", 10, 4, 15
ASSAY = str(Path(sys.executable).parent / "assay")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5000, help="finished trials")
    parser.add_argument("--rounds", type=int, default=3, help="resumes; the median is reported")
    parser.add_argument("--keep", type=Path, help="a folder to keep the sweep in, and to use again")
    options = parser.parse_args()
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))  # for Ray's workers
    os.environ["WANDB_MODE"] = "disabled"
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        os.environ["ASSAY_CACHE"] = f"{folder}/cache"
        store = Store(folder / "store")
        if not store.exists(f"sweeps/{NAME}"):
            write(folder, store, options.trials)
        size = sum(path.stat().st_size for path in store.path(f"sweeps/{NAME}/log").iterdir()) / 2**20
        print(f"{options.trials} finished trials of {REPORTS} reports, a log of {size:.0f} MB")
        again = [told("resumed", resumed(folder, store)) for _ in range(options.rounds)]
        fresh = told("a new sweep", new(folder))
        listed = seconds_of([ASSAY, "trials", NAME, "--store", str(store.root)])
        front = seconds_of([ASSAY, "trials", NAME, "--pareto", "--store", str(store.root)])
        print(f"assay trials: {listed:.1f} s, --pareto: {front:.1f} s", flush=True)
        rival = optuna_alone(options.trials)
    print(f"Optuna opens and asks a study of as many trials in SQLite, no worker, no reports: {rival:.1f} s")
    print(f"load average after: {os.getloadavg()[0]:.1f}")
    seconds = float(np.median([first for first, _ in again]))
    print(f"target {TARGET} s: {'met' if seconds <= TARGET else 'MISSED'}")
    print(f"RESULT seconds={seconds:.1f} fresh={fresh[0]:.1f} trials_seconds={listed:.1f} pareto_seconds={front:.1f}")


def told(what: str, times: tuple[float, float]) -> tuple[float, float]:
    """The times of first_trial, once they are printed."""
    print(f"{what}: first new trial after {times[0]:.1f} s, all {MORE} ended after {times[1]:.1f} s", flush=True)
    return times


def search_space(folder: Path, trials: int) -> Spec:
    """Two parameters of the trainable that does nothing; every start is noted in `marks`."""
    return reader.check(
        {
            "name": NAME,
            "trainable": "sleeping_trainable:Sleeping",
            "dataset": images(folder),
            "fixed": {"marks": str(folder / "marks")},
            "space": {"weight": {"uniform": [0.1, 1]}, "unused": {"uniform": [0, 1]}},
            "evaluation": {"attack": "fgsm", "epsilon": "2/255"},
            "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
            "search": {"trials": trials},
            "stop_early": {"grace": 2, "reduction": 4},
            "resources": {"concurrent": 2},
            "tracking": {"wandb": False},
        },
        "the benchmark's search space",
    )


def write(folder: Path, store: Store, trials: int) -> None:
    """The store of a sweep that has so many finished trials and some more to run for every round."""
    log = TrialLog(store, NAME)
    data = sweep.load_data(search_space(folder, trials), [])
    log.append({"event": "start", "dataset": data.description["hash"], "environment": environment()})
    log.close()
    random = np.random.default_rng(0)

    def curve(parameters: Any) -> Curve:
        end = {"clean_auroc": 0.5 + 0.4 * parameters["weight"], "robust_auroc": 0.9 - 0.4 * parameters["weight"]}
        noise = random.normal(0, 0.02, (REPORTS, 2))
        values = [{name: end[name] + float(off) for name, off in zip(end, row, strict=True)} for row in noise]
        return Curve(parameters, tuple(Report(n + 1, figures, float(n)) for n, figures in enumerate(values)))

    whole = search_space(folder, trials).model_copy(update={"stop_early": None})  # all have all reports
    sweep_simulator.simulate(whole, store, curve, workers=50)
    sweep.prepare(search_space(folder, trials + MORE), store)


def first_trial(folder: Path, command: list[str]) -> tuple[float, float]:
    """Seconds from the start of a command to the first start of a trial in a worker, and to the command's end."""
    marks = folder / "marks"
    marks.unlink(missing_ok=True)
    began = time.time()
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{told.stdout}\n{told.stderr}")
    ended = time.time()
    return float(marks.read_text().split()[0]) - began, ended - began


def resumed(folder: Path, store: Store) -> tuple[float, float]:
    """As first_trial, of a resume in a copy of the store."""
    with tempfile.TemporaryDirectory() as other:
        shutil.copytree(store.path("sweeps"), Path(other) / "sweeps")
        return first_trial(folder, [ASSAY, "sweep", "--resume", NAME, "--store", other])


def new(folder: Path) -> tuple[float, float]:
    """As first_trial, of a new sweep of the same search space."""
    file = folder / "space.yaml"
    file.write_text(yaml.safe_dump(search_space(folder, MORE).plain()))
    with tempfile.TemporaryDirectory() as other:
        return first_trial(folder, [ASSAY, "sweep", str(file), "--store", other])


def seconds_of(command: list[str]) -> float:
    """Wall time of a command whose output is thrown away."""
    began = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def optuna_alone(trials: int) -> float:
    """Seconds in which a new process opens Optuna's study of so many trials in SQLite and asks for one more."""
    with tempfile.TemporaryDirectory() as folder:
        url, random = f"sqlite:///{folder}/study.db", np.random.default_rng(0)
        study = optuna.create_study(storage=url, study_name=NAME, directions=["maximize"] * 2)
        domain = optuna.distributions.FloatDistribution(0, 1)
        domains = dict.fromkeys(("weight", "unused"), domain)
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={name: float(random.uniform()) for name in domains},
                    distributions=domains,
                    values=list(random.uniform(size=2)),
                )
                for _ in range(trials)
            ]
        )
        code = (
            f"import optuna; study = optuna.load_study(storage={url!r}, study_name={NAME!r}); trial = study.ask(); "
            "print([trial.suggest_float(name, 0, 1) for name in ('weight', 'unused')])"
        )
        return seconds_of([sys.executable, "-c", code])


if __name__ == "__main__":
    main()
