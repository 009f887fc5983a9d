"""`--set key=value`: changes to a YAML file from the command line, applied before it is checked."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from assay.config import yaml_file
from assay.config.validation import shown
from assay.contracts import Plain
from assay.errors import Fault, InputError

NAMES_AN_ITEM = ("dataset", "fixed")
"""Sections in which a bare name may stand for an item and can then be given parameters."""


def apply(raw: Mapping[str, Any], changes: Sequence[str]) -> tuple[Plain, list[Fault]]:
    """A copy of a file's values with `dotted.path=value` changes applied, and the faults of the changes themselves.

    A value is parsed as YAML. A path may lead into the space (`space.adversary.epsilon={uniform: [0, 2/255]}`). Unknown
    keys are set as well; checking the whole file reports them.
    """
    changed, faults = copy.deepcopy(dict(raw)), []
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals or not all(path.split(".")):
            faults.append(Fault(f"--set {change}", shown(change), "write dotted.path=value"))
            continue
        try:
            read = yaml_file.parse(f"value: {text}", "value")
        except InputError as error:
            faults.append(Fault(f"--set {path}", shown(text), str(error)))
            continue
        if list(read) != ["value"]:
            faults.append(Fault(f"--set {path}", shown(text), "must be one YAML value"))
            continue
        wrong = _set(changed, path, read["value"], path)
        if wrong:
            faults.append(Fault(f"--set {path}", shown(text), wrong))
    return changed, faults


def _set(values: Plain, rest: str, value: Any, path: str) -> str:
    """Set a value at a path, including keys that contain dots; returns what is wrong with the path, or None."""
    held = [key for key in values if rest == key or rest.startswith(f"{key}.")]
    in_space = path.startswith("space.") and rest != path
    new = rest if in_space else rest.split(".")[0]
    key = max(held, key=len, default=new)
    if rest == key:
        values[key] = value
        return ""
    inner = values.get(key)
    if inner is None:
        inner = {}
    elif isinstance(inner, str) and path.split(".")[0] in NAMES_AN_ITEM:
        inner = {"name": inner}
    if not isinstance(inner, dict):
        where = path[: len(path) - len(rest) + len(key)]
        return f"'{where}' holds {shown(inner)}, which has nothing inside it; set '{where}' itself"
    values[key] = inner
    return _set(inner, rest[len(key) + 1 :], value, path)
