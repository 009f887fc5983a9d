"""From the figures and checks of an audit to a verdict, by a policy: a YAML file of gates.

All gates must hold, so each may be tested at the full confidence: a wrong PASS needs every gate that should have
stopped it to err (an intersection-union test, Berger 1982), and adding gates never makes one likelier.
"""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
from annotated_types import Gt, Lt
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
)

from assay import faults, yaml_file
from assay.errors import SpecError, UnknownName
from assay.gate import Gate, MinimumSamples
from assay.store import canonical, digest
from assay.units import number

EXIT_CODES = {"PASS": 0, "FAIL": 3, "INVALID": 4, "INCONCLUSIVE": 5}
"""Exit code of the command line for each verdict."""


class Policy(BaseModel):
    """What must hold before a model may be deployed; `suites` are those whose audits it judges (None: any)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    version: StrictInt | StrictStr
    why: str = Field(min_length=1)
    suites: Annotated[list[str], Field(min_length=1)] | None = None
    confidence: Annotated[float, BeforeValidator(number), Gt(0), Lt(1)] = 0.95
    minimum_samples: MinimumSamples
    required_checks: Literal["all"] | Annotated[list[str], Field(min_length=1)] = "all"
    gates: list[Gate] = Field(min_length=1)

    @field_validator("gates")
    @classmethod
    def _names_differ(cls, gates: list[Gate]) -> list[Gate]:
        names = [gate.name or gate.text for gate in gates]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"gates need different names; there twice: {', '.join(twice)}")
        return gates

    @property
    def hash(self) -> str:
        """SHA-256 of the policy as canonical JSON, defaults written out: the same for the same meaning."""
        return digest(canonical(self.model_dump(mode="json")))

    @classmethod
    def of(cls, data: dict[str, Any], file: str) -> Self:
        """The policy in plain values read from `file`; raises SpecError with every fault."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise SpecError(file, faults.from_validation(error, cls, data)) from None


def names() -> list[str]:
    """The names of the policies that come with Assay."""
    files = (Path(item.name) for item in _folder().iterdir())
    return sorted(file.stem for file in files if file.suffix == ".yaml")


def read(path_or_name: str | Path) -> Policy:
    """The policy in a YAML file, or, for text without a `/` and without `.yaml` or `.yml`, one of Assay's own.

    Raises SpecError with every fault of the file, UnknownName, or InputError for a file that cannot be read.
    """
    if isinstance(path_or_name, Path) or "/" in path_or_name or path_or_name.endswith((".yaml", ".yml")):
        return Policy.of(yaml_file.load(path_or_name), str(path_or_name))
    if path_or_name not in names():
        raise UnknownName("policy", path_or_name, names())
    file = f"{path_or_name}.yaml"
    return Policy.of(yaml_file.parse((_folder() / file).read_text("utf-8"), file), file)


def decide(policy: Policy, metrics: pa.Table, checks: pa.Table) -> dict[str, Any]:
    """The verdict on an audit from its tables METRICS and CHECKS, ready for JSON.

    INVALID if a required check failed or is missing (no gate is decided then, for its figure cannot be relied on); else
    FAIL if a gate fails; else INCONCLUSIVE if one is undecided; else PASS.
    """
    outcome, reasons = _checked(policy, checks)
    gates = [gate.decide(metrics, policy.confidence, policy.minimum_samples) for gate in policy.gates]
    if outcome["failed"] or outcome["missing"]:
        verdict = "INVALID"
        stopped = {"decision": "NOT RUN", "why": "the audit did not pass its own checks, so its figures decide nothing"}
        gates = [gate | stopped for gate in gates]
    else:
        decisions = {gate["decision"] for gate in gates}
        verdict = next((word for word in ("FAIL", "INCONCLUSIVE") if word in decisions), "PASS")
        reasons += [_sentence(gate) for gate in gates if gate["decision"] != "PASS"]
    if verdict == "PASS":
        reasons.insert(0, f"All {len(gates)} gates and all {len(outcome['passed'])} required checks hold.")
    about = {"name": policy.name, "version": policy.version, "hash": policy.hash, "why": policy.why}
    return {"verdict": verdict, "policy": about, "gates": gates, "checks": outcome, "reasons": reasons}


def _checked(policy: Policy, checks: pa.Table) -> tuple[dict[str, list[str]], list[str]]:
    """The names of required checks that passed, failed and are missing; and a sentence for each that did not pass."""
    rows = {row["check"]: row for row in checks.to_pylist()}
    marked = [name for name, row in rows.items() if row["required"]]
    required = marked if policy.required_checks == "all" else policy.required_checks
    outcome: dict[str, list[str]] = {"passed": [], "failed": [], "missing": []}
    for name in required:
        passed = rows[name]["passed"] if name in rows else None  # a check without an outcome was not run
        outcome["missing" if passed is None else "passed" if passed else "failed"].append(name)
    reasons = [f"Check {name} failed: {rows[name]['evidence']}" for name in outcome["failed"]]
    reasons += [f"Check {name} is required and was not run." for name in outcome["missing"]]
    if not required:
        outcome["missing"].append("any required check")
        reasons.append("The audit ran no required check, so nothing says that its figures can be trusted.")
    waived = [name for name in marked if name not in required and not rows[name]["passed"]]
    reasons += [f"Check {name} did not pass; this policy does not require it." for name in waived]
    return outcome, reasons


def _sentence(gate: dict[str, Any]) -> str:
    name = "" if gate["name"] == gate["text"] else f"{gate['name']}: "
    return f"{gate['decision']}: {name}{gate['text']}; {gate['why']}."


def _folder() -> Traversable:
    return resources.files("assay") / "policies"
