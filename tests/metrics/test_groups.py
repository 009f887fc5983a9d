"""Intervals of images that are not independent: groups are resampled and counted, not images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from assay.errors import DataError
from assay.metrics import bootstrap, certified, corruption, detection, groups, localisation, security_curve
from assay.store import figures, parquet, score_matrix
from assay.store.schemas import CERTIFIED, CORRUPTED, METRICS, MINIMAL, SCORES

COPIES = 6
PARTS = 40
RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1], PARTS)
CLEAN = RNG.normal(size=2 * PARTS) + 1.2 * LABELS
NAMES = np.array([f"part{i:03d}" for i in range(2 * PARTS)], dtype=object)


def copied(values: np.ndarray) -> np.ndarray:
    """Of each part six copies."""
    return np.repeat(values, COPIES)


def samples(names: np.ndarray) -> np.ndarray:
    """Six ids of each part."""
    return np.array([f"{name}-{copy}" for name in names for copy in range(COPIES)], dtype=object)


def scores(ids: np.ndarray, parts: np.ndarray, labels: np.ndarray, clean: np.ndarray):
    """SCORES of one attack at two epsilons, and their kinds of defect."""
    kinds = np.where(labels == 0, "normal", np.where(np.char.find(parts.astype(str), "1") > 0, "dent", "crack"))
    common = dict.fromkeys(SCORES.names, 0) | dict.fromkeys(("model", "dataset", "sample_hash", "parameters"), "h")
    tables = []
    for epsilon in (0.1, 0.2):
        after = clean + epsilon * (1 - 2 * labels) * 3
        columns = common | {
            "sample": ids, "group": parts, "label": labels, "defect": kinds, "attack": "pgd", "norm": "linf",
            "epsilon": epsilon, "regime": np.where(labels == 1, "evasion", "false_alarm"),
            "direction": 1 - 2 * labels, "clean_score": clean, "adversarial_score": after, "rounded_score": after,
            "selection_score": after, "category": None,
        }  # fmt: skip
        tables.append(parquet.table(columns, SCORES))
    return tables


def without_counts(rows) -> list[tuple]:
    return [row[:10] for row in figures.read(rows)]


def test_six_copies_of_each_part_have_the_intervals_of_one_copy():
    one = detection.figures(LABELS, CLEAN, threshold=0.6)
    six = copied(LABELS), copied(CLEAN)
    grouped = detection.figures(*six, threshold=0.6, groups=copied(NAMES))
    for metric, interval in one.items():
        assert grouped[metric] == pytest.approx(interval, abs=1e-12), metric
    today = detection.figures(*six, threshold=0.6)
    for metric, interval in one.items():
        if metric != "fpr95":
            narrow = (today[metric].upper - today[metric].lower) / (interval.upper - interval.lower)
            assert narrow < 0.5, f"{metric}: as if there were six times as many parts"


def test_so_do_all_figures_of_an_audit_and_they_say_how_many_groups_there_are():
    one = score_matrix.read(scores(NAMES, NAMES, LABELS, CLEAN))
    six = score_matrix.read(scores(samples(NAMES), copied(NAMES), copied(LABELS), copied(CLEAN)))
    assert one.groups is None
    tables = [detection.table(matrix, threshold=0.6, replicates=200) for matrix in (one, six)]
    for first, second in zip(*map(without_counts, tables), strict=True):
        assert second[:6] == first[:6]
        assert second[6:] == pytest.approx(first[6:], abs=1e-12)
    for first, second in zip(*map(figures.read, tables), strict=True):
        assert second.units == first.units == (first.normals, first.anomalies)
        assert (second.normals, second.anomalies) == (COPIES * first.normals, COPIES * first.anomalies)
    alone = dataclasses.replace(six, groups=None)
    narrow = figures.read(detection.table(alone, threshold=0.6, replicates=200))[0]
    assert narrow.units == (COPIES * PARTS, COPIES * PARTS)


def corrupted(ids: np.ndarray, parts: np.ndarray, labels: np.ndarray, clean: np.ndarray):
    common = {"model": "m", "dataset": "d", "sample_hash": "h", "seconds": 0.1, "seed": 0, "severity": 1}
    common |= {"sample": ids, "group": parts, "label": labels, "defect": "x", "clean_score": clean}
    moved = {"fog": 0.3, "dust": -0.2}
    return [parquet.table(common | {"corruption": k, "score": clean + by}, CORRUPTED) for k, by in moved.items()]


def bounds(ids: np.ndarray, parts: np.ndarray, labels: np.ndarray, clean: np.ndarray):
    common = {"model": "m", "dataset": "d", "sample_hash": "h", "seconds": 0.1, "seed": 0, "confidence": 0.999}
    common |= {"sample": ids, "group": parts, "label": labels, "defect": "x", "norm": "linf", "radius": 0.1}
    return [parquet.table(common | {"lower": clean - 0.1, "upper": clean + 0.1}, CERTIFIED)]


@pytest.mark.parametrize("kind", ["corruption", "certified"])
def test_so_do_corruptions_their_mean_and_certified_figures(kind):
    ones = NAMES, NAMES, LABELS, CLEAN
    sixes = samples(NAMES), copied(NAMES), copied(LABELS), copied(CLEAN)
    found = []
    for columns in (ones, sixes):
        if kind == "corruption":
            table = parquet.pa.concat_tables(corrupted(*columns))
            found.append(corruption.figures(table, threshold=0.6, replicates=200))
        else:
            clean = {"sample": parquet.pa.array(columns[0]), "clean_score": columns[3]}
            [table] = bounds(*columns)
            found.append(certified.figures(table, parquet.pa.table(clean), threshold=0.6, replicates=200))
    for first, second in zip(*map(without_counts, found), strict=True):
        assert second[6:] == pytest.approx(first[6:], abs=1e-12)
    assert {row.units for row in figures.read(found[1])} == {(PARTS, PARTS)}


def test_so_do_the_quantiles_of_the_smallest_epsilon():
    epsilons, rows = RNG.uniform(0, 0.1, 2 * PARTS), []
    for copies in (1, COPIES):
        columns = {
            "model": "m", "dataset": "d", "sample_hash": "h", "defect": "x", "norm": "linf", "threshold": 0.5,
            "clean_score": 0.0, "clean_correct": True, "largest": 0.1, "forwards": 1, "backwards": 1, "seconds": 0.1,
            "seed": 0, "sample": samples(NAMES) if copies > 1 else NAMES, "group": np.repeat(NAMES, copies),
            "label": np.repeat(LABELS, copies), "epsilon": np.repeat(epsilons, copies),
        }  # fmt: skip
        rows.append(security_curve.quartiles(parquet.table(columns, MINIMAL)))
    assert [row.intervals for row in rows[0]] == [row.intervals for row in rows[1]]
    assert [row.samples for row in rows[1]] == [COPIES * PARTS] * 2


def test_a_group_is_drawn_as_a_whole_and_each_kind_of_group_from_its_own():
    held = groups.of([0, 0, 0, 1, 1, 1, 0, 1], ["n1", "n1", "n2", "a1", "a1", "b1", "b1", None])
    assert held is not None
    assert held.counts == (3, 3)
    [block] = bootstrap.blocks(50, 8, 0)
    normals, anomalies = block.counts(4, 4, held)
    assert (normals[:, 0] == normals[:, 1]).all(), "n1"
    assert (anomalies[:, 0] == anomalies[:, 1]).all(), "a1"
    assert (normals[:, 3] == anomalies[:, 2]).all(), "b1 holds both"
    assert (normals[:, 3] == 1).all(), "the only group of its kind"
    assert (normals[:, 0] + normals[:, 2] == 2).all()
    assert (normals[:, 0] != 1).any()


def test_what_groups_are_worth():
    assert groups.of([0, 1], ["a", "b"]) is None, "each its own"
    assert groups.of([0, 1], None) is None
    equal = groups.of(np.repeat([0, 1], 12), [f"{i // 4}" for i in range(24)])
    assert equal is not None
    assert equal.worth == (3, 3, 0)
    unequal = groups.of([0] * 10 + [1] * 2, ["big"] * 9 + ["small"] + ["a", "b"])
    assert unequal is not None
    assert unequal.worth.normals == pytest.approx(100 / 82)
    assert unequal.counts == (2, 2)
    both = groups.of([0, 1] * 10, [f"{i // 2}" for i in range(20)])
    assert both is not None
    assert both.worth == (10, 10, 1)
    assert both.worth.smaller == 5, "normals and anomalies of a part may fail together"


def test_a_sample_without_a_group_is_its_own_and_older_tables_have_none():
    assert groups.codes(["b", None, "a", None, "b"]).tolist() == [1, 2, 0, 3, 1]
    [table] = bounds(NAMES, NAMES, LABELS, CLEAN)
    older = table.drop_columns("group")
    assert groups.named(older) is None
    assert groups.named(parquet.conform(older, CERTIFIED)) is None
    assert certified.figures(older, parquet.pa.table({"sample": parquet.pa.array(NAMES), "clean_score": CLEAN}),
                             threshold=0.6, replicates=20).num_rows == 15  # fmt: skip


def test_scores_of_an_older_audit_are_independent_and_torn_groups_are_refused():
    parts = scores(samples(NAMES), copied(NAMES), copied(LABELS), copied(CLEAN))
    assert score_matrix.read([part.drop_columns("group") for part in parts]).groups is None
    renamed = parts[1].set_column(
        parts[1].schema.get_field_index("group"), "group", parquet.pa.array(["other"] * len(parts[1]))
    )
    with pytest.raises(DataError, match="every sample needs one group, the same in all its rows"):
        score_matrix.read([parts[0], renamed])


def test_figures_of_an_older_table_count_samples():
    row = figures.Figure("clean", "", 0.0, "", "all", "auroc", 0.7, 0.6, 0.8, 0.95, 20, 30, 5, 6)
    table = figures.table([row])
    assert table.schema.equals(METRICS)
    assert figures.read(table) == [row]
    assert row.units == (5, 6)
    [older] = figures.read(table.drop_columns(["normal_groups", "anomaly_groups"]))
    assert older.units == (20, 30)


def test_localisation_draws_and_counts_groups():
    random = np.random.default_rng(1)
    masks = np.zeros((2 * PARTS, 8, 8), bool)
    masks[PARTS:, 2:5, 2:5] = True
    maps = random.random(masks.shape) + 0.3 * masks
    one = localisation.table(maps, masks, LABELS, ["dent"] * len(LABELS)).to_pylist()
    six = [copied_images(maps), copied_images(masks), copied(LABELS), ["dent"] * len(copied(LABELS))]
    for first, grouped, naive in zip(
        one,
        localisation.table(*six, groups=copied(NAMES)).to_pylist(),
        localisation.table(*six).to_pylist(),
        strict=True,
    ):
        for bound in ("value", "lower", "upper"):
            assert grouped[bound] == pytest.approx(first[bound], abs=1e-3)
        assert naive["upper"] - naive["lower"] < 0.6 * (first["upper"] - first["lower"])
    few = localisation.table(*six, groups=[f"{i % 25}" for i in range(len(six[2]))]).to_pylist()
    assert all(np.isnan(row["lower"]) for row in few), "25 groups are too few, however many images"


def copied_images(values: np.ndarray) -> np.ndarray:
    return np.repeat(values, COPIES, axis=0)


@pytest.mark.parametrize(("kind", "naive"), [("hidden", 0.1), ("wrong", 0.1)])
def test_bounds_of_few_groups_miss_on_either_side_as_rarely_as_they_say(kind, naive):
    """Parts of six images: one in ten is not seen, or, where a part holds both, is taken for its opposite."""
    rng, parts = np.random.default_rng(2), 20
    labels = np.repeat([0, 1], parts * COPIES)
    same = kind == "wrong"
    names = [f"{(i // COPIES) % parts if same else i // COPIES}" for i in range(len(labels))]
    truth = {"hidden": (0.9, 0.1, 0.0228), "wrong": (0.81, 0.1, 0.1)}[kind]
    misses = np.zeros((3, 2)), np.zeros((3, 2))
    for number in range(200):
        bad = rng.random(parts) < 0.1
        normals = np.where(bad & same, 99.0, rng.uniform(0, 1, parts) if same else rng.normal(0, 1, parts))
        anomalies = np.where(bad, -99.0, 9.0)
        scores = np.repeat([*normals, *anomalies], COPIES)
        for held, missed in zip((names, None), misses, strict=True):
            found = detection.figures(labels, scores, threshold=2.0, groups=held, replicates=60, seed=number)
            bounds = [found[name][1:] for name in ("auroc", "miss_rate", "false_alarm_rate")]
            missed += [[low > true, high < true] for true, (low, high) in zip(truth, bounds, strict=True)]
    assert (misses[0] / 200 <= 0.045).all(), misses[0]  # nominal 0.025, three standard deviations of 200 audits above
    assert misses[1].max() / 200 >= naive
