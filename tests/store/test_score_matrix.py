"""The matrix of scores: filled from parts and rows in any order, checked, and what the attacks cost in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DataError
from assay.metrics import attack_cost, worst_case
from assay.metrics.detection import auroc
from assay.store import parquet, score_matrix
from assay.store.schemas import COST, SCORES
from assay.store.score_matrix import RESERVED, SELECTION, Setting
from assay.store.store import Store

TEXT = {"model": "m", "dataset": "d", "sample_hash": "h", "parameters": "p", "regime": "both"}


def rows_of(**columns: Any) -> pa.Table:
    """SCORES of these columns; labels from the first letter of the sample, a or n."""
    count = len(columns["sample"])
    labels = np.array([int(sample[0] == "a") for sample in columns["sample"]])
    filled: dict[str, Any] = {name: np.zeros(count) for name in SCORES.names} | TEXT
    filled |= {"label": labels, "direction": 1 - 2 * labels, "defect": np.where(labels == 1, "crack", "normal")}
    filled["group"] = columns["sample"]
    filled["selection_score"] = columns.get("adversarial_score", filled["selection_score"])
    whole = {name: pa.array(value).cast(SCORES.field(name).type) for name, value in filled.items() if name not in TEXT}
    given = {name: value if isinstance(value, str) else np.array(value) for name, value in columns.items()}
    return parquet.table({**whole, **TEXT, **given}, SCORES)


@st.composite
def scores(draw: st.DrawFn) -> pa.Table:
    """Few samples, attacks, norms, budgets and score levels, some rows missing, in any order."""
    cells = st.tuples(
        st.sampled_from(["n1", "n2", "a1", "a2"]),
        st.sampled_from(["pgd", "square", "noise"]),
        st.sampled_from(["linf", "l2"]),
        st.sampled_from([0.1, 0.2, 0.4]),
    )
    found = draw(st.lists(cells, min_size=1, max_size=40))
    levels = st.lists(st.integers(-2, 2), min_size=len(found), max_size=len(found))
    sample, attack, norm, epsilon = (list(column) for column in zip(*found, strict=True))
    score, rounded = (np.array(draw(levels)) / 2 for _ in range(2))
    clean = [{"n1": 0.0, "n2": -0.5, "a1": 0.5, "a2": 0.0}[name] for name in sample]
    more = {"adversarial_score": score, "rounded_score": rounded, "clean_score": clean}
    return rows_of(sample=sample, attack=attack, norm=norm, epsilon=epsilon, **more)


def plainly(table: pa.Table) -> dict[tuple[str, float, str], tuple[float, float]]:
    """Worst and worst rounded score by norm, epsilon and sample, as a loop over rows finds them."""
    rows = [{**row, "reach": row["direction"] * row["adversarial_score"]} for row in table.to_pylist()]
    best: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:  # of rows of one cell the strongest counts
        key = (row["attack"], row["norm"], row["epsilon"], row["sample"])
        if key not in best or row["reach"] > best[key]["reach"]:
            best[key] = row
    found = {}
    for norm, epsilon in {(row["norm"], row["epsilon"]) for row in rows}:
        for sample in {row["sample"] for row in rows if row["norm"] == norm and row["epsilon"] <= epsilon}:
            allowed = [r for k, r in best.items() if k[1] == norm and k[2] <= epsilon and k[3] == sample]
            way, clean = allowed[0]["direction"], allowed[0]["clean_score"]
            found[norm, epsilon, sample] = tuple(
                way * max(way * clean, *(way * row[name] for row in allowed))
                for name in ("adversarial_score", "rounded_score")
            )
    return found


@given(scores())
@settings(max_examples=150)
def test_the_worst_case_is_that_of_a_loop_over_rows(table: pa.Table):
    matrix = score_matrix.read(table)
    rows = worst_case.table(matrix).to_pylist()
    expected = plainly(table)
    assert {key: value[0] for key, value in expected.items()} == {
        (row["norm"], row["epsilon"], row["sample"]): row["score"] for row in rows
    }
    assert len(rows) == len(expected)
    for row in rows:
        if row["attack"] == "clean":
            assert (row["score"], row["attack_epsilon"]) == (row["clean_score"], 0)
            continue
        assert row["attack_epsilon"] <= row["epsilon"]
        setting = Setting(row["attack"], row["norm"], row["attack_epsilon"])
        [at] = np.flatnonzero(matrix.samples == row["sample"])
        assert matrix.values["adversarial_score"][setting][at] == row["score"]


@given(scores(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_order_and_parts_do_not_matter(table: pa.Table, random: Any):
    cells = table.group_by(["sample", "attack", "norm", "epsilon"]).aggregate([])
    if len(cells) != len(table):  # which of two rows of one cell that tie is kept is their order
        table = table.slice(0, 1)
    whole = score_matrix.read(table)
    shuffled = table.take(random.sample(range(len(table)), len(table)))
    cut = random.randint(0, len(table))
    parts = score_matrix.read(iter([shuffled.slice(0, cut), shuffled.slice(cut)]))
    assert whole.settings == parts.settings
    assert (whole.samples == parts.samples).all()
    assert (whole.labels == parts.labels).all()
    assert (whole.defects == parts.defects).all()
    for name, values in whole.values.items():
        for setting, row in values.items():
            assert np.array_equal(row, parts.values[name][setting], equal_nan=True)
            assert row.shape == whole.samples.shape


@pytest.mark.parametrize("name", RESERVED)
def test_a_name_of_the_tables_is_no_attack(name):
    with pytest.raises(DataError, match="stand for something else"):
        score_matrix.read(rows_of(sample=["a1", "n1"], attack=name, norm="linf", epsilon=[0.1, 0.1]))


@pytest.mark.parametrize("kind", ["all", "worst_kind"])
def test_a_name_of_the_tables_is_no_defect(kind):
    with pytest.raises(DataError, match=f"a defect kind is called '{kind}'"):
        score_matrix.read(rows_of(sample=["a1"], attack="pgd", norm="linf", epsilon=[0.1], defect=kind))


def test_a_sample_has_one_defect_in_all_parts():
    parts = [rows_of(sample=["a1"], attack="pgd", norm="linf", epsilon=[0.1], defect=kind) for kind in ("x", "y")]
    with pytest.raises(DataError, match="one defect, the same in all"):
        score_matrix.read(parts)


def test_parts_are_read_from_files_with_the_columns_that_are_needed(tmp_path):
    table = rows_of(sample=["a1", "n1"], attack="pgd", norm="linf", epsilon=[0.1, 0.1], adversarial_score=[0.5, 0.25])
    files = [tmp_path / f"{number}.parquet" for number in range(2)]
    files[0].write_bytes(parquet.dump(table))
    files[1].write_bytes(parquet.dump(table.slice(0, 0)))
    matrix = score_matrix.read(parquet.parts(Store(tmp_path), ["0.parquet", "1.parquet"], score_matrix.columns()))
    assert matrix.values["adversarial_score"][Setting("pgd", "linf", 0.1)].tolist() == [0.5, 0.25]
    files[1].write_bytes(parquet.dump(table.drop_columns(["epsilon", "norm"])))
    with pytest.raises(DataError, match=r"1.parquet has no column norm, epsilon; delete it"):
        score_matrix.read(parquet.parts(Store(tmp_path), ["0.parquet", "1.parquet"], score_matrix.columns()))
    files[1].write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"1.parquet is damaged .*; do this"):
        score_matrix.read(parquet.parts(Store(tmp_path), ["0.parquet", "1.parquet"], score_matrix.columns(), "do this"))
    files[1].unlink()
    with pytest.raises(DataError, match=r"1.parquet is missing; do this"):
        score_matrix.read(parquet.parts(Store(tmp_path), ["0.parquet", "1.parquet"], score_matrix.columns(), "do this"))


def costs(knowledge, **attacks) -> dict[tuple[str, float], dict[str, Any]]:
    """The rows of cost.table at threshold 0 by attack and epsilon; each attack: samples, then columns by epsilon."""
    scores = {}
    for attack, (samples, clean, by_epsilon) in attacks.items():
        parts = []
        for epsilon, columns in by_epsilon.items():
            where = {"sample": samples, "clean_score": clean, "attack": attack, "norm": "linf"}
            parts.append(rows_of(**where, epsilon=[epsilon] * len(samples), **columns))
        scores[attack] = parts
    table = attack_cost.table(scores, threshold=0.0, knowledge=knowledge)
    assert table.schema.equals(COST)
    return {(row["attack"], row["epsilon"]): row for row in table.to_pylist()}


SPENT = {"forwards": [10, 10, 10, 10], "backwards": [5, 5, 5, 5], "seconds": [2.0, 2.0, 2.0, 2.0]}
PGD = (
    ["a1", "a2", "n1", "n2"],
    [1.0, -1.0, -1.0, -1.0],  # a2 is missed without an attack
    {
        0.1: {"adversarial_score": [0.5, -2.0, 1.0, -0.5], "broken_at": [-1, 1, 4, -1], **SPENT},
        0.2: {"adversarial_score": [-0.5, -2.0, 2.0, -0.5], "broken_at": [5, 1, 1, -1], **SPENT},
    },
)


def test_time_to_break_counts_the_way_through_the_smaller_epsilons():
    rows = costs({"pgd": "white-box"}, pgd=PGD)
    first, second = rows["pgd", 0.1], rows["pgd", 0.2]
    assert (first["samples"], first["forwards"], first["backwards"], first["seconds_per_sample"]) == (4, 40, 20, 2.0)
    assert (first["at_risk"], first["broken"], first["share_broken"], first["timed"]) == (3, 1, 1 / 3, 1)
    assert (first["queries_25"], first["queries_50"], first["queries_75"]) == (4, 4, 4)
    assert first["seconds_50"] == pytest.approx(0.8)
    assert (second["broken"], second["timed"]) == (2, 2)
    assert second["queries_50"] == (4 + (10 + 5)) / 2
    assert second["seconds_75"] == pytest.approx(np.percentile([0.8, 2 + 1], 75))
    assert {key: value for key, value in rows["any", 0.2].items() if key != "attack"} == {
        key: value for key, value in second.items() if key != "attack"
    }


def test_of_several_attacks_the_quickest_breaks_a_sample_and_unknown_times_are_not_counted():
    square = (
        ["a1", "n1"],
        [1.0, -1.0],
        {0.1: {"adversarial_score": [-1.0, 0.5], "broken_at": [-1, 2], "forwards": [100, 100], "seconds": [1.0, 1.0]}},
    )
    rows = costs({"pgd": "white-box", "square": "white-box"}, pgd=PGD, square=square)
    assert (rows["square", 0.1]["broken"], rows["square", 0.1]["timed"]) == (2, 1)
    together = rows["any", 0.1]
    assert (together["samples"], together["forwards"], together["broken"], together["timed"]) == (4, 240, 2, 1)
    assert together["queries_50"] == 2
    assert (rows["any", 0.2]["broken"], rows["any", 0.2]["timed"]) == (2, 2), "square was not made at 0.2, but counts"
    assert rows["any", 0.2]["queries_75"] == np.percentile([15, 2], 75)
    apart = costs({"pgd": "white-box", "square": "score"}, pgd=PGD, square=square)
    assert apart["square", 0.1]["knowledge"] == "score"


def test_where_nothing_is_at_risk_or_broken_there_is_no_time():
    wrong = (["a1"], [-1.0], {0.1: {"adversarial_score": [-2.0], "broken_at": [1], "forwards": [1], "seconds": [1.0]}})
    row = costs({"pgd": "white-box"}, pgd=wrong)["pgd", 0.1]
    assert (row["at_risk"], row["broken"], row["timed"]) == (0, 0, 0)
    assert np.isnan([row["share_broken"], row["queries_50"], row["seconds_25"]]).all()


def draws(selected: bool, noise: float = 0.5, settings: int = 20, each: int = 300) -> pa.Table:
    """SCORES of attacks that do nothing to a score with noise; selected: with a draw of their own to choose by."""
    rng = np.random.default_rng(4)
    samples = [f"{kind}{i}" for kind in "na" for i in range(each)]
    means = rng.normal(size=2 * each) + 1.2 * np.repeat([0, 1], each)
    parts = []
    for place in range(settings):
        drawn = {name: means + noise * rng.normal(size=2 * each) for name in ("adversarial_score", "rounded_score")}
        clean = means + noise * np.random.default_rng(0).normal(size=2 * each)
        part = rows_of(sample=samples, attack=f"it{place}", norm="linf", epsilon=np.full(2 * each, 0.1), **drawn,
                       clean_score=clean)  # fmt: skip
        again = means + noise * rng.normal(size=2 * each) if selected else drawn["adversarial_score"]
        parts.append(part.set_column(SCORES.get_field_index(SELECTION), SELECTION, pa.array(again)))
    return pa.concat_tables(parts)


def test_of_a_random_score_the_worst_case_is_no_maximum_of_noise():
    lucky, honest = (score_matrix.read(draws(selected)) for selected in (False, True))
    assert SELECTION not in lucky.values, "of a score that is not random it says nothing new"
    clean = auroc(honest.labels, honest.clean)
    for column in ("score", "rounded_score"):
        figures = [
            auroc(matrix.labels, dict_of(worst_case.table(matrix), column, matrix.samples))
            for matrix in (lucky, honest)
        ]
        assert figures[0] < clean - 0.3, "as many draws as there are settings, of which the luckiest was taken"
        assert figures[1] == pytest.approx(clean, abs=0.04), "attacks that do nothing cost nothing"
    winners = [row["attack"] for row in worst_case.table(honest).to_pylist()]
    assert len(set(winners)) == 20


def dict_of(table: pa.Table, column: str, samples: Any) -> Any:
    found = dict(zip(table["sample"].to_pylist(), table[column].to_pylist(), strict=True))
    return np.array([found[sample] for sample in samples])


def test_scores_without_a_draw_to_choose_by_are_read_as_before():
    table = draws(selected=False, settings=2, each=4)
    matrix = score_matrix.read(table)
    older = table.drop_columns([SELECTION])
    empty = table.set_column(SCORES.get_field_index(SELECTION), SELECTION, pa.nulls(len(table), pa.float64()))
    for part in (older, empty):
        assert worst_case.table(score_matrix.read(part)).equals(worst_case.table(matrix))
    with pytest.raises(DataError, match="selection_score"):
        score_matrix.read(iter([table, older]))


def test_parts_may_lack_a_newer_column(tmp_path):
    table = draws(selected=True, settings=1, each=4)
    for place, part in enumerate((table, table.drop_columns([SELECTION]))):
        (tmp_path / f"{place}.parquet").write_bytes(parquet.dump(part))
    store, wanted = Store(tmp_path), score_matrix.columns()
    with_it, without = (
        next(iter(parquet.parts(store, [f"{place}.parquet"], wanted, newer=(SELECTION,)))) for place in (0, 1)
    )
    assert set(with_it.column_names) - set(without.column_names) == {SELECTION}
    assert SELECTION in score_matrix.read(with_it).values
