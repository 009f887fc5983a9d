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


def test_splits_that_test_the_same_images_are_as_uncertain_as_one():
    one, ids = delong.auroc(LABELS, drawn(8)), [str(n) for n in range(len(LABELS))]
    assert delong.pooled([one, one, one], [ids, ids, ids]) == pytest.approx((one.value, *delong.interval(one)))


def test_splits_that_test_other_images_are_less_uncertain():
    figures = [delong.auroc(LABELS, drawn(seed)) for seed in (9, 10)]
    ids = [[f"{split}-{n}" for n in range(len(LABELS))] for split in (0, 1)]
    value, low, high = delong.pooled(figures, ids)
    widths = [np.subtract(*delong.interval(one)[::-1]) for one in figures]
    assert value == pytest.approx(np.mean([one.value for one in figures]))
    assert high - low == pytest.approx(np.hypot(*widths) / 2, rel=0.01)


def test_splits_that_share_some_images_lie_between_and_are_as_wide_as_a_bootstrap_of_images():
    scores, rng = drawn(11, 0.8), np.random.default_rng(12)
    chosen = [rng.random(len(LABELS)) < 0.6 for _ in range(4)]
    ids = np.array([str(n) for n in range(len(LABELS))])
    figures = [delong.auroc(LABELS[part], scores[part]) for part in chosen]
    _, low, high = delong.pooled(figures, [list(ids[part]) for part in chosen])
    values = []
    for _ in range(1000):
        at = rng.choice(len(LABELS), len(LABELS))
        drawn_of = [at[part[at]] for part in chosen]  # of each split, the drawn images that it tests
        values.append(np.mean([detection.auroc(LABELS[of], scores[of]) for of in drawn_of]))
    assert high - low == pytest.approx(2 * 1.96 * np.std(values), rel=0.15)
