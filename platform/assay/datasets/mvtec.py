"""The MVTec AD folder layout: train/good, test/<kind>, ground_truth/<kind>/<image>_mask.png.

Source: Bergmann et al., MVTec AD: a comprehensive real-world dataset for unsupervised anomaly detection, CVPR 2019.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from assay.contracts import Dataset, Sample, Split
from assay.data.grouped_split import anomaly_shares, components, refuse_equal_ids, split
from assay.data.images import decode_mask, file_hash, image_files
from assay.datasets._labelled import Contamination, Labelled, check_kinds, draw
from assay.errors import DataError, InputError
from assay.units import Fraction, ImageSize


def mvtec(
    *,
    root: str,
    category: str | None = None,
    image_size: ImageSize = 128,
    channels: Literal[1, 3] = 3,
    split_seed: Annotated[int, Ge(0)] = 0,
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
    """Images in the MVTec AD layout below `root` (or `root/category`), keeping the published split where possible.

    validation_fraction: share of train/good used for validation, drawn by seed; all of test/good stays test.
    validation_anomaly_fraction: share of every kind in test/ used for validation if these are "labelled", at least one
    image of any kind with three or more. With "pseudo", the test split stays whole.
    Files with identical bytes stay in one split. Files that are not images are skipped; these, missing masks and empty
    masks are counted in the notes.
    labelled_anomalies: number of test anomalies moved to training. contamination: share of the train images that are
    anomalies labelled as normal. labelled_seed draws both from the test split, at most half of the labelled_kinds.
    labelled_kinds: kinds that may be drawn, default all; other kinds stay unseen, in the test split only.
    Raises DataError if the layout is missing, InputError for an unknown kind or more anomalies than may be drawn.
    """
    if validation_fraction >= 1:
        raise InputError(f"validation_fraction {validation_fraction:g} leaves nothing to train on; it must be below 1")
    base = Path(root).expanduser() / (category or "")
    kinds = _kinds(base)
    check_kinds(labelled_kinds, set(kinds) - {"good"})
    skipped = 0
    samples: list[Sample] = []
    key_of: dict[str, str] = {}
    for folder in [base / "train" / "good", *(base / "test" / kind for kind in kinds)]:
        files, others = image_files(folder)
        skipped += others
        ids = [file.relative_to(base).as_posix() for file in files]
        unseen = labelled_kinds is not None and folder.name not in labelled_kinds
        anomalies = 0.0 if unseen else validation_anomaly_fraction
        shares = _shares(folder, len(files), validation_fraction, anomalies, validation_anomalies)
        keys = components(ids, [file_hash(file) for file in files])
        key_of |= zip(ids, keys, strict=True)
        parts = split(keys, shares, split_seed, folder.relative_to(base).as_posix())
        label, kind = (0, "normal") if folder.name == "good" else (1, folder.name)
        for id_, file, part in zip(ids, files, parts, strict=True):
            mask = base / "ground_truth" / folder.name / f"{file.stem}_mask.png"
            samples.append(Sample(id_, file, label, part, kind, mask=mask if mask.is_file() else None))
    refuse_equal_ids([sample.id for sample in samples])
    samples, notes = draw(
        samples,
        labelled=labelled_anomalies,
        contamination=contamination,
        seed=labelled_seed,
        kinds=labelled_kinds,
        keys=key_of,
    )
    masks = [sample.mask for sample in samples if sample.mask is not None]
    return Dataset(
        name=category or base.resolve().name,
        samples=tuple(sorted(samples, key=lambda sample: sample.id)),
        image_size=image_size,
        channels=channels,
        validation_anomalies=validation_anomalies,
        allow_duplicates=allow_duplicates,
        licence=licence,
        notes={
            "split_seed": split_seed,
            "files_skipped": skipped,
            "anomalies_without_mask": sum(sample.label for sample in samples) - len(masks),
            "empty_masks": sum(not decode_mask(mask, size=1).any() for mask in masks),
            **notes,
        },
    )


def _kinds(base: Path) -> list[str]:
    for needed in ("train/good", "test"):
        if not (base / needed).is_dir():
            raise DataError(f"{base}: no folder {needed}; root (with category) must hold train/good and test/<kind>")
    return sorted(path.name for path in (base / "test").iterdir() if path.is_dir() and not path.name.startswith("."))


def _shares(folder: Path, count: int, normals: float, anomalies: float, source: str) -> dict[Split, float]:
    """Shares of the images of one folder."""
    if folder.parent.name == "train":
        return {"train": 1 - normals, "validation": normals}
    if folder.name == "good":
        return {"test": 1.0}
    if anomalies > 0 and count >= 3:
        anomalies = max(anomalies, 1 / count)
    return anomaly_shares(anomalies, source)
