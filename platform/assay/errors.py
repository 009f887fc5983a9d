"""Every error that Assay raises for people, with the exit code of the command line.

AssayError            1   something went wrong that the user can act on
├── InputError        2   what the user wrote is wrong
│   ├── SpecError     2   one or more faults in a YAML file, all reported at once
│   └── UnknownName   2   no such item; the message lists the known ones
├── DataError         1   images or labels that cannot be used
│   └── DivergedError 1   a loss, a score or a figure became NaN or infinite
├── ModelError        1   a model folder that is damaged, tampered with or made by other code
├── StoreError        1   the store cannot be read or written
├── SweepError        1   a sweep that cannot start, continue or be resumed
├── RefusedError      3   a model that must not go into service
└── TrackingError     1   W&B did not take what was sent

Messages say what, where, what is allowed and what to do, in one line where one line is enough.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assay.redaction import redacted


class AssayError(Exception):
    """Base of all errors meant for people; printed without a traceback, and with secrets removed."""

    exit_code = 1

    def __str__(self) -> str:
        """The message without passwords."""
        return redacted(super().__str__())


class InputError(AssayError):
    """What the user wrote (an option, a name, a file) is wrong."""

    exit_code = 2


class DataError(AssayError):
    """Images or labels cannot be used as they are."""


class DivergedError(DataError):
    """A loss, a score or a figure became NaN or infinite."""


class ModelError(AssayError):
    """A model folder is damaged, was changed after it was written, or cannot be rebuilt."""


class StoreError(AssayError):
    """The store cannot be read or written."""


class SweepError(AssayError):
    """A sweep cannot start, continue or be resumed."""


class RefusedError(AssayError):
    """A model must not go into service: it was not approved, or its approval is no longer valid."""

    exit_code = 3


class TrackingError(AssayError):
    """W&B cannot be reached, refuses the key or did not take what was sent; the store still has everything."""


class UnknownName(InputError):  # noqa: N818 - reads as what it is
    """A name that is not on the shelf where it was looked up."""

    def __init__(self, kind: str, name: str, known: Iterable[str], store: str = "") -> None:
        """store: where it was looked up, if it is kept in one."""
        self.kind, self.name, self.known = kind, name, sorted(known)
        there = f"available: {', '.join(self.known) or 'nothing'}"
        if store and not self.known:
            there = f"the store {store} has none; --store or ASSAY_STORE names another"
        super().__init__(f"{kind} '{name}' is not known{suggest(name, self.known)}; {there}")


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a YAML file: `key` is the path to it (`space.adversary.epsilon`)."""

    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.key or '(top level)'}: found {self.found}; {self.allowed}"


class SpecError(InputError):
    """All faults of one YAML file, reported together."""

    def __init__(self, file: str, faults: Sequence[Fault]) -> None:
        self.file, self.faults = file, tuple(faults)
        count = f"{len(self.faults)} fault{'s' if len(self.faults) != 1 else ''}"
        super().__init__("\n".join([f"{file}: {count}", *(f"  {fault}" for fault in self.faults)]))


def suggest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{near[0]}'?)" if near else ""
