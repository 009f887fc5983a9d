"""A suite: a YAML file that names attacks x threat models, and the headline budget an audit is quoted at."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, ValidationError, field_validator

from assay import yaml_file
from assay.contracts import Knowledge, Norm
from assay.errors import Fault, SpecError, UnknownName
from assay.faults import from_validation
from assay.shelves import Item, Shelf
from assay.store import canonical, digest
from assay.units import Count, Radius, in_255
from assay.worst_case import CLEAN, WORST

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Section(BaseModel):
    """A mapping of a YAML file that has these keys and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(Section):
    """One attack under one norm at several epsilons, each begun from the best image found at the one before."""

    name: Name
    attack: Annotated[Item, Shelf("attacks")]
    norm: Norm
    epsilons: Annotated[list[Radius], MinLen(1)]
    knowledge: Knowledge = "white-box"

    @field_validator("name")
    @classmethod
    def _not_taken(cls, value: str) -> str:
        if value in (CLEAN, WORST):
            raise ValueError(f"'{value}' is the name of a line of every audit; choose another")
        return value

    @field_validator("epsilons")
    @classmethod
    def _rising(cls, value: list[float]) -> list[float]:
        if value != sorted(set(value)) or value[0] <= 0:
            raise ValueError("epsilons must be above 0 and rise, such as [1/255, 2/255, 4/255]")
        return value

    @property
    def hash(self) -> str:
        """Of the attack, its parameters (defaults filled in), the norm and the epsilons; not of the entry's name."""
        made = {key: value for key, value in self.plain().items() if key not in ("name", "knowledge")}
        return digest(canonical(made))[:12]

    def plain(self) -> dict[str, Any]:
        """As plain values, the attack's defaults filled in."""
        return {
            "name": self.name,
            "attack": self.attack.name,
            "norm": self.norm,
            "knowledge": self.knowledge,
            "epsilons": list(self.epsilons),
            "parameters": self.attack.arguments(),
        }


class Headline(Section):
    """The budget that an audit is quoted at, and whose worst samples are shown."""

    norm: Norm = "linf"
    epsilon: Radius


class Unbounded(Section):
    """How the attack without bounds is made: it must break any detector, or the suite is not to be trusted."""

    steps: Count = 100
    samples: Count = 16


class Suite(Section):
    """A whole suite file."""

    name: Name
    version: Count
    why: str
    headline: Headline
    attacks: Annotated[list[Entry], MinLen(1)]
    unbounded: Unbounded = Field(default_factory=Unbounded)
    _source: str = PrivateAttr("")

    @property
    def source(self) -> str:
        """The shipped name or the path it was read from: what `--suite` is given to read it again."""
        return self._source or self.name

    @field_validator("attacks")
    @classmethod
    def _different(cls, value: list[Entry]) -> list[Entry]:
        names = [entry.name for entry in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each attack needs a name of its own; twice: {', '.join(twice)}")
        return value

    def plain(self) -> dict[str, Any]:
        """As plain values, everything filled in."""
        attacks = [entry.plain() for entry in self.attacks]
        return {**self.model_dump(exclude={"attacks"}), "attacks": attacks}

    def white_box(self) -> Iterator[Entry]:
        """The entries whose attacker knows the detector."""
        return (entry for entry in self.attacks if entry.knowledge == "white-box")


def shipped() -> list[str]:
    """The names of the suites that come with Assay."""
    folder = resources.files("assay").joinpath("suites")
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def read(name: str) -> Suite:
    """The suite of a shipped name or a path; raises UnknownName, InputError or SpecError with every fault."""
    if name in shipped():
        return _read(_shipped(name), name)
    if not name.endswith((".yaml", ".yml")) and "/" not in name:
        raise UnknownName("suite", name, [*shipped(), "a path to a YAML file"])
    suite = _read(Path(name), name)
    if suite.name in shipped() and suite.plain() != _read(_shipped(suite.name), suite.name).plain():
        allowed = "another name: this one stands for the attacks that come with Assay"
        raise SpecError(name, [Fault("name", f"'{suite.name}'", allowed)])
    return suite


def _shipped(name: str) -> Path:
    return Path(str(resources.files("assay").joinpath("suites", f"{name}.yaml")))


def _read(file: Path, source: str) -> Suite:
    values = yaml_file.load(file)
    try:
        suite = Suite.model_validate(values)
    except ValidationError as error:
        raise SpecError(str(file), from_validation(error, Suite, values)) from error
    headline = suite.headline
    if not any(headline.norm == e.norm and headline.epsilon in e.epsilons for e in suite.white_box()):
        found = f"{headline.norm} {in_255(headline.epsilon, headline.norm)}"
        allowed = "the norm and epsilon of one of the white-box attacks below"
        raise SpecError(str(file), [Fault("headline", found, allowed)])
    suite._source = source
    return suite
