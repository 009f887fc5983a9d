"""A suite: a YAML file of threat models, the attacks made under each, and the headline budget an audit is quoted at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from assay import shelves
from assay.config import kinds, yaml_file
from assay.config.section import Section
from assay.config.validation import from_validation, shown
from assay.contracts import Knowledge, Norm
from assay.errors import Fault, SpecError, UnknownName, suggest
from assay.hashing import canonical, digest
from assay.shelves import Item, Shelf
from assay.store.audit_reader import SuiteEntry
from assay.store.score_matrix import RESERVED
from assay.units import Count, Fraction, Radius, in_255, number

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]  # of folders, and on W&B


def _rising(value: list[float]) -> list[float]:
    if value != sorted(set(value)) or value[0] <= 0:
        raise ValueError("epsilons must be above 0 and rise, such as [1/255, 2/255, 4/255]")
    return value


Epsilons = Annotated[list[Radius], MinLen(1), AfterValidator(_rising)]


class Threat(Section):
    """A threat model: what may be changed, how far, and why an attacker could and would."""

    norm: Norm
    epsilons: Epsilons
    why: Annotated[str, MinLen(1)]


class Entry(Section):
    """One attack under one threat model at its epsilons, each begun from the best image found at the one before.

    norm, epsilons: those of the threat model; an attack may be made at some of its epsilons only.
    """

    name: Name
    attack: Annotated[Item, Shelf("attacks")]
    norm: Norm
    threat: str
    epsilons: Epsilons

    @field_validator("name")
    @classmethod
    def _not_taken(cls, value: str) -> str:
        if value in RESERVED:
            raise ValueError(f"'{value}' is the name of a line of every audit; choose another")
        return value

    @field_validator("threat")
    @classmethod
    def _known_to_the_attack(cls, value: str, info: ValidationInfo) -> str:
        if attack := info.data.get("attack"):
            inner = [value for value in attack.arguments().values() if isinstance(value, Item)]
            for one in (attack, *inner):
                norms = shelves.stated(one.function, "NORMS", ("linf", "l2"))
                if (norm := info.data.get("norm")) and norm not in norms:
                    raise ValueError(f"its norm is {norm}, and {one.name} knows {', '.join(norms)}")
        return value

    @property
    def knowledge(self) -> Knowledge:
        """What the attack sees of the detector; its module states it."""
        known: Knowledge = shelves.stated(self.attack.function, "KNOWLEDGE", "white-box")
        return known

    @property
    def needs(self) -> str:
        """What the attack needs of the detector beyond that: `neighbours`, `surrogate`, or nothing."""
        return str(shelves.stated(self.attack.function, "NEEDS", ""))

    @property
    def hash(self) -> str:
        """Of the attack, its parameters (defaults filled in), the norm and the epsilons; not of the entry's name."""
        made = {key: value for key, value in self.plain().items() if key not in ("name", "knowledge", "threat")}
        return digest(canonical(made))[:12]

    def plain(self) -> SuiteEntry:
        """As plain values, the attack's defaults filled in."""
        return {
            "name": self.name,
            "attack": self.attack.name,
            "threat": self.threat,
            "norm": self.norm,
            "knowledge": self.knowledge,
            "epsilons": list(self.epsilons),
            "parameters": {k: v.plain() if isinstance(v, Item) else v for k, v in self.attack.arguments().items()},
        }


class Headline(Section):
    """The budget that an audit is quoted at, and whose worst samples are shown."""

    norm: Norm = "linf"
    epsilon: Radius


class Unbounded(Section):
    """The attack without bounds: it must break any detector, or the suite cannot be trusted.

    samples: of each class, with which this and other checks begin. most: to which they go on while undecided.
    """

    steps: Count = 100
    samples: Count = 16
    most: Count = 256


class Corruptions(Section):
    """Which corruptions of the shelf are measured, and at which severities."""

    kinds: Literal["all"] | Annotated[list[Annotated[Item, Shelf("corruptions")]], MinLen(1)] = "all"
    severities: Annotated[list[Annotated[int, Ge(1), Le(5)]], MinLen(1)] = Field([1, 2, 3, 4, 5])

    @property
    def names(self) -> list[str]:
        """The kinds by name."""
        return shelves.names("corruptions") if self.kinds == "all" else [kind.name for kind in self.kinds]


def _shares(value: list[float]) -> list[float]:
    if value != sorted(set(value)) or value[-1] != 1:
        raise ValueError("the shares of the bank must rise and end with 1, the deployed bank, such as [0.1, 0.5, 1]")
    return value


class BankSizes(Section):
    """The shares a neighbour bank is reduced to, and how each is attacked: steps of PGD, on samples of each class."""

    shares: Annotated[list[Annotated[Fraction, Gt(0)]], MinLen(2), AfterValidator(_shares)] = Field(
        [0.05, 0.1, 0.25, 0.5, 1]
    )
    steps: Count = 10
    samples: Count = 100


class LargeImages(Section):
    """What a screen spares where images are large: a pass takes in proportion to the pixels.

    above: side of a square; images with more pixels than that are large. most: the highest count among an attack's
    parameters (steps, restarts, draws, queries). steps, samples: in place of those of `unbounded`, for all checks that
    make attacks of their own; they take no more samples, and where these decide nothing the check says so.
    """

    above: Count
    most: Count
    steps: Count
    samples: Count


class Suite(Section):
    """A whole suite file.

    minimal_epsilon: whether the smallest epsilon that turns a decision is searched for, sample by sample.
    bank_sizes: which smaller neighbour banks to measure; None: none. large_images: what is spared on these; None:
    nothing.
    """

    name: Name
    version: Count
    why: str
    headline: Headline
    threats: Annotated[dict[Name, Threat], MinLen(1)]
    attacks: Annotated[list[Entry], MinLen(1)]
    corruptions: Corruptions | None = None
    minimal_epsilon: bool = False
    bank_sizes: BankSizes | None = None
    large_images: LargeImages | None = None
    unbounded: Unbounded = Field(default_factory=Unbounded)
    _source: str = PrivateAttr("")

    @property
    def source(self) -> str:
        """The shipped name or the path it was read from: the value of `--suite` that reads it again."""
        return self._source or self.name

    @field_validator("attacks")
    @classmethod
    def _different(cls, value: list[Entry]) -> list[Entry]:
        names = [entry.name for entry in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each attack needs a name of its own; twice: {', '.join(twice)}")
        return value

    def plain(self) -> dict[str, object]:
        """As plain values, everything filled in."""
        attacks = [entry.plain() for entry in self.attacks]
        corruptions = self.corruptions and {"kinds": self.corruptions.names, "severities": self.corruptions.severities}
        unused = {"large_images"} if self.large_images is None else set()
        whole = self.model_dump(exclude={"attacks", *unused})
        return {**whole, "attacks": attacks, "corruptions": corruptions}

    def spared(self, height: int, width: int) -> Suite:
        """The suite for images of that size: itself, or with the counts of `large_images` where these are large.

        It depends on nothing else, so the same audit makes the same attacks on any machine.
        """
        large = self.large_images
        if large is None or height * width <= large.above**2:
            return self
        unbounded = self.unbounded
        fewer = Unbounded(
            steps=min(unbounded.steps, large.steps), samples=(few := min(unbounded.samples, large.samples)), most=few
        )
        attacks = [
            entry.model_copy(
                update={
                    "attack": dataclasses.replace(entry.attack, parameters=capped(entry.attack.parameters, large.most))
                }
            )
            for entry in self.attacks
        ]
        return self.model_copy(update={"attacks": attacks, "unbounded": fewer})

    def only(self, entries: Sequence[Entry]) -> Suite:
        """The suite with some of its attacks: those that can be made on a detector."""
        return self.model_copy(update={"attacks": list(entries)})

    def white_box(self) -> Iterator[Entry]:
        """The entries whose attacker knows the detector."""
        return (entry for entry in self.attacks if entry.knowledge == "white-box")


def capped(parameters: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Parameters of an attack, and of one within it, with every count in them at most `most`."""
    return {
        key: capped(value, most)
        if isinstance(value, Mapping)
        else min(value, most)
        if isinstance(value, int) and not isinstance(value, bool)
        else value
        for key, value in parameters.items()
    }


def shipped() -> list[str]:
    """The names of the suites that come with Assay."""
    folder = resources.files("assay.audits").joinpath("suites")
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def read(name: str) -> Suite:
    """The suite of a shipped name or a path; raises UnknownName, InputError or SpecError with every fault."""
    if name in shipped():
        return _checked(yaml_file.load(_shipped(name)), str(_shipped(name)), name)
    if not name.endswith((".yaml", ".yml")) and "/" not in name:
        raise UnknownName("suite", name, [*shipped(), "a path to a YAML file"])
    return of(kinds.load("suite", name), name, name)


def of(values: Mapping[str, Any], where: str, source: str = "") -> Suite:
    """The suite that plain values describe; raises SpecError with every fault.

    where: what errors call the values. source: what `--suite` would be given; by default the suite's name.
    """
    suite = _checked(values, where, source)
    if suite.name in shipped() and suite.plain() != read(suite.name).plain():
        allowed = "another name: this one stands for the attacks that come with Assay"
        raise SpecError(where, [Fault("name", f"'{suite.name}'", allowed)])
    return suite


def _shipped(name: str) -> Path:
    return Path(str(resources.files("assay.audits").joinpath("suites", f"{name}.yaml")))


def _checked(raw: Mapping[str, Any], where: str, source: str) -> Suite:
    values, faults = _under_threats(raw)
    try:
        suite = Suite.model_validate(values)
    except ValidationError as error:
        faults += [fault for fault in from_validation(error, Suite, values) if _written(fault.key, raw)]
    if faults:
        raise SpecError(where, faults)
    headline = suite.headline
    if not any(headline.norm == e.norm and headline.epsilon in e.epsilons for e in suite.white_box()):
        given = f"{headline.norm} {in_255(headline.epsilon, headline.norm)}"
        allowed = "the norm and epsilon of one of the white-box attacks below"
        raise SpecError(where, [Fault("headline", given, allowed)])
    suite._source = source or suite.name
    return suite


def _under_threats(values: Mapping[str, Any]) -> tuple[dict[str, object], list[Fault]]:
    """The values with norm and epsilons of its threat model given to each attack, and a fault where there is none."""
    threats, attacks, faults = values.get("threats"), values.get("attacks"), []
    if not (isinstance(threats, Mapping) and isinstance(attacks, list)):
        return dict(values), []
    given = []
    for place, entry in enumerate(attacks):
        if not isinstance(entry, Mapping):
            given.append(entry)
            continue
        name, key = entry.get("threat"), f"attacks.{place}"
        threat = threats.get(name) if isinstance(name, str) else None
        if "norm" in entry:
            faults.append(Fault(f"{key}.norm", shown(entry["norm"]), "leave it out; the norm is the threat model's"))
        if not isinstance(threat, Mapping):
            allowed = f"one of the threat models above{suggest(str(name), threats)}: {', '.join(map(str, threats))}"
            faults.append(Fault(f"{key}.threat", "nothing" if name is None else shown(name), allowed))
        else:
            faults += _beyond(key, entry, threat)
            entry = {"epsilons": threat.get("epsilons"), **entry, "norm": threat.get("norm")}
        given.append(entry)
    return {**values, "attacks": given}, faults


def _beyond(key: str, entry: Mapping[str, Any], threat: Mapping[str, Any]) -> list[Fault]:
    """A fault where an attack is made at an epsilon that its threat model does not have."""
    asked, there = entry.get("epsilons"), threat.get("epsilons")
    if not (isinstance(asked, list) and isinstance(there, list)) or {*map(number, asked)} <= {*map(number, there)}:
        return []
    return [Fault(f"{key}.epsilons", shown(asked), f"some of those of its threat model: {', '.join(map(str, there))}")]


def _written(key: str, raw: Mapping[str, Any]) -> bool:
    """Whether a fault is in what the person wrote; what comes from the threat model is reported there, once."""
    first, place, name, *_ = [*key.split("."), "", ""]
    return not (first == "attacks" and name in ("norm", "epsilons") and name not in raw["attacks"][int(place)])
