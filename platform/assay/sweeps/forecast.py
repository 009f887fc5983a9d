"""Forecasts a sweep, or the rest of one, before it runs: trials, rungs, epochs, hours and cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from assay.cluster import capacity
from assay.config import labels_needed
from assay.config.domains import Choice
from assay.config.search_space import Price, Spec
from assay.data import splits as data_module
from assay.errors import SweepError
from assay.runtime import allowance, retry
from assay.store import trial_log
from assay.store.store import Store
from assay.store.trial_log import Record
from assay.sweeps import budget, least_memory, probe
from assay.sweeps.asha import SuccessiveHalving
from assay.sweeps.budget import Spent
from assay.sweeps.probe import Arrived, Rate
from assay.sweeps.sweep import dataset

Span = tuple[float, float]
"""Low, if early stopping stops as many trials as it can, and high, if it stops none."""


@dataclass(frozen=True)
class Forecast:
    """The work ahead. trials: new ones; unfinished: started ones to continue; together: at a time; before: spent.

    image_bytes: of the decoded images that trials see; every machine holds them once. arrived: how they came to a node
    of a cluster.
    """

    spec: Spec
    cores: float
    gpus: float
    together: int
    rates: Mapping[str, Rate]
    trials: int
    unfinished: int
    epochs: Span
    seconds: Span  # of all trials, run one after the other
    longest: float  # seconds of the longest trial
    before: Spent
    image_bytes: int = 0
    arrived: Arrived | None = None

    @property
    def minutes(self) -> Span:
        """Wall time with this many trials at a time; never less than one full trial takes."""
        low, high = (seconds / min(self.together, max(1, self.trials + self.unfinished)) for seconds in self.seconds)
        return low / 60, max(high, self.longest) / 60

    @property
    def spent(self) -> tuple[Spent, Spent]:
        """What the trials will hold, low and high."""
        low, high = self.seconds
        return budget.taken(self.spec.resources, low), budget.taken(self.spec.resources, high)

    def plain(self) -> dict[str, object]:
        """As JSON values; every pair is low and high."""
        price = self.spec.budget.price
        return {
            "sweep": self.spec.name,
            "trials": self.trials,
            "unfinished": self.unfinished,
            "together": self.together,
            "trainables": [asdict(rate) for rate in self.rates.values()],
            "rungs": {name: rungs(self.spec, rate.epochs) for name, rate in self.rates.items()},
            "epochs": self.epochs,
            "minutes": self.minutes,
            "cpu_hours": [spent.cpu_hours for spent in self.spent],
            "gpu_hours": [spent.gpu_hours for spent in self.spent],
            "cost": [spent.cost(price) for spent in self.spent] if price else None,
            "currency": price.currency if price else None,
            "spent_before": asdict(self.before),
            "trials_within_budget": self.within(),
            "image_bytes": self.image_bytes,
            "images_arrive": asdict(self.arrived) if self.arrived else None,
        }

    def within(self) -> dict[str, Span]:
        """The parts of the budget that are too small -> how many of the remaining trials they cover."""
        price = self.spec.budget.price or Price()
        used = {
            "wall_minutes": (0.0, self.minutes),
            "gpu_hours": (self.before.gpu_hours, (self.spent[0].gpu_hours, self.spent[1].gpu_hours)),
            "cpu_hours": (self.before.cpu_hours, (self.spent[0].cpu_hours, self.spent[1].cpu_hours)),
            "cost": (self.before.cost(price), (self.spent[0].cost(price), self.spent[1].cost(price))),
        }
        count, covered = self.trials + self.unfinished, {}
        for name, (before, (low, high)) in used.items():
            left = max(0.0, (getattr(self.spec.budget, name) or float("inf")) - before)
            if left < high:
                covered[name] = (float(int(count * left / high)), float(min(count, int(count * left / low))))
        return covered


def of(spec: Spec, store: Store, records: Mapping[int, Record], address: str | None = None) -> Forecast:
    """The forecast of a search space, or of the rest of a sweep with these records.

    Rates of trainables that have run come from the log; others are probed, on the cluster at `address` if given, else
    on this machine. Raises SweepError if no trial fits, and whatever a trial raises that cannot run.
    """
    rates = probe.by_log(spec, records.values())
    wanted = {name: alone for name, alone in probe.alternatives(spec).items() if name not in rates}
    data = data_module.training_data(dataset(spec, resume=bool(records)))
    labels_needed.require(spec, data)
    seconds = probe.SECONDS / max(1, len(wanted))
    if address is not None:
        from assay.sweeps import cluster_probe

        resources, probed, arrived = cluster_probe.rates(spec, wanted, data, address, seconds)
    else:
        resources = here()
        try:
            capacity.together(spec, resources, joined=False)
        except SweepError as error:
            raise SweepError(f"{error}; this machine was checked; for a cluster give --address") from error
        least_memory.require(spec, data)
        probed = [probe.probe(name, alone, data, seconds) for name, alone in wanted.items()]
        arrived = None
    rates |= {rate.trainable: rate for rate in probed}
    rates = {name: rates[name] for name in probe.alternatives(spec)}
    together = capacity.together(spec, resources, joined=address is not None)
    before = budget.spent(trial_log.read(store, spec.name)) if records else Spent()
    held = data.nbytes
    return replace(forecast(spec, rates, records, together, resources, before), image_bytes=held, arrived=arrived)


def here() -> dict[str, float]:
    """What may be used of this machine, as Ray would report it; Ray reserves part of the memory for its objects."""
    import torch

    return {"CPU": allowance.cores(), "GPU": torch.cuda.device_count(), "memory": 0.7 * allowance.memory()}


def forecast(
    spec: Spec,
    rates: Mapping[str, Rate],
    records: Mapping[int, Record],
    together: int,
    resources: Mapping[str, float],
    before: Spent = Spent(),
) -> Forecast:
    """The figures: every remaining trial at the rate of its trainable, new ones at the mean of those drawn."""
    unfinished = [r for r in records.values() if retry.unfinished(r.state, r.failure)]
    new = max(0, spec.trials + spec.seeds - 1 - len(records))  # the best is trained with other seeds, at least once
    work = [
        (rates[spec.trainable_of(record.assignment)], record.reports[-1]["epoch"] if record.reports else 0, 1.0)
        for record in unfinished
    ]
    work += [(rates[name], 0, new * share) for name, share in shares(spec).items()]
    reduction = spec.stop_early.reduction if spec.stop_early else 1
    epochs, seconds = [0.0, 0.0], [0.0, 0.0]
    for rate, done, count in work:
        for place, ahead in enumerate((_ahead(spec, rate.epochs, done, reduction), _ahead(spec, rate.epochs, done, 1))):
            epochs[place] += count * ahead
            seconds[place] += count * ahead * rate.seconds
    return Forecast(
        spec=spec,
        cores=resources.get("CPU", 0),
        gpus=resources.get("GPU", 0),
        together=together,
        rates=dict(rates),
        trials=new,
        unfinished=len(unfinished),
        epochs=(epochs[0], epochs[1]),
        seconds=(seconds[0], seconds[1]),
        longest=max(
            (rate.seconds * _ahead(spec, rate.epochs, done, 1) for rate, done, count in work if count), default=0.0
        ),
        before=before,
    )


def shares(spec: Spec) -> dict[str, float]:
    """Trainable -> its share of the trials: equal for all, in a grid proportional to its points."""
    if not isinstance(spec.trainable, Choice):
        return {spec.trainable: 1.0}
    grid = spec.search.sampler == "grid"
    weights = {str(name): (option.size() or 1) if grid else 1 for name, option in spec.trainable.options}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def rungs(spec: Spec, epochs: int) -> list[int]:
    """The epochs at which trials of this length may be stopped."""
    stop = spec.stop_early
    return (
        SuccessiveHalving(spec.stop_metrics, spec.directions, stop.grace, stop.reduction, spec.ladder).levels(epochs)
        if stop
        else []
    )


def _ahead(spec: Spec, epochs: int, done: int, reduction: int) -> float:
    """The epochs ahead of a trial if one in `reduction` continues at every rung.

    Where a rung has more images than the one before, training begins anew. An epoch on a share of the train images
    counts as that share; on smaller images as a whole one, which is too much.
    """
    levels = [*rungs(spec, epochs), epochs]
    ladder = [(rung.train, rung.image_size) for rung in spec.fidelity.ladder] if spec.fidelity else []
    lower = ladder[: len(levels) - 1]
    parts = [*lower, *[(1.0, None)] * (len(levels) - len(lower))]
    total, passed, begin, before = 0.0, 0, 0, parts[0]
    for level, part in zip(levels, parts, strict=True):
        if level > done:
            first = max(begin, done) if part == before else 0
            total += (level - first) * part[0] / reduction**passed
            passed += 1
        begin, before = level, part
    return total
