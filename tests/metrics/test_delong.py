"""Closed intervals of an AUROC and of differences, against the bootstrap and against hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest

from assay import delong
from assay.metrics import detection

LABELS = np.repeat([0, 1], [150, 120])


def drawn(seed: int, shift: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(LABELS)) + shift * LABELS


def test_the_value_is_the_auroc_with_ties_as_one_half():
    scores = np.round(drawn(0) * 3)
    assert delong.auroc(LABELS, scores).value == pytest.approx(detection.auroc(LABELS, scores))


def test_the_variance_is_that_of_delong():
    scores = drawn(1)
    normals, anomalies = scores[LABELS == 0], scores[LABELS == 1]
    wins = (anomalies[:, None] > normals[None, :]).astype(float)
    expected = wins.mean(1).var(ddof=1) / len(anomalies) + wins.mean(0).var(ddof=1) / len(normals)
    low, high = delong.interval(delong.auroc(LABELS, scores))
    assert (high - low) / 2 == pytest.approx(1.968855 * expected**0.5, rel=1e-5)


def test_a_difference_has_the_width_of_the_paired_bootstrap():
    shared = drawn(2)
    one, other = shared + 0.3 * drawn(3, 0), shared + 0.3 * drawn(4, 0)
    difference = delong.auroc(LABELS, one) - delong.auroc(LABELS, other)
    rng, normals, anomalies = np.random.default_rng(5), np.flatnonzero(LABELS == 0), np.flatnonzero(LABELS == 1)
    values = []
    for _ in range(1000):
        at = np.concatenate([rng.choice(normals, len(normals)), rng.choice(anomalies, len(anomalies))])
        values.append(detection.auroc(LABELS[at], one[at]) - detection.auroc(LABELS[at], other[at]))
    low, high = delong.interval(difference)
    assert high - low == pytest.approx(2 * 1.96 * np.std(values), rel=0.15)
    alone = np.subtract(*delong.interval(delong.auroc(LABELS, one))[::-1])
    assert high - low < alone


def test_copies_of_a_sample_in_one_group_add_nothing():
    scores = drawn(6)
    once = delong.interval(delong.auroc(LABELS, scores))
    groups = [str(n // 3) for n in range(3 * len(LABELS))]
    labels, thrice = np.repeat(LABELS, 3), np.repeat(scores, 3)
    assert delong.interval(delong.auroc(labels, thrice, groups), groups) == pytest.approx(once, rel=1e-9)
    blind = delong.interval(delong.auroc(labels, thrice))
    assert blind[1] - blind[0] < 0.6 * (once[1] - once[0])


def test_the_mean_of_two_figures_of_the_same_scores_is_as_uncertain_as_one():
    one = delong.auroc(LABELS, drawn(7))
    assert delong.interval(delong.mean([one, one])) == pytest.approx(delong.interval(one))
