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
from typing import Literal

from assay.datasets._reader import drawn
from assay.datasets._rows import Row, Table
from assay.errors import DataError

LICENCE = (
    "CC BY-NC-SA 4.0 (Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International): non-commercial use only"
)
LABELS = {0.0: 0, 1.0: 1}
"""Defect probability -> label. The uncertain ones, 1/3 and 2/3, get no label."""


@drawn(image_size=64, channels=1)
def elpv(*, cells: Literal["mono", "poly", "all"] = "mono") -> Table:
    """Cells of defect probability 0 as normals, of probability 1 as anomalies; uncertain ones are dropped and counted.

    The split is drawn by seed and stratified by cell type, so the mono cells are split in the same way when `cells` is
    "all". The data do not identify modules, so cells of one module may be in two splits.
    Raises DataError if the package `elpv-dataset` is not installed, InputError for more anomalies than may be drawn.
    """
    folder = _folder()
    chosen = [row for row in _rows(folder / "labels.csv") if cells in (row[2], "all")]
    rows = []
    for name, probability, kind in chosen:
        if (label := LABELS.get(probability)) is not None:
            row = Row(Path(name).stem, folder / name, label, "defective", stratum=f"{kind} {label}")
            rows.append(row)
    dropped = len(chosen) - len(rows)
    return Table(f"elpv-{cells}", rows, LICENCE, notes={"uncertain_dropped": dropped}, distinct=True)


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
