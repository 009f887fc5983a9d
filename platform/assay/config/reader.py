"""Reads a search space from a file or from plain values, and reports every fault at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic import create_model as model_of

from assay import shelves
from assay.config import (
    binding,
    dataset_root,
    kinds,
    overrides,
    rules,
    shipped_search_spaces,
    space_syntax,
    trainable_choice,
)
from assay.config.domains import Choice
from assay.config.search.fidelity import Rung
from assay.config.search_space import Evaluation, Spec
from assay.config.section import Section
from assay.config.validation import from_validation, shown
from assay.contracts import Plain
from assay.errors import Fault, InputError, SpecError, suggest


def read(path: str | Path, changes: Sequence[str] = ()) -> Spec:
    """The search space in a YAML file, or of a shipped name, after applying `key=value` changes (`--set`).

    Raises UnknownName, InputError if the file cannot be read, SpecError with every fault of file and changes.
    """
    path = shipped_search_spaces.located(path)
    raw, faults = overrides.apply(dataset_root.located(kinds.load("search space", path), path), changes)
    return check(raw, str(path), faults)


def changed(spec: Spec, changes: Sequence[str]) -> Spec:
    """A spec with `key=value` changes applied; raises SpecError with all of their faults."""
    raw, faults = overrides.apply(spec.plain(), changes)
    return check(raw, f"sweep '{spec.name}'", faults)


def check(raw: Mapping[str, Any], file: str, faults: Sequence[Fault] = ()) -> Spec:
    """The search space described by plain values; raises SpecError with every fault, those passed in first.

    file: the name used in errors. Only code is loaded: no image is decoded and no process started.
    """
    all_faults = list(faults)
    values, wrong = trainable_choice.read(raw)
    all_faults += wrong
    if "space" in values:
        values["space"], wrong = space_syntax.read(values["space"])
        all_faults += wrong
    if isinstance(values.get("evaluation"), Mapping):
        values["evaluation"], wrong = _gather_attack(values["evaluation"], "evaluation", Evaluation)
        all_faults += wrong
    if isinstance(values.get("fidelity"), Mapping):
        values["fidelity"], wrong = _gather_rungs(values["fidelity"])
        all_faults += wrong
    try:
        sections: dict[str, Any] = dict(Spec.model_validate(values))
    except ValidationError as error:
        all_faults += map(_beside_attack, from_validation(error, Spec, values))
        sections = _sound(values, {str(detail["loc"][0]) for detail in error.errors()})
    if isinstance(sections.get("trainable"), Choice):
        sections["epochs"], wrong = trainable_choice.bind(sections["trainable"])
        all_faults += wrong
    elif "trainable" in sections:
        trainable, wrong = binding.recipe(sections["trainable"])
        all_faults += wrong
        if trainable is not None and "fixed" in sections and "space" in sections:
            sections["fixed"], sections["epochs"], wrong = binding.bind(trainable, sections["fixed"], sections["space"])
            all_faults += wrong
    all_faults += rules.faults(sections)
    if all_faults:
        rank = {name: place for place, name in enumerate(Spec.model_fields)}
        raise SpecError(file, sorted(all_faults, key=lambda fault: rank.get(fault.key.split(".")[0], -1)))
    # Everything was validated above; the sections filled in by binding replace those of the file.
    return Spec.model_construct(**{key: value for key, value in sections.items() if key in Spec.model_fields})


def _sound(values: Mapping[str, Any], wrong: set[str]) -> dict[str, Any]:
    """The sections that are valid on their own, for the rules between sections."""
    right = {key: field for key, field in Spec.model_fields.items() if key not in wrong}
    fields: dict[str, Any] = {key: (field.rebuild_annotation(), field) for key, field in right.items()}
    return dict(model_of("Sound", **fields).model_validate({key: values[key] for key in right if key in values}))


def _gather_rungs(fidelity: Mapping[str, Any]) -> tuple[Plain, list[Fault]]:
    """The fidelity section with the parameters of each rung's attack moved into the attack, and the faults."""
    ladder, faults = fidelity.get("ladder"), []
    if not isinstance(ladder, list) or not all(isinstance(rung, Mapping) for rung in ladder):
        return dict(fidelity), []
    rungs = []
    for at, rung in enumerate(ladder):
        gathered, wrong = _gather_attack(rung, f"fidelity.ladder.{at}", Rung)
        rungs.append(gathered)
        faults += wrong
    return {**fidelity, "ladder": rungs}, faults


def _gather_attack(evaluation: Mapping[str, Any], path: str, section: type[Section]) -> tuple[Plain, list[Fault]]:
    """A section with its attack's parameters, which stand beside the attack's name, moved into the attack.

    Also returns the faults of keys that belong to neither. path: of the section in the file.
    """
    name = evaluation.get("attack")
    own = {key: value for key, value in evaluation.items() if key in section.model_fields}
    rest = {key: value for key, value in evaluation.items() if key not in own}
    if not isinstance(name, str):
        return dict(evaluation), []
    try:
        known = set(shelves.fields(shelves.load("attacks", name)))
    except InputError:
        return own, []
    wrong = [
        Fault(
            f"{path}.{key}",
            shown(value),
            f"unknown key{suggest(key, known | set(section.model_fields))}; available: "
            f"{', '.join(section.model_fields)}, and of {name}: {', '.join(sorted(known)) or 'nothing'}",
        )
        for key, value in rest.items()
        if key not in known
    ]
    given = {key: value for key, value in rest.items() if key in known}
    return {**own, "attack": {"name": name, **given}}, wrong


def _beside_attack(fault: Fault) -> Fault:
    """A fault of an attack's parameter at its place in the file: beside the attack's name."""
    beside = re.sub(r"^(evaluation|fidelity\.ladder\.\d+)\.attack\.", r"\1.", fault.key)
    return Fault(beside, fault.found, fault.allowed)
