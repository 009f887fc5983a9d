"""Scores of images by a model of the store, decoded and resized as in its audit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from torch import nn

from assay import consent
from assay.api.arguments import StoreLike, one_model, store_of
from assay.audits.explanations import explain
from assay.deploy.heat_map import drawn
from assay.deploy.score_files import Picture, Scored, Unread, files_of, reading_of
from assay.deploy.score_files import score as scored
from assay.deploy.score_output import COLUMNS, row, table
from assay.errors import InputError
from assay.models.model_folder import Model
from assay.runtime import devices
from assay.store.trials_table import Trial

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 50


@dataclass(frozen=True)
class Scores:
    """Results of images in the order in which they were given; some may not have been readable."""

    results: tuple[Scored | Unread, ...]

    @property
    def scored(self) -> tuple[Scored, ...]:
        """Those that have a score."""
        return tuple(one for one in self.results if isinstance(one, Scored))

    @property
    def unread(self) -> tuple[Unread, ...]:
        """Those that could not be read, and why."""
        return tuple(one for one in self.results if isinstance(one, Unread))

    @property
    def anomalous(self) -> tuple[Scored, ...]:
        """Those above the threshold."""
        return tuple(one for one in self.scored if one.anomalous)

    def to_arrow(self) -> pa.Table:
        """A row for each image, with the columns of `score_output.COLUMNS`."""
        return table(self.results)

    def to_pandas(self) -> pd.DataFrame:
        """The same as a data frame."""
        return self.to_arrow().to_pandas()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in COLUMNS.names)
        body = "".join(f"<tr>{_cells(row(one))}</tr>" for one in self.results[:SHOWN])
        more = f"<p>and {len(self.results) - SHOWN} more</p>" if len(self.results) > SHOWN else ""
        return f"<table><tr>{head}</tr>{body}</table>{more}"


def _cells(values: dict[str, Any]) -> str:
    return "".join(f"<td>{escape('' if value is None else str(value))}</td>" for value in values.values())


class Detector(nn.Module):
    """A model of a store as a module: images (B, C, H, W) in [0, 1] -> scores (B,), higher is more anomalous.

    In eval mode, weights frozen. Whatever else the detector offers, such as certificates, is offered here as well.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.detector = model.detector
        self.model = model
        self.training = False

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("detector"), name)

    def forward(self, images: Any) -> Any:
        """Scores (B,)."""
        return self.detector(images)

    @cached_property
    def threshold(self) -> float:
        """The score above which an image is flagged."""
        return self.model.threshold

    def score(
        self, images: Picture | Iterable[Picture], *, maps: Path | str | None = None, device: str = "cpu"
    ) -> Scores:
        """Scores of files, of all images in a folder, of images of Pillow, or of arrays uint8 (H, W) or (H, W, 3).

        Decoded and resized as in the audit. What is no image is among the results, with the reason. maps: a folder for
        heat maps over the images.
        """
        return Scores(tuple(self.results(images, maps=maps, device=device)))

    def results(
        self, images: Picture | Iterable[Picture], *, maps: Path | str | None = None, device: str = "cpu"
    ) -> Iterator[Scored | Unread]:
        """The same, each result as soon as it is there."""
        if maps is not None and Path(maps).is_file():
            raise InputError(f"{maps} is a file, and heat maps need a folder")
        found = scored(self.model, _named(images), devices.here(device))
        if maps is None:
            return found
        return drawn(found, self.detector, Path(maps), explain, device, *reading_of(self.model.manifest))


def _named(images: Picture | Iterable[Picture]) -> Iterator[tuple[str, Picture]]:
    """Every picture with its path, or its place among those given."""
    several = images if isinstance(images, Iterable) and not isinstance(images, str) else [images]
    if isinstance(images, np.ndarray) and images.ndim < 4:
        several = [images]
    for place, one in enumerate(several):
        if isinstance(one, str | Path):
            yield from files_of([one])
        else:
            yield str(place), one


def score(
    model: str | Trial,
    images: Picture | Iterable[Picture],
    *,
    maps: Path | str | None = None,
    device: str = "cpu",
    store: StoreLike = None,
    allow_import: Sequence[str] = (),
) -> Scores:
    """Score images by a model: of each its score, the threshold, the decision, and a p-value among validation normals.

    model: a service, a hash or its beginning, `SWEEP:best`, or a trial. images: a file, a folder, an array uint8 (H, W)
    or (H, W, 3), or several of these; decoded and resized as in the audit. maps: a folder for heat
    maps over the images. allow_import: as in `load`.
    Raises UnknownName, InputError or ModelError; a file that is no image is among the results.

    >>> found = assay.score("demo:best", f"{images}/spot", store=store)
    >>> len(found.scored), found.unread, found.to_pandas().decision.iloc[0] in ("normal", "anomalous")
    (20, (), True)
    """
    return opened(model, store=store, allow_import=allow_import).score(images, maps=maps, device=device)


def opened(model: str | Trial, *, store: StoreLike = None, allow_import: Sequence[str] = ()) -> Detector:
    """The model of a name, ready to score."""
    from assay.models import model_folder

    consent.allow(allow_import)
    if not isinstance(model, str | Trial):
        raise InputError(f"model: found {model!r}; give a name, or a trial of a sweep")
    place = store_of(store)
    return Detector(model_folder.load(place, one_model(place, model, "load")))
