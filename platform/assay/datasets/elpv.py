"""ELPV: electroluminescence images of solar cells, functional or defective (the default data of this project).

2,624 cells of 300 x 300 grey pixels from 44 modules, each with a defect probability of 0, 1/3, 2/3 or 1.
Sources: Buerhop-Lutz et al., A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence
Imagery, EU PVSEC 2018; Deitsch et al., Automatic classification of defective photovoltaic module cells in
electroluminescence images, Solar Energy 185, 2019; Deitsch et al., Segmentation of photovoltaic module cells in
uncalibrated electroluminescence images, Machine Vision and Applications 32, 2021.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from assay.contracts import Dataset, Sample
from assay.data.grouped_split import anomaly_shares, normal_shares, split
from assay.datasets._labelled import Contamination, Labelled, draw
from assay.errors import DataError
from assay.units import Fraction, ImageSize

LICENCE = (
    "CC BY-NC-SA 4.0 (Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International): non-commercial use only"
)
LABELS = {0.0: 0, 1.0: 1}
"""Defect probability -> label. The uncertain ones, 1/3 and 2/3, get no label."""


def elpv(
    *,
    cells: Literal["mono", "poly", "all"] = "mono",
    image_size: ImageSize = 64,
    channels: Literal[1, 3] = 1,
    split_seed: Annotated[int, Ge(0)] = 0,
    train_fraction: Fraction = 0.6,
    validation_fraction: Fraction = 0.2,
    validation_anomaly_fraction: Fraction = 1 / 3,
    validation_anomalies: Literal["labelled", "pseudo"] = "labelled",
    labelled_anomalies: Labelled = 0,
    labelled_seed: Annotated[int, Ge(0)] = 0,
    contamination: Contamination = 0,
    allow_duplicates: bool = False,
) -> Dataset:
    """Cells of defect probability 0 as normals, of probability 1 as anomalies; uncertain ones are dropped and counted.

    train_fraction, validation_fraction: shares of the normals; the rest are test.
    validation_anomaly_fraction: share of the anomalies used for validation if these are "labelled"; the rest are test.
    With "pseudo", every anomaly is test. The split is drawn by seed and stratified by cell type, so the mono cells are
    split in the same way when `cells` is "all". The data do not identify modules, so cells of one module may be in two
    splits. labelled_anomalies: number of test anomalies moved to training. contamination: share of the train images
    that are anomalies labelled as normal. labelled_seed draws both from the test split, at most half of its anomalies.
    Raises DataError if the package `elpv-dataset` is not installed, InputError for more anomalies than may be drawn.
    """
    folder = _folder()
    shares = {
        0: normal_shares(train_fraction, validation_fraction),
        1: anomaly_shares(validation_anomaly_fraction, validation_anomalies),
    }
    strata: dict[tuple[str, int], list[str]] = {}
    uncertain = 0
    for name, probability, kind in _rows(folder / "labels.csv"):
        if cells not in (kind, "all"):
            continue
        if probability in LABELS:
            strata.setdefault((kind, LABELS[probability]), []).append(name)
        else:
            uncertain += 1
    samples = [
        Sample(Path(name).stem, folder / name, label, part, "defective" if label else "normal")
        for (kind, label), files in strata.items()
        for name, part in zip(files, split(files, shares[label], split_seed, f"{kind} {label}"), strict=True)
    ]
    samples, notes = draw(samples, labelled=labelled_anomalies, contamination=contamination, seed=labelled_seed)
    return Dataset(
        name=f"elpv-{cells}",
        samples=tuple(sorted(samples, key=lambda sample: sample.id)),
        image_size=image_size,
        channels=channels,
        validation_anomalies=validation_anomalies,
        allow_duplicates=allow_duplicates,
        licence=LICENCE,
        notes={"split_seed": split_seed, "uncertain_dropped": uncertain, **notes},
    )


def _folder() -> Path:
    """The package's data folder. The package itself is not imported: its loader would decode every image."""
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the dataset elpv needs the package elpv-dataset; run: pip install 'assay[demo]'")
    return Path(spec.submodule_search_locations[0]) / "data"


def _rows(file: Path) -> list[tuple[str, float, str]]:
    """(image, defect probability, cell type) of every line of labels.csv, which is separated by spaces."""
    try:
        lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        return [(name, float(probability), kind) for name, probability, kind in lines]
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file}: cannot be read as lines of image, probability and type ({error}); "
            "run: pip install --force-reinstall elpv-dataset"
        ) from error
