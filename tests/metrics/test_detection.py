"""Metrics and their intervals, the bootstrap behind them, the per-sample worst case and the metrics table."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from assay.errors import DataError
from assay.metrics import bootstrap, detection, worst_case
from assay.metrics.intervals import clopper_pearson, newcombe, wilson
from assay.store import parquet, score_matrix
from assay.store.schemas import METRICS, SCORES, WORST_CASE


@st.composite
def two_classes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels with both classes and scores on few levels, so that many tie."""
    size = draw(st.integers(2, 40))
    labels = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size).filter(lambda y: 0 < sum(y) < len(y)))
    scores = draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size))
    return np.array(labels), np.array(scores, dtype=float) / 3


def sklearn_fpr95(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    fpr, tpr, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    return float(fpr[np.flatnonzero(tpr >= 0.95 - 1e-12)[0]])


@given(two_classes())
@settings(max_examples=200)
def test_metrics_agree_with_sklearn_ties_included(case: tuple[np.ndarray, np.ndarray]):
    labels, scores = case
    assert detection.auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    assert detection.average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores))
    assert detection.fpr95(labels, scores) == pytest.approx(sklearn_fpr95(labels, scores))


@given(two_classes(), st.integers(0, 2**32 - 1))
@settings(max_examples=100)
def test_weighted_metrics_agree_with_sklearn_weights(case: tuple[np.ndarray, np.ndarray], seed: int):
    labels, scores = case
    normals, anomalies = scores[labels == 0], scores[labels == 1]
    block = next(bootstrap.blocks(3, len(labels), seed))
    drawn = block.drawn(0, len(normals)), block.drawn(1, len(anomalies))
    found = bootstrap.ranking(normals, anomalies, drawn)
    for replicate in range(3):
        weights = np.empty(len(labels))
        weights[labels == 0], weights[labels == 1] = drawn[0][replicate], drawn[1][replicate]
        expected = {
            "auroc": roc_auc_score(labels, scores, sample_weight=weights),
            "average_precision": average_precision_score(labels, scores, sample_weight=weights),
            "fpr95": sklearn_fpr95(labels, scores, weights),
        }
        assert {name: value[replicate] for name, value in found.items()} == pytest.approx(expected)


def test_the_bootstrap_is_the_plain_loop_in_distribution():
    rng = np.random.default_rng(1)
    normals, anomalies = np.round(rng.normal(size=40), 1), np.round(rng.normal(1, 1, size=30), 1)
    labels = np.r_[np.zeros(40), np.ones(30)]
    looped = [roc_auc_score(labels, np.r_[rng.choice(normals, 40), rng.choice(anomalies, 30)]) for _ in range(2000)]
    [fast] = bootstrap.distributions(lambda: [(normals, anomalies, None)], 70, replicates=2000, seed=0)
    assert bootstrap.percentiles(fast["auroc"], 0.95) == pytest.approx(
        tuple(np.quantile(looped, [0.025, 0.975])), abs=0.012
    )


def test_resamples_keep_the_size_of_each_class_and_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch):
    [whole] = bootstrap.blocks(10, 12, 0)
    monkeypatch.setattr(bootstrap, "HELD", 36)
    monkeypatch.setattr(bootstrap, "DRAWN", 7)
    parts = list(bootstrap.blocks(10, 12, 0))
    assert [part.rows for part in parts] == [3, 3, 3, 1]
    for label, size in ((0, 7), (1, 5), (1, 7)):
        assert (whole.drawn(label, size).sum(axis=1) == size).all()
        assert (np.concatenate([part.drawn(label, size) for part in parts]) == whole.drawn(label, size)).all()
    assert (whole.drawn(0, 7) != whole.drawn(1, 7)).any()
    monkeypatch.setattr(bootstrap, "CACHED", 1)
    normals, anomalies = np.arange(7) % 3 / 1.0, np.arange(5) % 4 / 1.0
    drawn = whole.drawn(0, 7), whole.drawn(1, 5)
    by_row = bootstrap.ranking(normals, anomalies, drawn)
    monkeypatch.undo()
    assert all((by_row[name] == found).all() for name, found in bootstrap.ranking(normals, anomalies, drawn).items())


def test_same_seed_same_interval_other_seed_other_interval():
    rng = np.random.default_rng(0)
    labels, scores = np.arange(80) % 2, rng.normal(size=80) + np.arange(80) % 2
    first = detection.figures(labels, scores, threshold=0.5)
    assert first == detection.figures(labels, scores, threshold=0.5)
    classes = [(scores[labels == 0], scores[labels == 1], None)]
    drawn = [bootstrap.distributions(lambda: classes, 80, replicates=50, seed=seed)[0]["auroc"] for seed in (0, 1)]
    assert not np.array_equal(*drawn)
    wide = detection.figures(labels, scores, threshold=0.5, confidence=0.99)
    assert all(wide[m].lower <= first[m].lower and wide[m].upper >= first[m].upper for m in first)


def test_no_interval_collapses_however_perfect_the_figures():
    labels = np.repeat([0, 1], 40)
    for scores in (labels * 2.0 - 1, 1 - labels * 2.0):
        found = detection.figures(labels, scores, threshold=0.0)
        assert {interval.value for interval in found.values()} <= {0.0, 0.5, 1.0}
        assert all(interval.upper - interval.lower > 0.03 for interval in found.values())
        assert all(interval.lower <= interval.value <= interval.upper for interval in found.values())


def test_closed_forms_against_published_values():
    assert clopper_pearson(0, 10, 0.95) == pytest.approx((0, 0.3085), abs=1e-4)
    assert clopper_pearson(81, 263, 0.95) == pytest.approx((0.2527, 0.3676), abs=1e-4)  # Newcombe 1998, table I
    assert wilson(81 / 263, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # the same
    assert clopper_pearson(10, 10, 0.95)[1] == 1
    assert wilson(1.0, 40, 0.95) == pytest.approx((40 / (40 + 1.959964**2), 1))


@pytest.mark.parametrize("value", [0.0, 0.2, 0.5, 0.9, 0.9999, 1.0])
def test_newcombe_bounds_solve_their_own_equation(value: float):
    normals, anomalies = 30, 50
    for bound in newcombe(value, normals, anomalies, 0.95):
        q1, q2 = bound / (2 - bound), 2 * bound**2 / (1 + bound)  # Hanley & McNeil 1982, equation 2
        spare = (normals + anomalies) / 2 - 1
        variance = (bound * (1 - bound) + spare * (q1 - bound**2) + spare * (q2 - bound**2)) / (normals * anomalies)
        on_the_edge = abs(value - bound) == pytest.approx(1.959964 * max(variance, 0) ** 0.5, abs=1e-6)
        assert on_the_edge
    lower, upper = newcombe(value, normals, anomalies, 0.95)
    assert lower <= value <= upper
    assert upper - lower > 0.03


def test_a_better_auroc_never_has_a_worse_bound():
    bounds = [newcombe(value, 40, 40, 0.95) for value in np.linspace(0, 1, 201)]
    assert (np.diff(bounds, axis=0) >= 0).all()


def test_a_score_on_the_threshold_is_not_flagged():
    assert detection.flagged([0.4, 0.5, 0.6], 0.5).tolist() == [False, False, True]
    assert detection.miss_rate([0, 1, 1], [0, 0.5, 0.6], 0.5) == 0.5
    assert detection.false_alarm_rate([0, 0, 1], [0.5, 0.6, 1], 0.5) == 0.5


@pytest.mark.parametrize(
    ("labels", "scores", "threshold", "message"),
    [
        ([0, 0], [1, 2], 0.0, "only normals"),
        ([1, 1], [1, 2], 0.0, "only anomalies"),
        ([], [], 0.0, "no samples"),
        ([0, 1], [1, np.nan], 0.0, "1 of 2 scores are NaN"),
        ([0, 2], [1, 2], 0.0, "labels must be"),
        ([0.5, 1], [1, 2], 0.0, "labels must be"),
        ([0, 1, 1], [1, 2], 0.0, "same length"),
        ([0, 1], [1, 2], np.nan, "threshold is nan"),
    ],
)
def test_figures_of_unusable_data_are_refused(labels: Any, scores: Any, threshold: float, message: str):
    with pytest.raises(DataError, match=message):
        detection.figures(labels, scores, threshold=threshold)


CLEAN = {"n0": 0.1, "n1": 0.4, "a0": 0.3, "a1": 0.9}


def row(sample: str, attack: str, epsilon: float, score: float, norm: str = "linf", **more: Any) -> dict[str, Any]:
    """One row of SCORES for a sample of CLEAN."""
    label = int(sample.startswith("a"))
    base: dict[str, Any] = dict.fromkeys(SCORES.names, 0)
    base |= dict.fromkeys(["model", "dataset", "sample_hash", "parameters"], "h")
    base |= {
        "sample": sample,
        "group": sample,
        "category": None,
        "label": label,
        "defect": f"kind {sample[1]}" if label else "normal",
    }
    base |= {"attack": attack, "norm": norm, "epsilon": epsilon, "direction": -1 if label else 1}
    base |= {"regime": "evasion" if label else "false_alarm", "linf": 0.5, "forwards": 9}
    scores = dict.fromkeys(["adversarial_score", "rounded_score", "selection_score"], score)
    return base | {"clean_score": CLEAN[sample]} | scores | more


def scores_of(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCORES)


SUITE = scores_of(
    *(row(s, "pgd", 0.1, v) for s, v in {"n0": 0.2, "n1": 0.6, "a0": 0.2, "a1": 0.5}.items()),
    *(row(s, "pgd", 0.2, v) for s, v in {"n0": 0.15, "n1": 0.8, "a0": 0.1, "a1": 0.35}.items()),
    *(row(s, "noise", 0.2, v) for s, v in {"n0": 0.05, "n1": 0.3, "a0": 0.4, "a1": 0.3}.items()),
    row("a1", "noise", 0.2, 0.95, "l2"),
)


def test_the_worst_case_takes_each_sample_over_attacks_and_smaller_epsilons():
    found = {
        (r["norm"], r["epsilon"], r["sample"]): (r["attack"], r["score"])
        for r in worst_case.table(score_matrix.read(SUITE)).to_pylist()
    }
    assert found == {
        ("linf", 0.1, "n0"): ("pgd", 0.2),
        ("linf", 0.1, "n1"): ("pgd", 0.6),
        ("linf", 0.1, "a0"): ("pgd", 0.2),
        ("linf", 0.1, "a1"): ("pgd", 0.5),
        ("linf", 0.2, "n0"): ("pgd", 0.2),  # found at 0.1: the larger budget did worse
        ("linf", 0.2, "n1"): ("pgd", 0.8),
        ("linf", 0.2, "a0"): ("pgd", 0.1),
        ("linf", 0.2, "a1"): ("noise", 0.3),  # the noise control won
        ("l2", 0.2, "a1"): ("clean", 0.9),  # the only attack made things worse for the attacker
    }


def test_a_worst_case_says_where_it_was_found_and_an_unmoved_one_stands_where_it_stood():
    rows = {(r["norm"], r["epsilon"], r["sample"]): r for r in worst_case.table(score_matrix.read(SUITE)).to_pylist()}
    assert (rows["linf", 0.2, "n0"]["attack_epsilon"], rows["linf", 0.2, "n1"]["attack_epsilon"]) == (0.1, 0.2)
    unmoved = rows["l2", 0.2, "a1"]
    assert [unmoved[k] for k in ("attack_epsilon", "score", "rounded_score", "defect")] == [0, 0.9, 0.9, "kind 1"]


def test_the_worst_case_after_rounding_is_that_of_the_rounded_scores():
    rounded = {("pgd", "a1"): 0.4, ("noise", "a1"): 0.2, ("pgd", "n1"): 0.3, ("noise", "n1"): 0.35}
    rows = [row(s, attack, 0.1, {"a": 0.1, "n": 0.8}[s[0]], rounded_score=v) for (attack, s), v in rounded.items()]
    found = {r["sample"]: r["rounded_score"] for r in worst_case.table(score_matrix.read(scores_of(*rows))).to_pylist()}
    assert found == {"a1": 0.2, "n1": 0.4}, "of another attack than the raw one; clean where rounding undid the attack"
    value = {
        (r["attack"], r["metric"]): r["value"]
        for r in detection.table(scores_of(*rows), threshold=0.35, replicates=20).to_pylist()
        if r["regime"] == "both" and r["defect"] == "all"
    }
    assert (value["worst", "auroc"], value["worst_8bit", "auroc"]) == (0, 0)
    assert (value["worst", "miss_rate"], value["worst_8bit", "miss_rate"]) == (1, 1)


def test_the_worst_case_ignores_the_order_of_rows_parts_and_dictionary_columns(tmp_path):
    expected = worst_case.table(score_matrix.read(SUITE))
    shuffled = SUITE.take(np.random.default_rng(0).permutation(len(SUITE)))
    encoded = shuffled.set_column(
        SCORES.get_field_index("attack"), "attack", shuffled["attack"].combine_chunks().dictionary_encode()
    )
    parts = [encoded.slice(0, 5), encoded.slice(5, 1), encoded.slice(6)]
    for scores in (encoded, parts):
        assert worst_case.table(score_matrix.read(scores)).equals(expected)
    assert expected.cast(WORST_CASE).equals(pq.read_table(io.BytesIO(parquet.dump(expected))))


def test_the_table_has_each_regime_with_the_right_scores():
    found = detection.table(SUITE, threshold=0.35, replicates=20)
    assert found.schema.equals(METRICS)
    value = {
        tuple(r[k] for k in ("attack", "norm", "epsilon", "regime", "defect", "metric")): r["value"]
        for r in found.to_pylist()
    }
    assert len(value) == len(found)
    assert value["clean", "", 0, "", "all", "auroc"] == 3 / 4
    assert value["pgd", "linf", 0.1, "evasion", "all", "auroc"] == detection.auroc([0, 0, 1, 1], [0.1, 0.4, 0.2, 0.5])
    assert value["pgd", "linf", 0.1, "false_alarm", "all", "auroc"] == 3 / 4
    assert value["pgd", "linf", 0.1, "both", "all", "auroc"] == detection.auroc([0, 0, 1, 1], [0.2, 0.6, 0.2, 0.5])
    assert value["worst", "linf", 0.2, "both", "all", "miss_rate"] == 1
    assert value["worst", "linf", 0.2, "evasion", "all", "false_alarm_rate"] == 0.5
    assert value["noise", "linf", 0.2, "evasion", "all", "miss_rate"] == 0.5  # an attack's own figures, as it scored
    kinds = {key[:4] for key in value if key[4] == "kind 1"}
    assert kinds == {("clean", "", 0, "")} | {
        ("worst", norm, epsilon, regime)
        for norm, epsilon, regime in [
            ("linf", 0.1, "evasion"),
            ("linf", 0.1, "both"),
            ("linf", 0.2, "evasion"),
            ("linf", 0.2, "both"),
        ]
    }


def test_a_regime_whose_samples_were_not_attacked_is_left_out():
    found = detection.table(SUITE, threshold=0.35, replicates=20).to_pylist()
    l2 = {(r["regime"], r["normals"], r["anomalies"]) for r in found if r["norm"] == "l2"}
    assert l2 == {("evasion", 2, 1)}


def test_worst_case_figures_never_improve_with_epsilon():
    rng = np.random.default_rng(3)
    clean = dict(zip([*(f"n{i}" for i in range(20)), *(f"a{i}" for i in range(20))], rng.normal(size=40), strict=True))
    rows = [
        row("n0", attack, epsilon, clean[s] + rng.normal())
        | {"sample": s, "group": s, "clean_score": clean[s]}
        | {"label": int(s[0] == "a"), "direction": -1 if s[0] == "a" else 1}
        for s in clean
        for attack in ("pgd", "square")
        for epsilon in (0.1, 0.2, 0.3, 0.4)
    ]
    found = detection.table(scores_of(*rows), threshold=0.0, replicates=20).to_pylist()
    for regime in ("evasion", "false_alarm", "both"):
        for metric, sign in (("auroc", -1), ("average_precision", -1), ("fpr95", 1), ("miss_rate", 1)):
            curve = [
                r["value"]
                for r in found
                if (r["attack"], r["regime"], r["metric"], r["defect"]) == ("worst", regime, metric, "all")
            ]
            assert len(curve) == 4
            assert (sign * np.diff(curve) >= -1e-12).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adversarial_score": float("nan")}, "adversarial_score of the scores holds NaN"),
        ({"clean_score": None}, "clean_score of the scores holds NaN"),
        ({"attack": "worst"}, "names that stand for something else"),
        ({"model": "other"}, "2 models"),
        ({"direction": 1}, "direction must be"),
        ({"label": 0, "direction": 1}, "one label"),
    ],
)
def test_scores_that_cannot_be_trusted_are_refused(change: dict[str, Any], message: str):
    with pytest.raises(DataError, match=message):
        detection.table(scores_of(*SUITE.to_pylist(), row("a1", "pgd", 0.3, 0.1) | change), threshold=0.5)


def test_an_empty_or_foreign_table_is_refused():
    with pytest.raises(DataError, match="run the audit first"):
        detection.table(SCORES.empty_table(), threshold=0.5)
    with pytest.raises(DataError, match="lack the columns model, dataset"):
        score_matrix.read(pa.table({"sample": ["a"]}))
