"""Plain folders of images without a split: some contain normals, others anomalies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from assay.contracts import Dataset, Sample, Split
from assay.data.grouped_split import anomaly_shares, components, normal_shares, refuse_equal_ids, split
from assay.data.images import content_hash, image_files, open_image
from assay.datasets._labelled import Contamination, Labelled, check_kinds, draw
from assay.errors import DataError, InputError
from assay.units import Fraction, ImageSize


def folder(
    *,
    root: str,
    normal: str | list[str],
    anomalous: str | list[str],
    image_size: ImageSize = 128,
    channels: Literal[1, 3] = 3,
    split_seed: Annotated[int, Ge(0)] = 0,
    group_pattern: str | None = None,
    train_fraction: Fraction = 0.6,
    validation_fraction: Fraction = 0.2,
    validation_anomaly_fraction: Fraction = 1 / 3,
    validation_anomalies: Literal["labelled", "pseudo"] = "labelled",
    labelled_anomalies: Labelled = 0,
    labelled_kinds: list[str] | None = None,
    labelled_seed: Annotated[int, Ge(0)] = 0,
    contamination: Contamination = 0,
    allow_duplicates: bool = False,
    licence: str = "unknown",
) -> Dataset:
    """Images of the folders `normal` and `anomalous` below `root`, split by seed; a folder's name is its defect kind.

    group_pattern: a regular expression searched in the file name; its first group names the samples that must stay in
    one split, such as a patient: `^(patient\\d+)_`. A group with anomalies goes to validation or test with its normals.
    Images with identical pixels also stay in one split; every image is decoded once to find them.
    Files that are not images are skipped and counted in the notes; subfolders are only read if named.
    train_fraction, validation_fraction: shares of the normals; the rest are test.
    validation_anomaly_fraction: share of the anomalies used for validation if these are "labelled"; the rest are test.
    With "pseudo", every anomaly is test.
    labelled_anomalies: number of test anomalies moved to training. contamination: share of the train images that are
    anomalies labelled as normal. labelled_seed draws both from the test split, at most half of the labelled_kinds.
    Groups are drawn whole, and their normals move to train. labelled_kinds: kinds that may be drawn, default all; other
    kinds stay unseen, in the test split only.
    Raises InputError for an invalid pattern or fraction, an unknown kind or more anomalies than may be drawn, DataError
    for missing folders, unreadable images and file names that the pattern does not match.
    """
    shares = {
        0: normal_shares(train_fraction, validation_fraction),
        1: anomaly_shares(validation_anomaly_fraction, validation_anomalies),
    }
    base = Path(root).expanduser()
    images: list[tuple[str, Path, int]] = []
    skipped = 0
    for label, names in enumerate((normal, anomalous)):
        for name in [names] if isinstance(names, str) else names:
            files, others = image_files(base / _relative(name))
            skipped += others
            images += [((Path(name) / file.name).as_posix(), file, label) for file in files]
    images.sort()
    ids = [id_ for id_, _, _ in images]
    refuse_equal_ids(ids)
    kinds = [file.parent.name if label else "normal" for _, file, label in images]
    groups = _groups(ids, group_pattern)
    keys = components(ids, groups, [content_hash(open_image(file)) for _, file, _ in images])
    check_kinds(labelled_kinds, set(kinds) - {"normal"})
    strata = [(label, kind) for (_, _, label), kind in zip(images, kinds, strict=True)]
    parts = _parts(keys, strata, shares, split_seed, labelled_kinds)
    placed = [
        Sample(id_, file, label, part, kind, group)
        for (id_, file, label), part, kind, group in zip(images, parts, kinds, groups, strict=True)
    ]
    samples, notes = draw(
        placed,
        labelled=labelled_anomalies,
        contamination=contamination,
        seed=labelled_seed,
        kinds=labelled_kinds,
        keys=dict(zip(ids, keys, strict=True)),
    )
    return Dataset(
        name=base.resolve().name,
        samples=tuple(samples),
        image_size=image_size,
        channels=channels,
        validation_anomalies=validation_anomalies,
        allow_duplicates=allow_duplicates,
        licence=licence,
        notes={"split_seed": split_seed, "files_skipped": skipped, **notes},
    )


def _relative(name: str) -> Path:
    """The folder's path below root; it becomes part of the ids, which must not depend on where the data are."""
    if Path(name).is_absolute():
        raise InputError(f"folder '{name}' is absolute; write it relative to root")
    return Path(name)


def _groups(ids: list[str], pattern: str | None) -> list[str | None]:
    if pattern is None:
        return [None] * len(ids)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"group_pattern '{pattern}' is not a regular expression: {error}") from error
    if compiled.groups < 1:
        raise InputError(f"group_pattern '{pattern}' has no group; put the part that names the group in parentheses")
    matches = [compiled.search(id_.rpartition("/")[2]) for id_ in ids]
    groups = [match.group(1) if match else None for match in matches]
    without = [id_ for id_, group in zip(ids, groups, strict=True) if group is None]
    if without:
        raise DataError(
            f"group_pattern '{pattern}' finds no group in {len(without)} of {len(ids)} file names, such as "
            f"{', '.join(without[:5])}; every file needs a group"
        )
    return groups


def _parts(
    keys: list[str],
    strata: list[tuple[int, str]],
    shares: Mapping[int, Mapping[Split, float]],
    seed: int,
    seen: list[str] | None,
) -> list[Split]:
    """A split for every key: anomalies first, so that samples grouped with one never train; then the other normals.

    Kinds that are not `seen` come before all others and are test, so that samples grouped with one are test as well.
    """
    unseen = {kind for label, kind in strata if label and seen is not None and kind not in seen}
    part_of: dict[str, Split] = {
        key: "test" for key, (label, kind) in zip(keys, strata, strict=True) if label and kind in unseen
    }
    for label, kind in sorted(set(strata), reverse=True):
        mine = [key for key, stratum in zip(keys, strata, strict=True) if stratum == (label, kind)]
        placed = Counter(part_of[key] for key in mine if key in part_of)
        free = [key for key in mine if key not in part_of]
        part_of |= zip(free, split(free, shares[label], seed, f"{label} {kind}", placed), strict=True)
    return [part_of[key] for key in keys]
