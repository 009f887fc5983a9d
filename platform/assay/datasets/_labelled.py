"""Moves test anomalies into training: as labelled anomalies, or as contamination hidden among the train normals.

Source: Pang et al. 2021, "Explainable Deep Few-shot Anomaly Detection with Deviation Networks" (few labelled anomalies,
drawn by seed from the test anomalies, at most half of them), and Pang et al. 2019, "Deep Anomaly Detection with
Deviation Networks", section 4.6 (contamination).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from pydantic import BeforeValidator

from assay.contracts import Sample, Split
from assay.errors import InputError
from assay.units import number

Labelled = Annotated[int, Ge(0)]
Contamination = Annotated[float, BeforeValidator(number), Ge(0), Le(0.5)]


def check_kinds(wanted: Sequence[str] | None, there: Collection[str]) -> None:
    """Raises InputError for an empty list of kinds and for kinds that do not exist."""
    unknown = sorted(set(wanted or []) - set(there))
    if unknown or wanted == []:
        raise InputError(
            f"labelled_kinds: {', '.join(unknown) or 'an empty list'}; name one or more kinds of anomalies; "
            f"there are: {', '.join(sorted(there))}"
        )


def draw(
    samples: Sequence[Sample],
    *,
    labelled: int,
    contamination: float,
    seed: int,
    kinds: Sequence[str] | None = None,
    keys: Mapping[str, str] | None = None,
) -> tuple[list[Sample], dict[str, int | str]]:
    """The samples with some test anomalies moved to the splits `labelled` and `contamination`, and notes about it.

    labelled: how many; with the same seed, a smaller number is a subset of a larger one. contamination: share of hidden
    anomalies among all train images afterwards. kinds: which may be drawn, default all. keys: id -> key; samples with
    the same key move together, and any normals among them move to the train split. With nothing asked for, nothing
    changes.
    Raises InputError for more than half of those that may be drawn, and if whole keys cannot make up the number.
    """
    notes: dict[str, int | str] = {} if kinds is None else {"labelled_kinds": ", ".join(sorted(kinds))}
    if not labelled and not contamination:
        return list(samples), notes
    normals = sum(sample.split == "train" for sample in samples)
    hidden = round(contamination * normals / (1 - contamination))
    missing: dict[Split, int] = {"labelled": labelled, "contamination": hidden}
    sizes = _drawable(samples, kinds, keys or {})
    most = sum(sizes.values()) // 2
    if labelled + hidden > most:
        raise InputError(
            f"labelled_anomalies {labelled} and contamination {contamination:g} ({hidden} images) ask for "
            f"{labelled + hidden} of the {sum(sizes.values())} test anomalies that may be drawn; at most "
            f"half, {most}, may be drawn: ask for fewer"
        )
    notes |= {"labelled_seed": seed, **{f"anomalies_{part}": count for part, count in missing.items()}}
    part_of: dict[str, Split] = {}
    ordered = sorted(sizes)
    for key in (ordered[index] for index in np.random.default_rng(seed).permutation(len(ordered))):
        part: Split | None = next((part for part, count in missing.items() if 0 < sizes[key] <= count), None)
        if part is not None:
            part_of[key] = part
            missing[part] -= sizes[key]
    if any(missing.values()):
        raise InputError(
            f"labelled_anomalies {labelled} and contamination {contamination:g} cannot be drawn in whole groups: "
            f"{sum(missing.values())} images are missing, and every remaining group is larger; ask for another number"
        )
    moved = [_moved(sample, part_of.get((keys or {}).get(sample.id, sample.id))) for sample in samples]
    return moved, notes


def _drawable(samples: Sequence[Sample], kinds: Sequence[str] | None, keys: Mapping[str, str]) -> dict[str, int]:
    """Key -> number of test anomalies, without keys that contain a kind that may not be drawn."""
    defects: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        if sample.split == "test" and sample.label:
            defects[keys.get(sample.id, sample.id)].append(sample.defect)
    return {key: len(of) for key, of in defects.items() if kinds is None or set(of) <= set(kinds)}


def _moved(sample: Sample, part: Split | None) -> Sample:
    if part is None:
        return sample
    return replace(sample, split=part if sample.label else "train")
