"""A study file: which detectors, on which data, with which seeds. Every cell of it is an ordinary search space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from annotated_types import Ge, MinLen
from pydantic import ValidationError, model_validator

from assay.config import dataset_root, kinds, reader
from assay.config.search_space import Name, Spec
from assay.config.section import Section
from assay.config.validation import from_validation, shown
from assay.contracts import Plain
from assay.errors import AssayError, Fault, InputError, SpecError
from assay.models import card
from assay.store import references
from assay.store.store import Store
from assay.studies import finished_model

CELL = ("resources", "budget", "retries", "tracking", "constraints", "best")
"""Sections of a search space that a study may hold for all of its cells."""


class Detector(Section):
    """A detector of the study: the sections `trainable` and `fixed` of a search space, and what varies, if anything.

    Without `space` a cell is one training; with it, a sweep whose best trial counts. In place of all that, `model` is a
    finished one: SWEEP:best, a hash or service of the store, or the card of a detector from outside.
    """

    model: str | None = None
    trainable: Any = None
    fixed: Mapping[str, Any] = {}
    space: Mapping[str, Any] = {}
    search: Mapping[str, Any] = {}
    stop_early: Mapping[str, Any] | None = None
    fidelity: Mapping[str, Any] | None = None

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if (self.trainable is None) == (self.model is None):
            raise ValueError("needs either `trainable` or `model`")
        if self.model is not None and (more := sorted(self.model_fields_set - {"model"})):
            raise ValueError(f"a finished model takes no {' and no '.join(more)}")
        return self


class StudyFile(Section):
    """A whole study file; evaluation and objectives are as in a search space, and the same for every cell."""

    name: Name
    detectors: Annotated[Mapping[Name, Detector], MinLen(1)]
    datasets: Annotated[Mapping[Name, Mapping[str, Any]], MinLen(1)]
    seeds: Annotated[Sequence[Annotated[int, Ge(0)]], MinLen(1)]
    evaluation: Mapping[str, Any]
    objectives: Mapping[str, str] = {"clean_auroc": "max", "robust_auroc": "max"}
    resources: Mapping[str, Any] = {}
    budget: Mapping[str, Any] = {}
    retries: int = 2
    tracking: Mapping[str, Any] = {}
    constraints: Mapping[str, Any] = {}
    best: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Cell:
    """One detector on one dataset with one seed, and the sweep that it is."""

    detector: str
    dataset: str
    seed: int
    spec: Spec


@dataclass(frozen=True)
class Study:
    """A checked study: its name, the names of detectors and datasets in the order of the file, its cells."""

    name: str
    detectors: tuple[str, ...]
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    directions: Mapping[str, str]
    cells: tuple[Cell, ...]


def read(path: str | Path, store: Store | None = None) -> Study:
    """The study in a YAML file; raises InputError if it cannot be read, SpecError with every fault of every cell."""
    return check(kinds.load("study", path), str(path), store)


def check(raw: Mapping[str, Any], file: str, store: Store | None = None) -> Study:
    """The study described by plain values.

    file: its name in errors. store: where finished models are looked up; without one they are not.
    """
    try:
        given = StudyFile.model_validate(raw)
    except ValidationError as error:
        raise SpecError(file, from_validation(error, StudyFile, raw)) from None
    cells: list[Cell] = []
    faults: dict[tuple[str, str], Fault] = {}
    recipes: dict[str, Detector] = {}
    for name, recipe in given.detectors.items():
        try:
            recipes[name] = _trained(recipe, Path(file).parent, store)
        except AssayError as error:
            faults[name, "model"] = Fault(f"detectors.{name}.model", shown(recipe.model), str(error))
    for detector, dataset, seed, space in _spaces(given, recipes):
        try:
            located = dataset_root.located(space, file)
            cells.append(Cell(detector, dataset, seed, reader.check(located, file)))
        except SpecError as error:
            faults |= {(fault.key, fault.found): _placed(fault, detector, dataset) for fault in error.faults}
    if faults:
        raise SpecError(file, list(faults.values()))
    seeds, directions = tuple(dict.fromkeys(given.seeds)), dict(given.objectives)
    return Study(given.name, tuple(given.detectors), tuple(given.datasets), seeds, directions, tuple(cells))


def _trained(recipe: Detector, beside: Path, store: Store | None) -> Detector:
    """The same with the trainable that a finished model is run as, and its hash; raises AssayError."""
    if recipe.model is None:
        return recipe
    model, root = recipe.model, ""
    if store is not None:
        root = str(store.root)
        if card.names_file(model):
            model = card.bring(store, str(beside / model))
        elif len(found := references.models(store, model)) > 1:
            raise InputError(f"'{model}' names {len(found)} models; give the hash of one: {', '.join(found)}")
        else:
            model = found[0]
    return Detector(trainable=finished_model.NAME, fixed={"model": model, "store": root})


def _spaces(given: StudyFile, recipes: Mapping[str, Detector]) -> Iterator[tuple[str, str, int, Plain]]:
    """Detector, dataset, seed and the search space of every cell, by dataset so that one is read once."""
    shared = {key: value for key in CELL if key in given.model_fields_set and (value := getattr(given, key)) != {}}
    for dataset, item in given.datasets.items():
        for detector, recipe in recipes.items():
            for seed in dict.fromkeys(given.seeds):
                search = {"trials": 1, "sampler": "random", **recipe.search, "seed": seed}
                several = isinstance(recipe.trainable, Mapping)
                space = {
                    "name": f"{given.name}--{detector}--{dataset}--{seed}",
                    "trainable": recipe.trainable,
                    "dataset": dict(item),
                    "evaluation": dict(given.evaluation),
                    "objectives": dict(given.objectives),
                    "search": search,
                    **({} if several else {"fixed": dict(recipe.fixed), "space": dict(recipe.space)}),
                    **({"stop_early": dict(recipe.stop_early)} if recipe.stop_early else {}),
                    **({"fidelity": dict(recipe.fidelity)} if recipe.fidelity else {}),
                    **{key: dict(value) if isinstance(value, Mapping) else value for key, value in shared.items()},
                }
                yield detector, dataset, seed, space


def _placed(fault: Fault, detector: str, dataset: str) -> Fault:
    """A fault of a cell at its place in the study file."""
    section = fault.key.split(".")[0]
    if section in ("trainable", "fixed", "space", "search", "stop_early"):
        return Fault(f"detectors.{detector}.{fault.key}", fault.found, fault.allowed)
    if section == "dataset":
        return Fault(fault.key.replace("dataset", f"datasets.{dataset}", 1), fault.found, fault.allowed)
    return fault
