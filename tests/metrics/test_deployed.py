"""A deployed file against the audited detector: how far apart their scores are, and which decisions differ."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from assay.metrics import deployed
from assay.metrics.deployed import Thresholds
from assay.store import figures as figure_table
from assay.store.schemas import DEPLOYED

TOLERANCE = 0.01
LABELS = np.array([0, 0, 0, 1, 1, 1])
CLEAN = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.9])
ATTACKED = np.array([0.3, 0.4, 0.5, 0.4, 0.5, 0.7])
SAME = Thresholds(0.45, 0.45)


def table(clean=CLEAN, attacked=ATTACKED, groups=None) -> pa.Table:
    """DEPLOYED of six samples, attacked at two epsilons; at the smaller one nothing moves."""
    rows = []
    for epsilon, before, after in ((1 / 255, CLEAN, clean), (2 / 255, ATTACKED, attacked)):
        for i, label in enumerate(LABELS):
            score = float(after[i])
            rows.append(
                {
                    "model": "m", "dataset": "d", "sample": f"s{i}", "sample_hash": f"{i}", "label": label,
                    "defect": "crack" if label else "normal", "attack": "pgd-linf", "norm": "linf", "epsilon": epsilon,
                    "direction": 1 - 2 * label, "audited_clean_score": CLEAN[i], "audited_score": before[i],
                    "clean_score": float(clean[i]), "adversarial_score": score, "rounded_score": score, "seed": 0,
                    "group": groups[i] if groups else f"s{i}",
                }
            )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=DEPLOYED)


def agreement(thresholds: Thresholds = SAME, **scores) -> deployed.Agreement:
    return deployed.agreement(
        {name: column.to_numpy(zero_copy_only=False) for name, column in _columns(**scores)}, thresholds, TOLERANCE
    )


def _columns(**scores):
    made = table(**scores)
    return zip(made.column_names, made.columns, strict=True)


def differ(**scores) -> dict[tuple[str, float], tuple[float, float, float]]:
    rows = figure_table.read(deployed.figures(table(**scores), SAME, replicates=10))
    return {
        (row.attack, round(255 * row.epsilon)): (row.value, row.lower, row.upper)
        for row in rows
        if row.metric == "decisions_differ"
    }


def test_equal_scores_agree():
    found = agreement()
    assert (found.clean, found.attacked, found.clean_decisions, found.attacked_decisions) == (0, 0, 0, 0)
    assert (found.clean_images, found.attacked_images, found.scale, found.saturated) == (6, 12, 1, 0)


def test_the_largest_difference_is_in_deviations_of_the_clean_scores():
    clean = CLEAN + np.array([0, 0.04, 0, -0.02, 0, 0])
    found = agreement(clean=clean)
    assert found.clean == pytest.approx(0.04 / CLEAN.std())
    assert found.attacked == pytest.approx(0.04 / CLEAN.std())  # at the smaller epsilon the images are the clean ones
    assert agreement(attacked=ATTACKED - 0.03).attacked == pytest.approx(0.03 / CLEAN.std())
    assert agreement(attacked=ATTACKED - 0.03).clean == 0


def test_decisions_count_as_clear_only_away_from_the_threshold():
    thresholds = Thresholds(0.5, 0.5)  # two attacked scores lie on it: not flagged
    hair = agreement(thresholds, attacked=ATTACKED + 1e-6)
    assert (hair.attacked_decisions, hair.clear) == (2, 0)
    moved = agreement(thresholds, attacked=ATTACKED + 0.15)
    assert (moved.attacked_decisions, moved.clear) == (4, 2)


def test_a_scale_of_its_own_is_fitted_around_the_two_thresholds():
    clean, attacked = ((score - 0.45) / 4 + 0.5 for score in (CLEAN, ATTACKED))
    own = Thresholds(0.45, 0.5, own_scale=True)
    found = agreement(own, clean=clean, attacked=attacked)
    assert found.scale == pytest.approx(4)
    assert found.clean + found.attacked == pytest.approx(0, abs=1e-9)
    assert (found.clean_decisions, found.attacked_decisions) == (0, 0)
    assert agreement(Thresholds(0.45, 0.52, own_scale=True), clean=clean, attacked=attacked).clean > TOLERANCE


def test_clipped_scores_are_compared_by_their_decisions_alone():
    own, width = Thresholds(0.45, 0.5, own_scale=True), 0.4
    clean, attacked = (np.clip((score - 0.45) / width + 0.5, 0, 1) for score in (CLEAN, ATTACKED))
    found = agreement(own, clean=clean, attacked=attacked)
    assert found.scale == pytest.approx(width)
    assert found.saturated == 9  # four clean ones, the same at the smaller epsilon, one more
    assert max(found.clean, found.attacked) < TOLERANCE


def test_figures_are_those_of_the_file_under_names_of_their_own():
    rows = figure_table.read(deployed.figures(table(clean=1 - CLEAN, attacked=1 - ATTACKED), SAME, replicates=10))
    assert all(row.attack.startswith("deployed:") for row in rows)
    aurocs = {(row.attack, row.regime, round(255 * row.epsilon)): row.value for row in rows if row.metric == "auroc"}
    assert aurocs["deployed:clean", "", 0] == 0
    assert aurocs["deployed:pgd-linf", "both", 2] == pytest.approx(2 / 9)
    assert {row.attack for row in rows} == {f"deployed:{name}" for name in ("clean", "pgd-linf", "worst", "worst_8bit")}


def test_decisions_that_differ_are_a_share_of_the_samples_with_an_interval():
    assert differ()["deployed:clean", 0][0] == 0
    assert differ()["deployed:worst", 2][2] > 0.4  # 0 of 6 shows little
    found = differ(clean=CLEAN + np.array([0, 0, 0.2, 0, 0, 0]), attacked=ATTACKED + np.array([0.1, 0, 0, 0.1, 0, 0]))
    assert found["deployed:clean", 0][0] == pytest.approx(1 / 6)
    assert found["deployed:worst", 1][0] == pytest.approx(1 / 6)
    assert found["deployed:worst", 2][0] == pytest.approx(2 / 6)  # the clean image counts, too


def test_images_of_one_part_count_as_one():
    alone, together = differ()["deployed:clean", 0], differ(groups=list("aabbcc"))["deployed:clean", 0]
    assert together[2] > alone[2]
