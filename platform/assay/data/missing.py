"""What a dataset lacks for a sweep and an audit, and the key of it that helps."""

from __future__ import annotations

from collections import Counter

from assay.contracts import Dataset

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
    for label, word in enumerate(("normals", "anomalies")):
        if 0 < (count := counts["test", label]) < FEW:
            said.append(f"{count} test {word} only: every interval is wide; a smaller share for validation leaves more")
    return said
