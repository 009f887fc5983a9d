"""Sweeps in a store without a sweep being run: their search space and the events of their log."""

from __future__ import annotations

import yaml
from wandb_server import KEY

from assay.store.store import Store
from assay.store.trial_log import TrialLog

SPACE = {
    "name": "toy",
    "trainable": "gone:Forever",  # publishing needs no code of the user's
    "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
    "tracking": {"wandb": True, "project": "robust"},
}


def asked(number: int) -> dict:
    attributes = {"parameters": {"a.b": 0.5 + number, "kind": "perlin"}, "distributions": {}, "attributes": {}}
    return {"event": "ask", "trial": number, "assignment": {"a.b": 0.5}, **attributes}


def reported(number: int, epoch: int) -> dict:
    values = {"clean_auroc": 0.5 + epoch / 10, "robust_auroc": 0.2}
    about = {"model": "m" * 24, "seed": 7, "seconds": 1.0, "attempts": 1, "losses": {"l": 1.0}}
    kept = {"epoch": epoch, **values}
    return {"event": "report", "trial": number, "epoch": epoch, "values": values, "kept": kept, **about}


def ended(number: int, state: str = "complete", failure: str = "") -> dict:
    return {"event": "end", "trial": number, "state": state, "failure": failure, "message": f"said {KEY}"}


def write(store: Store, *events: dict, name: str = "toy", **changes) -> None:
    """A sweep in the store as `assay sweep` leaves it, or goes on with it."""
    if not store.exists(f"sweeps/{name}/spec.yaml"):
        store.write(f"sweeps/{name}/spec.yaml", yaml.safe_dump({**SPACE, "name": name, **changes}).encode())
        events = ({"event": "start", "dataset": "d"}, *events)
    log = TrialLog(store, name)
    for event in events:
        log.append(event)
    log.close()
