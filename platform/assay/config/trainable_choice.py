"""Several trainables in one search space: `trainable: {choice: [patchcore, simplenet: {epochs: 20}]}`.

Parameters of a trainable, whether fixed or searched, stand beside its name, so that no trainable is given a parameter
it does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.config import binding, space_syntax
from assay.config.domains import Choice, Record
from assay.config.validation import shown
from assay.contracts import Plain
from assay.errors import Fault

BESIDE = "with a choice of trainables, write parameters beside the name of each, `NAME: {parameter: value or domain}`"


def read(values: Mapping[str, Any]) -> tuple[Plain, list[Fault]]:
    """The values of a whole file with its `trainable`, if that is a mapping, parsed as a Choice; and the faults.

    An invalid Choice is returned without options.
    """
    raw = values.get("trainable")
    if not isinstance(raw, Mapping):
        return dict(values), []
    faults = [Fault(key, shown(values[key]), BESIDE) for key in ("fixed", "space") if values.get(key)]
    if "choice" not in raw:
        faults.append(Fault("trainable", shown(raw), "write a name, or `choice: [NAME, NAME: {parameter: ...}]`"))
        return {**values, "trainable": Choice(()), "fixed": {}, "space": {}}, faults
    parsed, wrong = space_syntax.read({"trainable": raw})
    faults += [Fault(fault.key.removeprefix("space."), fault.found, fault.allowed) for fault in wrong]
    return {**values, "trainable": parsed.get("trainable", Choice(())), "fixed": {}, "space": {}}, faults


def bind(choice: Choice) -> tuple[int | None, list[Fault]]:
    """The largest number of epochs over the trainables that have such a parameter, and the faults of all of them."""
    epochs: list[int] = []
    faults: list[Fault] = []
    for label, option in choice.options:
        if not isinstance(label, str):
            faults.append(Fault("trainable", shown(label), "must be the name of a trainable"))
            continue
        trainable, wrong = binding.recipe(label)
        if trainable is not None:
            bound = binding.bind(trainable, {}, option.entries if isinstance(option, Record) else {})
            wrong = [Fault(_beside(label, fault.key), fault.found, fault.allowed) for fault in bound.faults]
            epochs += [] if bound.epochs is None else [bound.epochs]
        faults += wrong
    return max(epochs, default=None), faults


def _beside(name: str, key: str) -> str:
    """The key path as written in the file: `space.coreset` or `fixed.coreset` is `trainable.patchcore.coreset`."""
    _, dot, path = key.partition(".")
    return f"trainable.{name}{dot}{path}"
