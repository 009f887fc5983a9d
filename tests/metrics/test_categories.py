"""Figures of a dataset with several categories: each against its own normals, and the worst of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from assay.approval.gate import Gate, MinimumSamples
from assay.metrics import detection
from assay.store import figures, parquet, score_matrix
from assay.store.schemas import SCORES

NAMES = ("bottle", "cable", "screw")
SHIFT = dict(zip(NAMES, (0.0, 10.0, 20.0), strict=True))
GAIN = dict(zip(NAMES, (3.0, 0.5, 3.0), strict=True))
"""How far the scores of a category lie from those of others, and its anomalies from its normals."""


def scores(each: int = 40, with_categories: bool = True) -> pa.Table:
    rng = np.random.default_rng(0)
    columns: dict[str, list[object]] = {name: [] for name in ("sample", "label", "defect", "clean_score", "category")}
    for name in NAMES:
        for label in (0, 1):
            for at in range(each):
                kind = f"{name}/{('crack', 'hole')[at % 2]}" if label else "normal"
                score = rng.normal(SHIFT[name] + GAIN[name] * label)
                for column, value in zip(columns, (f"{name}/{label}{at}", label, kind, score, name), strict=True):
                    columns[column].append(value)
    label = np.array(columns["label"])
    clean = np.array(columns["clean_score"])
    attacked = clean + 0.5 * (1 - 2 * label)
    filled = dict.fromkeys(SCORES.names, 0) | dict.fromkeys(("model", "dataset", "sample_hash", "parameters"), "h")
    filled |= {**columns, "clean_score": clean, "label": label, "attack": "pgd", "norm": "linf", "epsilon": 0.01}
    filled |= dict.fromkeys(("adversarial_score", "rounded_score", "selection_score"), attacked)
    filled |= {
        "direction": 1 - 2 * label,
        "regime": np.where(label, "evasion", "false_alarm"),
        "group": filled["sample"],
    }
    if not with_categories:
        filled["category"] = None
    return parquet.table(filled, SCORES)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return detection.table(scores(), threshold=10.0, replicates=200)


def clean(table: pa.Table, defect: str, metric: str = "auroc", attack: str = "clean") -> figures.Figure:
    found = [
        f for f in figures.read(table)
        if (f.defect, f.metric, f.attack) == (defect, metric, attack) and f.regime in ("", "both")
    ]  # fmt: skip
    [figure] = found
    return figure


def test_a_category_is_set_against_its_own_normals(table: pa.Table) -> None:
    """All anomalies of screw lie above all normals of bottle: against all normals, every category would look good."""
    matrix = score_matrix.read(scores())
    for name in NAMES:
        own = np.array([sample.startswith(name) for sample in matrix.samples])
        figure = clean(table, name)
        assert figure.value == pytest.approx(detection.auroc(matrix.labels[own], matrix.clean[own]))
        assert (figure.normals, figure.anomalies) == (40, 40)
        assert clean(table, f"{name}/crack").normals == 40
    assert clean(table, "cable").value < 0.75 < 0.95 < clean(table, "screw").value


def test_the_worst_category_has_an_interval_that_allows_for_having_chosen_it(table: pa.Table) -> None:
    for attack in ("clean", "worst"):
        worst, cable = clean(table, "worst_category", attack=attack), clean(table, "cable", attack=attack)
        assert worst.value == cable.value
        assert worst.lower == min(clean(table, name, attack=attack).lower for name in NAMES)
        assert worst.upper > cable.upper
    alarms = clean(table, "worst_category", "false_alarm_rate")
    assert alarms.value == clean(table, "screw", "false_alarm_rate").value == 1.0


def test_a_category_has_figures_for_false_alarms_as_well(table: pa.Table) -> None:
    regimes = {f.regime for f in figures.read(table) if f.defect == "worst_category"}
    assert regimes == {"", "evasion", "false_alarm", "both"}


def test_a_gate_acts_on_the_worst_category(table: pa.Table) -> None:
    gate = Gate(metric="auroc", attack="clean", defect="worst_category", at_least=0.8, why="every product counts")
    figure, why = gate.find(figures.read(table), MinimumSamples(normals=20, anomalies=20))
    assert figure is not None
    assert why == ""
    assert gate.broken(figure)
    assert gate.model_copy(update={"defect": "screw"}).holds(clean(table, "screw"))
    assert gate.text == "clean AUROC, worst category at least 0.80"


def test_without_categories_or_with_one_that_lacks_a_class_there_are_no_such_figures() -> None:
    alone = detection.table(scores(with_categories=False), threshold=10.0, replicates=20)
    assert not {"worst_category", *NAMES} & set(alone["defect"].to_pylist())
    part = scores()
    lacking = [not (s.startswith("screw/0")) for s in part["sample"].to_pylist()]
    partly = detection.table(part.filter(pa.array(lacking)), threshold=10.0, replicates=20)
    assert not {"worst_category", *NAMES} & set(partly["defect"].to_pylist())


def test_a_sample_of_two_categories_is_refused() -> None:
    part = scores()
    other = part.set_column(
        part.schema.get_field_index("category"), "category", pa.array(["bottle"] * len(part)).dictionary_encode()
    )
    with pytest.raises(detection.DataError, match="one category, the same in all its rows"):
        score_matrix.read([part, other])
