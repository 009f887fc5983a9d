"""How soon a search finds good detectors: our sampler and fidelity ladder against Optuna's TPE and Ray Tune's ASHA.

    python benchmarks/search_table.py --record table.parquet               real trainings, once; an hour of a core
    python benchmarks/search_quality.py table.parquet                      target: speedup at least 2.0; minutes
    python benchmarks/search_quality.py table.parquet --real 5 --seeds 3   the same by real sweeps of 5 minutes each

The table is searched on a virtual clock: what a trial reports, and the seconds of training, scoring and attacks, are
those recorded, on --workers virtual workers. Figures are of validation images, (clean, robust) AUROC, robust under the
full attack alone. A figure is the seconds until the points that a search has found span 95 % of the hypervolume of the
whole table above REFERENCE, the median over --seeds; `speedup` is that of the quicker of TPE and ASHA over ours.

random, tpe: Optuna's samplers, every trial trained to its end and measured once. asha: Ray Tune's own bracket, rungs at
epochs 1, 3, 9, 27, which compares robust AUROC under the full attack; random configurations; what it measures of a
trial counts even if it then stops it. moasha: the same with Syne Tune's bracket, on both figures, where `syne_tune` can
be imported (its wheel on PYTHONPATH will do). Rivals do not pay for a configuration drawn twice. ours: `sampler: tpe`.
ladder: the same with the ladder of `search_table.py`, a reduction of 3; it pays for checks by the full attack at lower
rungs. known: random configurations of the one trainable that spans most, which no search can know beforehand: how much
there is to be gained.
"""

from __future__ import annotations

import argparse
import heapq
import importlib.util
import json
import math
import os
import random
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import search_table
import sweep_simulator
from search_table import EPOCHS, FULL, LADDER
from sweep_simulator import Curve, Report

from assay.api.sweep import sweep
from assay.config import space
from assay.config.search import fidelity
from assay.hashing import canonical
from assay.store.store import Store
from assay.sweeps.draw import Draw

REFERENCE = (0.8, 0.5)
"""Clean and robust AUROC of a detector that is worth nothing: unusable as it is, or no better than chance attacked."""
SHARE, TARGET, REDUCTION, IDLE = 0.95, 2.0, 3, 300
RUNGS = EPOCHS[:-1]
ON_LADDER = {
    "stop_early": {"grace": EPOCHS[0], "reduction": REDUCTION},
    "fidelity": {"ladder": list(LADDER), "check": 0.2},
}

Point = tuple[float, float]
Rows = Sequence[Mapping[str, Any]]
Found = Iterable[tuple[float, Point]]
"""(simulated second, point) of everything that a search measured by the full attack, in the order of time."""
CurveOf = Callable[[Rows, Mapping[str, Any]], Curve]
"""The recorded rows of a configuration and its parameters -> what a trial reports."""
Stops = Callable[[int, Mapping[str, Any]], bool]
"""Whether a trial ends at a row of the table: called once for each of its rungs."""


def point(row: Mapping[str, Any]) -> Point:
    """What the full attack leaves of a detector."""
    return row["clean"], row[FULL]


def seconds(row: Mapping[str, Any]) -> float:
    """What a training to that row took, measured at its end alone."""
    return row["trained"] + row["scoring"] + row[f"{FULL} seconds"]


def hypervolume(points: Iterable[Point]) -> float:
    """The area that points span above REFERENCE."""
    area, highest = 0.0, REFERENCE[1]
    for clean, robust in sorted(points, reverse=True):
        if clean > REFERENCE[0] and robust > highest:
            area += (clean - REFERENCE[0]) * (robust - highest)
            highest = robust
    return area


def until(found: Found, wanted: float) -> float:
    """The second at which the points found span so much; infinite where they never do."""
    seen: list[Point] = []
    for at, one in found:
        seen.append(one)
        if hypervolume(seen) >= wanted:
            return at
    return math.inf


def ladder_curve(rows: Rows, parameters: Mapping[str, Any]) -> Curve:
    """What a trial on the ladder reports; of checks by the full attack, each trial pays the mean."""
    reports, spent = [], 0.0
    for row, rung in zip(rows, [*LADDER, None], strict=False):
        name = fidelity.label(rung) if rung and not row["done"] else FULL
        spent += row["scoring"] + row[f"{name} seconds"]
        if name != FULL:
            spent += ON_LADDER["fidelity"]["check"] * row[f"{FULL} seconds"]
        values = {"clean_auroc": row["clean"], "robust_auroc": row[name]}
        reports.append(Report(row["epoch"], values, row["trained"] + spent, "" if name == FULL else name))
    return Curve(parameters, tuple(reports))


def whole_curve(rows: Rows, parameters: Mapping[str, Any]) -> Curve:
    """What a trial reports that is trained to its end and measured once."""
    last = rows[-1]
    values = {"clean_auroc": last["clean"], "robust_auroc": last[FULL]}
    return Curve(parameters, (Report(last["epoch"], values, seconds(last)),))


def ours(table: Mapping[str, Rows], seed: int, workers: int, curve: CurveOf = whole_curve, **sections: Any) -> Found:
    """Our search, with further sections of the search space: every decision is that of a sweep."""
    whole = search_table.space(search={"sampler": "tpe", "trials": len(table), "seed": seed}, **sections)
    with tempfile.TemporaryDirectory() as folder:
        played = sweep_simulator.simulate(whole, Store(folder), lambda p: curve(table[key(p)], p), workers)
    records = played.study.records
    return sorted(
        (played.ended[number], point(table[key(record.parameters)][-1]))
        for number, record in records.items()
        if record.state == "complete"
    )


def ladder(table: Mapping[str, Rows], seed: int, workers: int) -> Found:
    """Our search on the ladder."""
    return ours(table, seed, workers, ladder_curve, **ON_LADDER)


def known(table: Mapping[str, Rows], seed: int, workers: int) -> Found:
    """Random configurations of the trainable that spans the most hypervolume."""
    of: dict[str, list[Rows]] = defaultdict(list)
    for name in sorted(table):
        of[json.loads(name)["trainable"]].append(table[name])
    drawn = max(of.values(), key=lambda several: hypervolume(point(rows[-1]) for rows in several))
    random.Random(seed).shuffle(drawn)
    free, found = [0.0] * workers, []  # when each worker is free
    for rows in drawn:
        end = free[0] + seconds(rows[-1])
        heapq.heapreplace(free, end)
        found.append((end, point(rows[-1])))
    return sorted(found)


def key(parameters: Mapping[str, Any]) -> str:
    """The name of a configuration in the table."""
    return canonical(dict(parameters)).decode()


def rival(
    table: Mapping[str, Rows], sampler: optuna.samplers.BaseSampler, workers: int, stops: Stops | None = None
) -> Found:
    """A search by a sampler of Optuna; stops: where trials may end early, at the rungs of ASHA."""
    domains = search_table.space().domains
    study = optuna.create_study(directions=["maximize"] * 2, sampler=sampler)
    events: list[tuple[float, int, int]] = []  # when a trial is measured, its number, at which of its rows
    playing: dict[int, tuple[optuna.Trial, Rows, list[float]]] = {}
    known: dict[str, Point | None] = {}

    def start(now: float) -> None:
        for _ in range(IDLE):
            trial = study.ask()
            space.suggest(domains, trial)
            name = key(trial.params)
            if name not in known:
                break
            known_point = known[name]
            study.tell(trial, known_point, state=None if known_point else optuna.trial.TrialState.FAIL)
        else:
            return
        known[name] = None
        rows = [row for row in table[name] if row["done"] or (stops and row["epoch"] in RUNGS)]
        ends, spent = [], 0.0
        for row in rows:
            spent += row["scoring"] + row[f"{FULL} seconds"]
            ends.append(row["trained"] + spent)
        playing[trial.number] = trial, rows, ends
        heapq.heappush(events, (now + ends[0], trial.number, 0))

    for _ in range(workers):
        start(0.0)
    while events:
        now, number, at = heapq.heappop(events)
        trial, rows, ends = playing[number]
        row = rows[at]
        yield now, point(row)
        if row["done"] or (stops and stops(number, row)):
            known[key(trial.params)] = point(row)
            study.tell(trial, point(row))
            start(now)
        else:
            heapq.heappush(events, (now + ends[at + 1] - ends[at], number, at + 1))


def asha(table: Mapping[str, Rows], seed: int, workers: int) -> Found:
    """Ray Tune's ASHA with its random search."""
    from ray.tune.schedulers.async_hyperband import _Bracket

    bracket = _Bracket(EPOCHS[0], EPOCHS[-1], REDUCTION, 0)

    def stops(number: int, row: Mapping[str, Any]) -> bool:
        stopped: bool = bracket.on_result(SimpleNamespace(trial_id=str(number)), row["epoch"], row[FULL]) == "STOP"
        return stopped

    return rival(table, optuna.samplers.RandomSampler(seed=seed), workers, stops)


def moasha(table: Mapping[str, Rows], seed: int, workers: int) -> Found:
    """Syne Tune's multi-objective ASHA, which draws at random: its own bracket on both figures, negated."""
    from syne_tune.optimizer.schedulers.asha import Bracket
    from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import NonDominatedPriority

    bracket = Bracket(EPOCHS[0], EPOCHS[-1], REDUCTION, 0, NonDominatedPriority())

    def stops(number: int, row: Mapping[str, Any]) -> bool:
        figures = {"clean": -row["clean"], "robust": -row[FULL]}
        stopped: bool = bracket.on_result(number, row["epoch"], figures) == "STOP"
        return stopped

    return rival(table, optuna.samplers.RandomSampler(seed=seed), workers, stops)


ARMS: dict[str, Callable[[Mapping[str, Rows], int, int], Found]] = {
    "random": lambda table, seed, workers: rival(table, optuna.samplers.RandomSampler(seed=seed), workers),
    "tpe": lambda table, seed, workers: rival(table, optuna.samplers.TPESampler(seed=seed), workers),
    "asha": asha,
    **({"moasha": moasha} if importlib.util.find_spec("syne_tune") else {}),
    "ladder": ladder,
    "known": known,
    "ours": ours,
}

REAL: dict[str, dict[str, Any]] = {
    "random": {"search": {"sampler": "random"}},
    "tpe": {"search": {"sampler": "search_quality:optunas_tpe"}},
    "asha": {
        "search": {"sampler": "random"},
        "stop_early": {"grace": EPOCHS[0], "reduction": REDUCTION, "metric": "robust_auroc"},
        "fidelity": {"ladder": [{"until": epoch, **search_table.ATTACKS[FULL]} for epoch in RUNGS], "check": 0.0},
    },
    "ladder": {"search": {"sampler": "tpe"}, **ON_LADDER},
    "ours": {"search": {"sampler": "tpe"}},
}
"""What differs between the arms where they are real sweeps; ASHA's rule is then our own, and what it stops is lost."""


def optunas_tpe(draw: Draw) -> optuna.samplers.BaseSampler:
    """Optuna's TPE as it comes."""
    return optuna.samplers.TPESampler(seed=draw.seed)


def really(minutes: float, seed: int) -> dict[str, float]:
    """Arm -> the hypervolume that a real sweep finds in so many minutes, on as many cores as there are."""
    spanned = {}
    for name, changes in REAL.items():
        search = {**changes["search"], "trials": 1000, "seed": seed}
        raw = {**search_table.SPACE, **changes, "search": search, "budget": {"wall_minutes": minutes}}
        with tempfile.TemporaryDirectory() as folder:
            rows = sweep(raw, store=folder).to_pandas()
        done = rows[rows["state"] == "complete"]
        figures = done[["objective.clean_auroc", "objective.robust_auroc"]]
        spanned[name] = hypervolume(figures.itertuples(index=False, name=None))
        print(f"{name}, seed {seed}: {len(rows)} trials, {len(done)} complete, hypervolume {spanned[name]:.5f}")
    return spanned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="the Parquet file of search_table.py")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--real", type=float, metavar="MINUTES", help="real sweeps, of so many minutes each")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    table: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in search_table.load(options.table):
        table[row["parameters"]].append(row)
    if missing := (space.size(search_table.space().domains) or 0) - len(table):
        parser.error(f"{options.table} lacks {missing} configurations; `search_table.py --record` goes on with it")
    whole = hypervolume(point(rows[-1]) for rows in table.values())
    print(f"{len(table)} configurations, hypervolume {whole:.5f}")
    if options.real:
        several = [really(options.real, seed) for seed in range(options.seeds)]
        shares = {name: statistics.median(one[name] for one in several) / whole for name in REAL}
        print("RESULT " + " ".join(f"{name}={share:.3f}" for name, share in shares.items()))
        return
    medians = {}
    for name, arm in ARMS.items():
        each = sorted(until(arm(table, seed, options.workers), SHARE * whole) for seed in range(options.seeds))
        medians[name] = statistics.median(each)
        print(f"{name}: median {medians[name]:.1f} s, each {json.dumps([round(one, 1) for one in each])}")
    speedup = min(medians["tpe"], medians["asha"]) / medians["ours"]
    print(f"target {TARGET}: {'met' if speedup >= TARGET else 'MISSED'}")
    told = " ".join(f"{name}={one:.1f}" for name, one in medians.items())
    print(f"RESULT {told} speedup={speedup:.2f} seeds={options.seeds}")


if __name__ == "__main__":
    main()
