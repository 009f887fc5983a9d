"""A study file: which detectors, on which data, with which seeds. Every cell of it is an ordinary search space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, MinLen
from pydantic import ValidationError

from assay.config import dataset_root, reader, yaml_file
from assay.config.search_space import Name, Spec
from assay.config.section import Section
from assay.config.validation import from_validation
from assay.contracts import Plain
from assay.errors import Fault, SpecError

CELL = ("resources", "budget", "retries", "tracking", "constraints", "best")
"""Sections of a search space that a study may hold for all of its cells."""


class Detector(Section):
    """A detector of the study: the sections `trainable` and `fixed` of a search space, and what varies, if anything.

    Without `space` a cell is one training; with it, a sweep whose best trial counts.
    """

    trainable: Any
    fixed: Mapping[str, Any] = {}
    space: Mapping[str, Any] = {}
    search: Mapping[str, Any] = {}
    stop_early: Mapping[str, Any] | None = None
    fidelity: Mapping[str, Any] | None = None


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


def read(path: str | Path) -> Study:
    """The study in a YAML file; raises InputError if it cannot be read, SpecError with every fault of every cell."""
    return check(yaml_file.load(path), str(path))


def check(raw: Mapping[str, Any], file: str) -> Study:
    """The study described by plain values; file: its name in errors."""
    try:
        given = StudyFile.model_validate(raw)
    except ValidationError as error:
        raise SpecError(file, from_validation(error, StudyFile, raw)) from None
    cells: list[Cell] = []
    faults: dict[tuple[str, str], Fault] = {}
    for detector, dataset, seed, space in _spaces(given):
        try:
            located = dataset_root.located(space, file)
            cells.append(Cell(detector, dataset, seed, reader.check(located, file)))
        except SpecError as error:
            faults |= {(fault.key, fault.found): _placed(fault, detector, dataset) for fault in error.faults}
    if faults:
        raise SpecError(file, list(faults.values()))
    seeds, directions = tuple(dict.fromkeys(given.seeds)), dict(given.objectives)
    return Study(given.name, tuple(given.detectors), tuple(given.datasets), seeds, directions, tuple(cells))


def _spaces(given: StudyFile) -> Iterator[tuple[str, str, int, Plain]]:
    """Detector, dataset, seed and the search space of every cell, by dataset so that one is read once."""
    shared = {key: value for key in CELL if key in given.model_fields_set and (value := getattr(given, key)) != {}}
    for dataset, item in given.datasets.items():
        for detector, recipe in given.detectors.items():
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
