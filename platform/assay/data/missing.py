"""What a dataset lacks for a sweep and an audit, and the key of it that helps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from assay.contracts import Dataset
from assay.data.masks import named

FEW = 20
"""Test images of a class below which every interval is wide."""


def missing(dataset: Dataset) -> list[str]:
    """Sentences, the gravest first; none for a dataset that has everything."""
    counts = Counter((sample.split, sample.label) for sample in dataset.samples)
    kinds = sorted({sample.defect for sample in dataset.samples if sample.label})
    said = []
    if not counts["train", 0]:
        said.append(
            "no normals to train on: a smaller `validation_fraction` or `test_fraction`, or a larger `train_fraction`, "
            "leaves some; so do smaller groups (`group_pattern`)"
        )
    if not kinds:
        said.append("no anomalies at all: nothing can be measured; name their folder, or collect some")
    if not counts["test", 0]:
        said.append(
            "no test normals: `test_fraction: 0.2` takes a share of the published train normals; where there is no "
            "published split, a smaller `train_fraction` or `validation_fraction` leaves some"
        )
    if kinds and not counts["test", 1]:
        said.append("no test anomalies: a smaller `validation_anomaly_fraction` leaves some")
    if not counts["validation", 0]:
        said.append("no validation normals: `validation_fraction: 0.2` sets some aside")
    if dataset.validation_anomalies == "labelled" and not counts["validation", 1]:
        said.append(
            "no validation anomalies: `validation_anomalies: pseudo` makes some from normals, or a larger "
            "`validation_anomaly_fraction` sets real ones aside"
        )
    if len(kinds) == 1:
        said.append(
            f"one kind of anomalies only ({kinds[0]}): the figure of the worst kind is that of all, and "
            "`labelled_kinds` can leave none unseen; sort them into a folder for each kind, if there are several"
        )
    test = [sample for sample in dataset.samples if sample.split == "test"]
    if torn := without_figures([sample.category for sample in test], [sample.label for sample in test]):
        said.append(f"{torn}; `test_fraction: 0.2` takes a share of published train normals, if it is these that lack")
    for label, word in enumerate(("normals", "anomalies")):
        if 0 < (count := counts["test", label]) < FEW:
            said.append(f"{count} test {word} only: every interval is wide; a smaller share for validation leaves more")
    return said


def without_figures(categories: Sequence[str | None], labels: Sequence[int]) -> str:
    """Why test images of several categories give no figures by category: which lacks a class; or nothing.

    labels: 0 normal, 1 anomalous.
    """
    there = set(zip(categories, labels, strict=True))
    names = sorted({name for name in categories if name is not None})
    lacking = [
        f"{name} has no {word}"
        for name in names
        for label, word in enumerate(("normals", "anomalies"))
        if (name, label) not in there
    ]
    if len(names) < 2 or not lacking:
        return ""
    return (
        "no figures by category, none of the worst one, and kinds are set against the normals of all categories: among "
        f"the test images, {named(lacking)}"
    )
