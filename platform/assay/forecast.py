"""What a sweep will cost, before it runs: trials, rungs, and the time from a short probe of its first trial."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass

from assay import data as data_module
from assay import space
from assay.spec import Spec
from assay.store import Store
from assay.study import Study
from assay.trial import Trial

PROBE_SECONDS = 60.0


@dataclass(frozen=True)
class Probe:
    """What a minute of the first trial showed; an epoch's seconds hold its share of an evaluation."""

    seconds_per_epoch: float
    epochs: int
    epochs_probed: int


def probe(spec: Spec) -> Probe:
    """Train the first trial in a scratch folder until a minute or the trial is over."""
    data = data_module.training_data(spec.dataset.function(**spec.dataset.arguments()))
    with tempfile.TemporaryDirectory(prefix="assay-probe-") as scratch:
        store = Store(scratch)
        study = Study(spec, store)
        order = study.next_order()
        study.log.close()
        assert order is not None  # a new study always has a first order
        trial = Trial(order, data, store)
        started = time.monotonic()
        report = trial.step()
        while not report["done"] and time.monotonic() - started < PROBE_SECONDS:
            report = trial.step()
        return Probe((time.monotonic() - started) / trial.epoch, trial.run.epochs, trial.epoch)


def text(spec: Spec, found: Probe, cpus: int) -> str:
    """The forecast for a machine of so many cores, in a few lines."""
    trials, stop = spec.trials, spec.stop_early
    together = max(1, min(int(cpus // spec.resources.cpu), spec.resources.concurrent or trials))
    full = found.seconds_per_epoch * found.epochs
    lines = [
        spec.summary(),
        *(f"  {name}: {domain.plain()}" for name, domain in space.varied(spec.domains).items()),
        f"  {found.epochs} epochs a trial, {together} trials at a time on {cpus} cores",
    ]
    shares = [1.0]
    if stop:
        from assay.halving import Halving

        halving = Halving(spec.stop_metrics, dict(spec.objectives), stop.grace, stop.reduction)
        levels = halving.levels(found.epochs)
        if levels:
            at = ", ".join(map(str, levels))
            lines.append(f"  rungs at epochs {at}; about 1 in {stop.reduction} goes on at each")
        shares = [(b - a) / found.epochs for a, b in zip([0, *levels], [*levels, found.epochs], strict=True)]
    expected = sum(share / (stop.reduction if stop else 1) ** i for i, share in enumerate(shares))
    low, high = full * trials * expected / together, full * trials / together
    lines.append(f"  probe: {found.seconds_per_epoch:.2f} s an epoch over {found.epochs_probed} epochs")
    span = f"{low / 60:.1f} to {high / 60:.1f}" if stop else f"{high / 60:.1f}"
    lines.append(f"  forecast: {span} minutes")
    if spec.budget.wall_minutes:
        lines.append(f"  budget: ends after {spec.budget.wall_minutes:g} minutes")
    return "\n".join(lines)
