"""Splitting by seed: stratified, never across a group, and independent of the order of the files on disk."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from assay.contracts import Split
from assay.errors import DataError, InputError

Part = TypeVar("Part", bound=Hashable)


def split(
    keys: Sequence[str],
    shares: Mapping[Part, float],
    seed: int,
    stratum: str,
    already: Mapping[Part, int] | None = None,
) -> list[Part]:
    """A part for every key; equal keys get the same part, and every part comes as close to its share as that allows.

    shares: must sum to 1. stratum: any text; strata are shuffled separately, so adding one does not change the others.
    already: number of samples each part already has, which count towards its share.
    """
    sizes = Counter(keys)
    generator = np.random.default_rng([seed, *stratum.encode()])
    held = Counter(already or {})
    missing = {part: share * (len(keys) + held.total()) - held[part] for part, share in shares.items()}
    part_of = {}
    ordered = sorted(sizes)
    for key in (ordered[index] for index in generator.permutation(len(ordered))):
        # Fill the part that lacks most: with one sample per key, counts end less than one from their shares.
        part = max(missing, key=lambda part: missing[part])
        missing[part] -= sizes[key]
        part_of[key] = part
    return [part_of[key] for key in keys]


def components(ids: Sequence[str], *labels: Sequence[str | None]) -> list[str]:
    """A key for every id; two ids get the same key if a chain of equal labels connects them. None connects nothing.

    The key is the smallest id of the component, so it does not depend on the order of the ids.
    """
    parent = {id_: id_ for id_ in ids}

    def root(id_: str) -> str:
        while parent[id_] != id_:
            parent[id_] = parent[parent[id_]]
            id_ = parent[id_]
        return id_

    for column in labels:
        first: dict[str, str] = {}
        for id_, label in zip(ids, column, strict=True):
            if label is not None:
                low, high = sorted((root(first.setdefault(label, id_)), root(id_)))
                parent[high] = low
    return [root(id_) for id_ in ids]


def normal_shares(train: float, validation: float) -> dict[Split, float]:
    """Shares of normals, with the rest for the test split; raises InputError unless train > 0 and test > 0."""
    test = 1 - train - validation
    if train <= 0 or test <= 1e-9:
        raise InputError(
            f"train_fraction {train:g} and validation_fraction {validation:g} leave {max(test, 0):g} of the normals "
            "for the test split; train_fraction must be above 0 and the sum of the two below 1"
        )
    return {"train": train, "validation": validation, "test": test}


def anomaly_shares(validation: float, source: str) -> dict[Split, float]:
    """Shares of anomalies: `validation` of them if the source is "labelled", none if it is "pseudo"; the rest test."""
    share = validation if source == "labelled" else 0.0
    return {"validation": share, "test": 1 - share}


def group_names(ids: Sequence[str], pattern: str) -> list[str]:
    """The group of each id: the first group of a regular expression, searched in the file name.

    A pattern with a slash is searched in the whole id. Raises InputError for an invalid pattern, DataError for ids in
    which it finds nothing.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"group_pattern '{pattern}' is not a regular expression: {error}") from error
    if compiled.groups < 1:
        raise InputError(f"group_pattern '{pattern}' has no group; put the part that names the group in parentheses")
    matches = [compiled.search(id_ if "/" in pattern else id_.rpartition("/")[2]) for id_ in ids]
    without = [id_ for id_, match in zip(ids, matches, strict=True) if match is None or match.group(1) is None]
    if without:
        raise DataError(
            f"group_pattern '{pattern}' finds no group in {len(without)} of {len(ids)} file names, such as "
            f"{', '.join(without[:5])}; every file needs a group"
        )
    return [match.group(1) for match in matches if match]


def refuse_equal_ids(ids: Sequence[str]) -> None:
    """Raises DataError if two samples have the same id."""
    twice = [id_ for id_, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(f"{len(twice)} images are listed twice, such as {', '.join(sorted(twice)[:5])}")
