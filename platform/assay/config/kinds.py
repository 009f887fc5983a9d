"""Which kind of file a YAML file is, by a key that only this kind has; a wrong one is refused in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.config import yaml_file
from assay.contracts import Plain
from assay.errors import InputError

KINDS: Mapping[str, str] = {
    "gates": "policy",
    "attacks": "suite",
    "detectors": "study",
    "space": "search space",
    "trainable": "search space",
    "detector": "card",
    "threshold": "card",
    "trained_on": "card",
    "higher_is": "card",
    "deployed": "card",
}
"""A key -> the kind of file that has it."""
COMMANDS: Mapping[str, str] = {
    "policy": "assay approve AUDIT --policy",
    "suite": "assay audit MODEL --suite",
    "study": "assay study",
    "search space": "assay sweep",
    "card": "assay audit",
}
"""A kind -> the command that takes such a file."""


def kind_of(values: Mapping[str, Any]) -> str | None:
    """The kind of a file with these keys; None where no key says it."""
    return next((kind for key, kind in KINDS.items() if key in values), None)


def load(kind: str, file: str | Path) -> Plain:
    """The mapping in a file of that kind.

    Raises InputError for a file of another kind, naming the command that takes it, and otherwise as `yaml_file.load`.
    """
    values = yaml_file.load(file)
    found = kind_of(values)
    if found not in (None, kind):
        raise InputError(f"{file} is a {found}, and a {kind} is wanted here; it is for: {COMMANDS[str(found)]} {file}")
    return values
