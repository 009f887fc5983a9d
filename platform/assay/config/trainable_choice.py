"""Several trainables in one search space: `trainable: {choice: [patchcore, simplenet: {epochs: 20}]}`.

What is fixed and what varies of a trainable stands beside its name, a value or a domain, so that no parameter is
written down for a trainable that does not have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.config import binding, space_syntax
from assay.config.domains import Choice, Record
from assay.config.validation import shown
from assay.errors import Fault

BESIDE = "with a choice of trainables, write parameters beside the name of each, `NAME: {parameter: value or domain}`"


def read(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """The values of a whole file with its `trainable`, where that is a mapping, read as a Choice; and the faults.

    A Choice that is wrong is read as one without options.
    """
    raw = values.get("trainable")
    if not isinstance(raw, Mapping):
        return dict(values), []
    faults = [Fault(key, shown(values[key]), BESIDE) for key in ("fixed", "space") if values.get(key)]
    if "choice" not in raw:
        faults.append(Fault("trainable", shown(raw), "write a name, or `choice: [NAME, NAME: {parameter: ...}]`"))
        return {**values, "trainable": Choice(()), "fixed": {}, "space": {}}, faults
    found, wrong = space_syntax.read({"trainable": raw})
    faults += [Fault(fault.key.removeprefix("space."), fault.found, fault.allowed) for fault in wrong]
    return {**values, "trainable": found.get("trainable", Choice(())), "fixed": {}, "space": {}}, faults


def bind(choice: Choice) -> tuple[int | None, list[Fault]]:
    """The epochs of the longest run that has such a parameter, and what is wrong with any of the trainables."""
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
    """`space.coreset` or `fixed.coreset` as the file has it: `trainable.patchcore.coreset`."""
    _, dot, path = key.partition(".")
    return f"trainable.{name}{dot}{path}"
