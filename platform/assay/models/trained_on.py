"""Which images a detector from outside was trained on, and what that does to the threshold set on validation normals.

A detector scores images lower that it was trained on, so a threshold set on such normals flags more of the others than
was asked for. An audit says so, and measures the false-alarm rate on test normals beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import pyarrow as pa
from annotated_types import MinLen

from assay.contracts import Dataset, Images
from assay.errors import Fault, SpecError
from assay.models.preflight import Finding
from assay.store import figures as figure_table
from assay.store.figures import Figure
from assay.store.score_matrix import ALL, CLEAN

TrainedOn = Literal["train", "train and validation", "unknown"] | Annotated[list[str], MinLen(1)]
"""Splits of the dataset as Assay makes them, or patterns of sample ids such as `train/good/*`."""
IN_DOUBT = "threshold_trained_on"
"""The finding that a threshold was set on images that may have been trained on."""


def also_trained_on(stated: TrainedOn, dataset: Dataset, validation: Images, where: str) -> int | None:
    """How many normals of the validation split may have been trained on; None where nobody knows.

    where: the card's name in errors. Raises SpecError for a pattern that matches no image, or one of the test split: an
    audit on images that were trained on says nothing.
    """
    if stated == "unknown":
        return None
    normals = [id_ for id_, label in zip(validation.ids, validation.labels, strict=True) if label == 0]
    if isinstance(stated, str):
        return len(normals) if stated == "train and validation" else 0
    known = [sample.id for sample in dataset.samples]
    test = [sample.id for sample in dataset.samples if sample.split == "test"]
    faults = [
        Fault("trained_on", pattern, f"matches no image of the dataset, whose images are called like {known[0]}")
        for pattern in stated
        if not any(fnmatchcase(id_, pattern) for id_ in known)
    ]
    if tested := [id_ for id_ in test if _matches(id_, stated)]:
        allowed = (
            f"{len(tested)} of the {len(test)} test images are among these, such as {tested[0]}: an audit on images "
            "that were trained on says nothing; choose fractions or a split_seed of the dataset that keep them out"
        )
        faults.append(Fault("trained_on", ", ".join(stated), allowed))
    if faults:
        raise SpecError(where, faults)
    return sum(_matches(id_, stated) for id_ in normals)


def _matches(id_: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(id_, pattern) for pattern in patterns)


def findings(manifest: Mapping[str, Any], metrics: pa.Table) -> Iterator[Finding]:
    """What a reader must know about the threshold of a model, with the false-alarm rate on test normals of METRICS.

    Nothing of a model that Assay trained: it keeps the splits apart.
    """
    threshold = manifest["threshold"]
    seen = threshold.get("also_trained_on")
    if seen == 0 or (seen is None and "detector" not in manifest):
        return
    count, rate = threshold["count"], threshold["false_alarm_rate"]
    measured = "; ".join(_measured(figure) for figure in figure_table.read(metrics) if _is_clean_rate(figure))
    if seen is None:
        text = (
            "the card does not say which images the detector was trained on (`trained_on`): if the threshold's "
            f"{count} validation normals were among them, its false-alarm rate {rate:.3g} is not to be believed"
        )
        yield Finding("trained_on_unknown", f"{text}; {measured}")
    else:
        text = (
            f"the false-alarm rate {rate:.3g} is not to be believed: {seen} of the threshold's {count} validation "
            "normals may have been trained on"
        )
        yield Finding(IN_DOUBT, f"{text}; {measured}")


def _is_clean_rate(figure: Figure) -> bool:
    return (figure.attack, figure.metric, figure.defect) == (CLEAN, "false_alarm_rate", ALL)


def _measured(figure: Figure) -> str:
    interval = f"{figure.value:.3f} [{figure.lower:.3f}, {figure.upper:.3f}]"
    return f"of the {figure.normals} test normals it flags {interval}"
