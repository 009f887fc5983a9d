"""Samples that are not independent: how groups are resampled, and how many independent samples they are worth.

A group holds the images of one physical part (views, lights, tiles, crops). However many they are, they count as one
sample: how alike they are cannot be known from few groups, and where a part as a whole is misranked they all are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from assay.store.schemas import GROUP

Codes = NDArray[np.int64]

NORMAL, ANOMALOUS, BOTH = range(3)
"""What a group holds; the groups of each are redrawn among themselves."""


class Worth(NamedTuple):
    """How many independent samples the normals and the anomalies of a figure are worth.

    together: how far both classes may fail together, 0 where no group holds both, up to 1 where every group does.
    """

    normals: float
    anomalies: float
    together: float = 0.0

    @property
    def paired(self) -> tuple[float, float]:
        """The same for a figure of both classes: if they fail together, its variance is up to twice as large."""
        return self.normals / (1 + self.together), self.anomalies / (1 + self.together)

    @property
    def smaller(self) -> float:
        """Of the class that is worth less, for a figure of both."""
        return min(self.paired)


@dataclass(frozen=True)
class Groups:
    """The group, from 0 on, of each normal (N,) and of each anomaly (A,) of a figure."""

    normals: Codes
    anomalies: Codes

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(2, G) how many normals and how many anomalies each group holds."""
        count = 1 + max(int(codes.max(initial=-1)) for codes in (self.normals, self.anomalies))
        return np.stack([np.bincount(codes, minlength=count) for codes in (self.normals, self.anomalies)])

    @cached_property
    def holds(self) -> NDArray[np.int64]:
        """(G,) NORMAL, ANOMALOUS or BOTH."""
        normal, anomalous = self.sizes > 0
        return np.where(normal & anomalous, BOTH, np.where(anomalous, ANOMALOUS, NORMAL))

    @cached_property
    def counts(self) -> tuple[int, int]:
        """How many groups hold normals, and how many hold anomalies."""
        normals, anomalies = (self.sizes > 0).sum(axis=1).tolist()
        return normals, anomalies

    @cached_property
    def worth(self) -> Worth:
        """Groups of sizes m are worth (sum m)^2 / sum m^2 samples (Kish 1965, section 8.2): their number if all alike.

        together: the correlation that normals and anomalies have at most where they share groups.
        """
        squares = (self.sizes**2).sum(axis=1)
        normals, anomalies = (self.sizes.sum(axis=1) ** 2 / squares).tolist()
        shared = (self.sizes[:, self.holds == BOTH] ** 2).sum(axis=1) / squares
        return Worth(normals, anomalies, float(np.sqrt(shared.prod())))


def codes(names: Sequence[str | None] | NDArray[np.object_]) -> Codes:
    """(N,) a number for each sample, the same for those of a group, in the order of the names; None is of no group."""
    alone = [i for i, name in enumerate(names) if name is None]
    known, found = np.unique([str(name) for name in names if name is not None], return_inverse=True)
    numbers = np.empty(len(names), np.int64)
    grouped = np.ones(len(names), bool)
    grouped[alone] = False
    numbers[grouped], numbers[alone] = found, len(known) + np.arange(len(alone))
    return numbers


def among(normals: Codes, anomalies: Codes) -> Groups | None:
    """The groups of the samples of a figure, by numbers; None where every sample is of its own, so all independent."""
    known, found = np.unique(np.concatenate([normals, anomalies]), return_inverse=True)
    if len(known) == len(found):
        return None
    return Groups(found[: len(normals)], found[len(normals) :])


def of(labels: ArrayLike, names: Sequence[str | None] | NDArray[np.object_] | None) -> Groups | None:
    """The groups of samples with these labels (N,) and names of groups (N,); None where all are independent."""
    if names is None:
        return None
    numbers, anomalous = codes(names), np.asarray(labels) == 1
    return among(numbers[~anomalous], numbers[anomalous])


def counts(normals: int, anomalies: int, groups: Groups | None) -> tuple[int, int]:
    """How many groups hold so many samples: each its own where they are independent."""
    return (normals, anomalies) if groups is None else groups.counts


def worth(normals: int, anomalies: int, groups: Groups | None) -> Worth:
    """What so many samples are worth: as many as there are where they are independent."""
    return Worth(normals, anomalies) if groups is None else groups.worth


def number(names: Sequence[str | None] | NDArray[np.object_] | None, count: int) -> float:
    """How many independent samples `count` of one kind are worth, by the names of their groups."""
    if names is None or not count:
        return count
    sizes = np.bincount(codes(names))
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def of_split(dataset: Mapping[str, Any], split: str) -> tuple[int, int] | None:
    """How many independent normals and anomalies a manifest says that a split has; None where it does not say."""
    of_split = [(dataset.get(key) or {}).get(split) for key in ("groups", "counts")]
    counts = next((one for one in of_split if one), None)
    return None if counts is None else (counts["normal"], counts["anomalous"])


def named(table: pa.Table | Mapping[str, Any]) -> NDArray[np.object_] | None:
    """The group of each row of a table (N,); None for older tables, which have none."""
    if GROUP not in (table.column_names if isinstance(table, pa.Table) else table):
        return None
    column = table[GROUP]
    names = np.array(column.to_pylist() if isinstance(table, pa.Table) else column, dtype=object)
    return None if None in names else names
