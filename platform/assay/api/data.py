"""What a dataset holds, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from assay.api.arguments import file_or_values
from assay.errors import Fault, InputError, SpecError

if TYPE_CHECKING:
    from assay.contracts import Dataset
    from assay.data.summary import Summary


@dataclass(frozen=True)
class Data:
    """A dataset that was looked at. summary: what was found. dataset: its samples."""

    summary: Summary
    dataset: Dataset

    def html(self) -> str:
        """A self-contained page with a contact sheet, on which masks are drawn."""
        from assay.reports import data_page

        return data_page.render(self.summary, self.dataset)

    def _repr_html_(self) -> str:
        return self.html()


def read_data(source: Mapping[str, Any] | Path | str) -> Data:
    """Look at every image of a dataset once: counts, sizes, depths, repeats, masks, and what a sweep would lack.

    source: a search space or a card, as a file or a mapping, of which only `dataset` is read (and a card's own
    `image_size`, `channels` and `input`). Nothing is trained. Raises InputError or SpecError for what is written
    wrongly, DataError for images that cannot be read.

    >>> found = assay.read_data({"dataset": {"name": "folder", "root": images, "normal": "good", "anomalous": "spot"}})
    >>> found.summary.counts["test"]
    {'normal': 12, 'spot': 13}
    """
    from assay.config import dataset_root, yaml_file
    from assay.data.summary import summary

    given = file_or_values(source, "search space or card")
    where = given if isinstance(given, str) else "the dataset"
    if isinstance(given, str):
        from assay.cluster import user_code

        user_code.beside(given)
        given = dataset_root.located(yaml_file.load(given), given)
    dataset = _dataset(given, where)
    return Data(summary(dataset), dataset)


def _dataset(values: Mapping[str, Any], where: str) -> Dataset:
    from assay import shelves
    from assay.config.validation import from_validation, shown

    if "dataset" not in values:
        raise SpecError(where, [Fault("dataset", "nothing", "is required: the name of a dataset, with its parameters")])
    try:
        name, given = shelves.normal_form(values["dataset"])
    except PydanticCustomError as error:
        raise SpecError(where, [Fault("dataset", shown(values["dataset"]), str(error))]) from None
    function = shelves.load("datasets", name)
    known = shelves.fields(function)
    of_card = {key: values[key] for key in ("image_size", "channels") if key in values}
    if values.get("input") == "native":
        of_card["image_size"] = "native"
    try:
        arguments = shelves.bind(function, {**{k: v for k, v in of_card.items() if k in known}, **given})
    except ValidationError as error:
        faults = from_validation(error, shelves.signature(function), given)
        raise SpecError(where, [Fault(f"dataset.{one.key}", one.found, one.allowed) for one in faults]) from None
    except InputError as error:
        raise SpecError(where, [Fault("dataset", name, str(error))]) from None
    made: Dataset = function(**arguments)
    return made
