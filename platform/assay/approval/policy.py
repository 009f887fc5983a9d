"""A policy: a YAML file of what must hold before a model may be deployed, read with all its faults."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Le
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
)

from assay import shelves
from assay.approval.gate import Gate, MinimumSamples
from assay.approval.multiplicity import Correction
from assay.approval.waiver import Waiver
from assay.config import kinds, validation, yaml_file
from assay.errors import Fault, InputError, SpecError, UnknownName, suggest
from assay.hashing import canonical, digest
from assay.store.score_matrix import DEPLOYED
from assay.units import Rate, number

EXIT_CODES = {"PASS": 0, "PASS WITH WAIVERS": 0, "FAIL": 3, "INVALID": 4, "INCONCLUSIVE": 5}
"""Exit code of the command line for each verdict."""

Fingerprint = Annotated[str, StringConstraints(pattern="^[0-9a-f]{16,64}$")]
"""The SHA-256 of a public key, or its beginning."""


class Policy(BaseModel):
    """What must hold before a model may be deployed; `suites` are those whose audits it judges (None: any).

    confidence: with which no gate is decided wrongly, corrected for their number by `multiplicity`.
    same_person: whether the author of a model may review it. valid_days: after so many days an approval expires.
    approves: whether a PASS approves the model for use; without it nothing can be promoted by this policy.
    screens: whether an audit with `--limit` can pass; without it such an audit is INCONCLUSIVE at best.
    prevalence: the share of anomalies in use, at which average precision is computed; required by gates on it.
    approvers: the keys that may sign by it, by their fingerprints; any without it.
    signatures: how many people must sign before a PASS counts, each with a key of their own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    version: StrictInt | StrictStr
    why: str = Field(min_length=1)
    suites: Annotated[list[str], Field(min_length=1)] | None = None
    confidence: Annotated[float, BeforeValidator(number), Ge(0.5), Le(0.9999)] = 0.95
    multiplicity: Correction = "holm"
    minimum_samples: MinimumSamples
    required_checks: Literal["all"] | Annotated[list[str], Field(min_length=1)] = "all"
    gates: list[Gate] = Field(min_length=1)
    same_person: Literal["refused", "allowed"] = "refused"
    valid_days: Annotated[int, Ge(1), Le(36_500)] | None = None
    approves: bool = True
    screens: Literal["refused", "allowed"] = "refused"
    prevalence: Rate | None = None
    approvers: Annotated[list[Fingerprint], Field(min_length=1)] | None = None
    signatures: Annotated[StrictInt, Ge(1), Le(9)] = 1
    waivers: list[Waiver] = []

    @property
    def hash(self) -> str:
        """SHA-256 of the policy as canonical JSON, defaults written out: the same for the same meaning."""
        younger = {"approvers", "signatures"}  # than many a hash
        left_out = {name for name in younger if getattr(self, name) == type(self).model_fields[name].default}
        return digest(canonical(self.model_dump(mode="json", exclude=left_out)))

    def may_approve(self, fingerprint: str | None) -> bool:
        """Whether a signature of that key, or none, may be one of those that this policy asks for."""
        if self.approvers is None:
            return fingerprint is not None or self.signatures == 1
        return fingerprint is not None and any(fingerprint.startswith(one) for one in self.approvers)

    def gates_not_waived(self, today: datetime.date | None = None) -> list[Gate]:
        """The gates that no waiver excepts; today: decides which waivers still count, by default the date (UTC)."""
        day = today or datetime.datetime.now(datetime.UTC).date()
        waived = {waiver.gate for waiver in self.waivers if waiver.counts(day)}
        return [gate for gate in self.gates if gate.label not in waived]

    @classmethod
    def of(cls, data: Mapping[str, Any], file: str) -> Self:
        """The policy in plain values read from `file`; raises SpecError with every fault."""
        of_names = _names(data)
        try:
            policy = cls.model_validate(data)
        except ValidationError as error:
            raise SpecError(file, [*validation.from_validation(error, cls, data), *of_names]) from None
        if of_names:
            raise SpecError(file, of_names)
        return policy

    def refuse(self, suite: str, what: str, remedy: str) -> None:
        """Raises InputError where the policy does not judge audits by that suite."""
        if self.suites and suite not in self.suites:
            raise InputError(
                f"policy {self.name} judges audits by the suite {' or '.join(self.suites)}, and {what} is by {suite}: "
                f"its attacks are too weak or too few; {remedy} --suite {self.suites[0]}"
            )


def names() -> list[str]:
    """The names of the policies that come with Assay."""
    files = (Path(item.name) for item in _folder().iterdir())
    return sorted(file.stem for file in files if file.suffix == ".yaml")


def read(path_or_name: str | Path) -> Policy:
    """The policy in a YAML file, or, for text without a `/` and without `.yaml` or `.yml`, one that comes with Assay.

    A file must not have the name of one that comes with Assay unless it means the same.
    Raises SpecError with every fault of the file, UnknownName, or InputError for a file that cannot be read.
    """
    if isinstance(path_or_name, Path) or "/" in path_or_name or path_or_name.endswith((".yaml", ".yml")):
        policy = Policy.of(kinds.load("policy", path_or_name), str(path_or_name))
        taken = next((name for name in names() if name == policy.name.strip().casefold()), None)
        if taken and policy.hash != read(taken).hash:
            allowed = "give another `name`: this one is kept for the policy that comes with Assay, whose limits differ"
            raise SpecError(str(path_or_name), [Fault("name", validation.shown(policy.name), allowed)])
        return policy
    if path_or_name not in names():
        raise UnknownName("policy", path_or_name, names())
    file = f"{path_or_name}.yaml"
    return Policy.of(yaml_file.parse((_folder() / file).read_text("utf-8"), file), file)


def _names(data: Mapping[str, Any]) -> list[Fault]:
    """The names in a policy that mean nothing, or two things; values are not validated yet and can be anything."""
    gates = {where: _label(gate) for where, gate in _mappings(data, "gates").items()}
    required = data.get("required_checks")
    listed = {f"required_checks.{i}": name for i, name in enumerate(required)} if isinstance(required, list) else {}
    checks = [name for name in listed.values() if isinstance(name, str)] or shelves.names("checks")
    return [
        *_without_prevalence(data),
        *_too_few_approvers(data),
        *_twice(gates, "is the name of another gate as well; give each a `name` of its own"),
        *_twice(listed, "is listed already; write it once"),
        *_unknown(listed, shelves.names("checks"), "check", "`assay ls checks` lists them"),
        *_waivers(data, "gate", [name for name in gates.values() if name]),
        *_waivers(data, "check", checks),
    ]


def _without_prevalence(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Gates on average precision where the policy does not say the prevalence that it depends on."""
    for where, gate in _mappings(data, "gates").items():
        if gate.get("metric") != "average_precision":
            continue
        if data.get("prevalence") is None:
            allowed = "depends on the share of anomalies: write `prevalence:` (between 0 and 1) into the policy"
            yield Fault(f"{where}.metric", "average_precision", allowed)
        attack = str(gate.get("attack"))
        if attack == "certified" or attack.startswith(DEPLOYED) or gate.get("norm") == "corruption":
            yield Fault(f"{where}.metric", "average_precision", "gates of clean or attacked images only; take auroc")


def _too_few_approvers(data: Mapping[str, Any]) -> Iterator[Fault]:
    """A list of approvers that is shorter than the number of signatures that the policy asks for."""
    listed, wanted = data.get("approvers"), data.get("signatures")
    if isinstance(listed, list) and isinstance(wanted, int) and listed and len({*map(str, listed)}) < wanted:
        yield Fault("approvers", validation.shown(listed), f"must list the keys of {wanted} people (`signatures`)")


def _waivers(data: Mapping[str, Any], kind: str, known: Sequence[str]) -> Iterator[Fault]:
    """The faults in what the waivers of gates, or of checks, name."""
    named = {f"{where}.{kind}": waiver.get(kind) for where, waiver in _mappings(data, "waivers").items()}
    yield from _unknown(named, known, f"{kind} that this policy requires", "write its name as it is there")
    yield from _twice(named, "is waived already; write one waiver")


def _unknown(named: Mapping[str, object], known: Sequence[str], what: str, remedy: str) -> Iterator[Fault]:
    for where, name in named.items():
        if isinstance(name, str) and name and name not in known:
            near = suggest(name, known)
            yield Fault(where, validation.shown(name), f"no such {what}{near}; {remedy}")


def _twice(named: Mapping[str, object], what: str) -> Iterator[Fault]:
    names = list(named.values())
    for i, (where, name) in enumerate(named.items()):
        if isinstance(name, str) and name in names[:i]:
            yield Fault(where, validation.shown(name), what)


def _mappings(data: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """Key path -> each mapping in a list of the file."""
    listed = data.get(key)
    items = enumerate(listed) if isinstance(listed, list) else ()
    return {f"{key}.{i}": item for i, item in items if isinstance(item, dict)}


def _label(gate: Mapping[str, Any]) -> str | None:
    """The label of a gate, or nothing for one without a name that has other faults."""
    try:
        return str(gate.get("name") or Gate.model_validate(gate).label)
    except ValidationError:
        return None


def _folder() -> Traversable:
    return resources.files("assay.approval") / "policies"


def limits(name: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """The gates of a policy that was applied, in words; none where its file was not kept, or has gates of long ago."""
    try:
        return tuple(gate.text for gate in Policy.of(values, name).gates) if values else ()
    except InputError:
        return ()
