"""The domains of a search space: how each is sampled, its corners, and how many values it has.

A domain's `name` is the name of its Optuna parameter. Parameters of a choice's option carry the option in their name
(`pseudo_anomaly.cutpaste.area`), so a name means the same in every trial.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from assay.contracts import Plain

if TYPE_CHECKING:
    import optuna

Label: TypeAlias = str | int | float | bool | None
"""A scalar that represents an option of a choice in the Optuna study."""

DIGITS = 12
"""Decimals kept in a stepped domain, so that 0.1 + 0.2 is 0.3 and a step divides its range exactly."""


@dataclass(frozen=True)
class Constant:
    """A constant: text, a number, true or false, null, or a list of these."""

    value: Any

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """The value."""
        return self.value

    def corners(self) -> list[Any]:
        """Just the value."""
        return [self.value]

    def size(self) -> int | None:
        """1."""
        return 1

    def plain(self) -> Any:
        """As YAML."""
        return self.value

    def parameters(self, name: str) -> Iterator[tuple[str, Domain]]:
        """Nothing: a constant is not a parameter of the study."""
        return iter(())


class _Range:
    """What all ranges of numbers have in common."""

    low: Any
    high: Any

    def corners(self) -> list[Any]:
        """The lowest and the highest value."""
        return [self.low, self.high]

    def parameters(self, name: str) -> Iterator[tuple[str, Domain]]:
        """Itself."""
        yield name, cast("Domain", self)


@dataclass(frozen=True)
class Uniform(_Range):
    """Numbers from low to high, uniformly; with a step, only low, low + step, ..., high."""

    low: float
    high: float
    step: float | None = None

    def __post_init__(self) -> None:
        """Round low, step and high to exact decimals of each other, so that Optuna has nothing to adjust."""
        if self.step is not None:
            low = Decimal(str(self.low)).quantize(Decimal(10) ** -DIGITS)
            step = Decimal(str(self.step)).quantize(Decimal(10) ** -DIGITS, ROUND_DOWN)
            steps = round((self.high - self.low) / self.step)
            object.__setattr__(self, "low", float(low))
            object.__setattr__(self, "step", float(step))
            object.__setattr__(self, "high", float(low + steps * step))

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """A number drawn by the trial's sampler."""
        value = trial.suggest_float(name, self.low, self.high, step=self.step)
        return value if self.step is None else round(value, DIGITS)

    def size(self) -> int | None:
        """The number of values; None for a continuous range."""
        if self.step is None:
            return 1 if self.low == self.high else None
        return round((self.high - self.low) / self.step) + 1

    def plain(self) -> Any:
        """As YAML."""
        step = {} if self.step is None else {"step": self.step}
        return {"uniform": [self.low, self.high], **step}


@dataclass(frozen=True)
class LogUniform(_Range):
    """Numbers from low (above 0) to high, uniform in their logarithm."""

    low: float
    high: float

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """A number drawn by the trial's sampler."""
        return trial.suggest_float(name, self.low, self.high, log=True)

    def size(self) -> int | None:
        """None, as the range is continuous; 1 if both ends are equal."""
        return 1 if self.low == self.high else None

    def plain(self) -> Any:
        """As YAML."""
        return {"loguniform": [self.low, self.high]}


@dataclass(frozen=True)
class Integer(_Range):
    """Whole numbers from low to high, uniform in value or (log) in their logarithm."""

    low: int
    high: int
    log: bool = False

    def suggest(self, trial: optuna.Trial, name: str) -> int:
        """A whole number drawn by the trial's sampler."""
        return trial.suggest_int(name, self.low, self.high, log=self.log)

    def size(self) -> int | None:
        """The number of values."""
        return self.high - self.low + 1

    def plain(self) -> Any:
        """As YAML."""
        return {"logint" if self.log else "integer": [self.low, self.high]}


@dataclass(frozen=True)
class Record:
    """Values by key, each with its own domain; with a name, a shelf item and its parameters."""

    entries: Mapping[str, Domain]
    name: str | None = None

    def _value(self, entries: Mapping[str, Any]) -> Plain:
        return {**({} if self.name is None else {"name": self.name}), **entries}

    def suggest(self, trial: optuna.Trial, name: str) -> Plain:
        """A value for every key."""
        return self._value({key: domain.suggest(trial, f"{name}.{key}") for key, domain in self.entries.items()})

    def corners(self) -> list[Any]:
        """The fewest mappings that show every corner of every entry once; not their product."""
        return [self._value(row) for row in side_by_side(self.entries)]

    def size(self) -> int | None:
        """The product over the entries."""
        sizes = [domain.size() for domain in self.entries.values()]
        return None if None in sizes else math.prod(size or 1 for size in sizes)

    def plain(self) -> Any:
        """As YAML."""
        entries = {key: domain.plain() for key, domain in self.entries.items()}
        return entries if self.name is None else {self.name: entries}

    def parameters(self, name: str) -> Iterator[tuple[str, Domain]]:
        """The parameters of all entries."""
        for key, domain in self.entries.items():
            yield from domain.parameters(f"{name}.{key}")


@dataclass(frozen=True)
class Choice:
    """One of several options, some with parameters of their own; kept in sorted order."""

    options: tuple[tuple[Label, Domain], ...]

    def __post_init__(self) -> None:
        """Sort the options, so that their order in a file changes nothing."""
        object.__setattr__(self, "options", tuple(sorted(self.options, key=lambda option: _order(option[0]))))

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """The option drawn by the trial's sampler; its own parameters are drawn after it."""
        label = trial.suggest_categorical(name, [label for label, _ in self.options])
        return dict(self.options)[label].suggest(trial, f"{name}.{label}")

    def corners(self) -> list[Any]:
        """The corners of every option."""
        return [corner for _, option in self.options for corner in option.corners()]

    def size(self) -> int | None:
        """The sum over the options."""
        sizes = [option.size() for _, option in self.options]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def plain(self) -> Any:
        """As YAML."""
        return {"choice": [option.plain() for _, option in self.options]}

    def parameters(self, name: str) -> Iterator[tuple[str, Domain]]:
        """Itself, and the parameters of its options."""
        yield name, self
        for label, option in self.options:
            yield from option.parameters(f"{name}.{label}")


Domain: TypeAlias = Constant | Uniform | LogUniform | Integer | Record | Choice


def label_of(value: Any) -> Label:
    """What represents a value in the Optuna study: scalars stand for themselves, lists become JSON text."""
    return json.dumps(value) if isinstance(value, list) else value


def side_by_side(entries: Mapping[str, Domain]) -> list[Plain]:
    """Rows with one value per key: the corners of all domains side by side, with short ones repeated."""
    columns = {key: domain.corners() for key, domain in entries.items()}
    length = max((len(column) for column in columns.values()), default=1)
    rows = zip(*(itertools.islice(itertools.cycle(column), length) for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows] or [{}]


def _order(label: Label) -> tuple[bool, float, str]:
    number = isinstance(label, (int, float))
    return (not number, float(label) if isinstance(label, (int, float)) else 0.0, str(label))
