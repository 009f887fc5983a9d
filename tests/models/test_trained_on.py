"""What a card says about the images its detector was trained on, and what an audit makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from assay.contracts import Dataset, Images, Sample
from assay.errors import SpecError
from assay.metrics import detection
from assay.models import trained_on
from assay.store import figures
from assay.store.figures import Figure

IDS = [*(f"train/good/{n:03d}.png" for n in range(6)), *(f"test/good/{n:03d}.png" for n in range(4))]


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    splits = ["train", "train", "train", "validation", "validation", "validation", *["test"] * 4]
    samples = [Sample(id_, tmp_path / id_, 0, split, "normal") for id_, split in zip(IDS, splits, strict=True)]
    return Dataset("toy", tuple(samples), 16, 1, "labelled")


@pytest.fixture
def validation() -> Images:
    """Three normals of training, and an anomaly."""
    ids = (*IDS[3:6], "test/crack/000.png")
    pixels = np.zeros((4, 1, 16, 16), np.uint8)
    return Images(pixels, np.array([0, 0, 0, 1]), ids, ("normal",) * 3 + ("crack",), ids)


@pytest.mark.parametrize(
    ("stated", "seen"),
    [
        ("unknown", None),
        ("train", 0),
        ("train and validation", 3),
        (["train/good/*"], 3),
        (["train/good/00[0-3].png"], 1),
        (["train/good/000.png", "train/good/00[45].png"], 2),
    ],
)
def test_how_many_normals_of_the_threshold_were_seen(dataset, validation, stated, seen):
    assert trained_on.also_trained_on(stated, dataset, validation, "card.yaml") == seen


def test_test_images_that_were_trained_on_are_refused(dataset, validation):
    with pytest.raises(SpecError, match=r"4 of the 4 test images are among these, such as test/good/000\.png"):
        trained_on.also_trained_on(["*/good/*"], dataset, validation, "card.yaml")


def test_a_pattern_that_matches_nothing_is_a_fault(dataset, validation):
    with pytest.raises(SpecError, match=r"good/\*.*matches no image.*called like train/good/000\.png"):
        trained_on.also_trained_on(["good/*"], dataset, validation, "card.yaml")


def metrics(flagged: int):
    """METRICS of clean images: so many of 50 normals are flagged."""
    labels = np.repeat([0, 1], 50)
    scores = np.concatenate([np.arange(50) < flagged, np.ones(50)]).astype(float)
    found = detection.figures(labels, scores, threshold=0.5, replicates=10)
    return figures.table(
        [
            Figure("clean", "", 0.0, "", "all", name, *interval, confidence=0.95, normals=50, anomalies=50)
            for name, interval in found.items()
        ]
    )


def manifest(**threshold):
    return {"detector": "d.pt2", "threshold": {"value": 1.0, "false_alarm_rate": 0.05, "count": 22, **threshold}}


def test_where_validation_was_trained_on_the_miss_is_measured():
    [finding] = trained_on.findings(manifest(also_trained_on=22), metrics(25))
    assert finding.name == trained_on.IN_DOUBT
    assert (
        "the false-alarm rate 0.05 is not to be believed: 22 of the threshold's 22 validation normals" in finding.text
    )
    assert "of the 50 test normals it flags 0.500 [0.355, 0.645]" in finding.text


def test_where_nobody_knows_it_is_a_finding():
    [finding] = trained_on.findings(manifest(), metrics(4))
    assert finding.name == "trained_on_unknown"
    assert "the card does not say" in finding.text
    assert "it flags 0.080 [" in finding.text


def test_nothing_is_said_where_the_splits_were_kept_apart():
    assert list(trained_on.findings(manifest(also_trained_on=0), metrics(4))) == []
    trained_here = {"trainable": "cobra", **manifest()}
    del trained_here["detector"]
    assert list(trained_on.findings(trained_here, metrics(25))) == []
