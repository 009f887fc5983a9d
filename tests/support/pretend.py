"""Trials that only pretend: their figures follow from their configuration and the epoch."""

from __future__ import annotations

import hashlib
import json

import toy_runs

from assay.config import reader
from assay.config.search_space import Spec
from assay.sweeps.study import Study

FINITE = {
    "learning_rate": {"choice": [0.1, 0.2]},
    "pseudo_anomaly": {"choice": [{"cutpaste": {"area": {"uniform": [0.05, 0.15], "step": 0.05}}}, {"rotation": {}}]},
}


def search_space(tmp_path, sampler="tpe", trials=8, **changes) -> Spec:
    raw = toy_runs.search_space(tmp_path, search={"sampler": sampler, "trials": trials, "seed": 3, "startup": 3})
    if sampler == "grid":
        raw["space"] = FINITE
    return reader.check({**raw, **changes}, "toy.yaml")


def figure(order, epoch: int, name: str) -> float:
    """A number from 0 to 1 that follows from a configuration, an epoch and a name."""
    text = json.dumps([order.config, order.seed, epoch, name], sort_keys=True)
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


class Pretend:
    """What stands for workers and their checkpoints: a trial restored repeats its last report, as real ones do."""

    def __init__(self, fails=()) -> None:
        self.saved: dict[int, dict] = {}
        self.fails = fails

    def reports(self, order):
        last = self.saved.get(order.number)
        if last:
            yield last
        for epoch in range(last["epoch"] + 1 if last else 1, 5):
            if order.number in self.fails:
                yield {"failure": "bug", "message": "broken"}
                return
            values = {name: figure(order, epoch, name) for name in order.objectives}
            kept = max([{"epoch": epoch, **values}, *([last["kept"]] if last else [])], key=lambda k: k["clean_auroc"])
            last = {
                "epoch": epoch,
                "epochs": 4,
                "values": values,
                "kept": kept,
                "losses": {},
                "seed": order.seed,
                "attempts": 1,
                "seconds": 0.0,
                "done": epoch == 4,
                "model": "m" if epoch == 4 else "",
            }
            self.saved[order.number] = last
            yield last


def drive(study: Study, workers: Pretend) -> Study:
    """One trial at a time, to the end."""
    while order := study.next_order():
        for report in workers.reports(order):
            if study.report(order.number, report):
                break
    study.log.close()
    return study


def outcome(study: Study) -> list:
    """All that a sweep learnt."""
    figures = ("epoch", "values", "kept")
    return [
        (r.number, r.assignment, r.parameters, r.state, r.failure, [[x[name] for name in figures] for x in r.reports])
        for r in study.records.values()
    ]
