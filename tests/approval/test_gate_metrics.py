"""The figures of an audit at another confidence: the same scores, wider intervals, whatever order the rows have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy_audit

from assay.approval import gate_metrics, policy
from assay.approval.figure import name_of
from assay.approval.gate import Gate
from assay.approval.judgement import decide
from assay.audits import audit, suite
from assay.errors import DataError
from assay.metrics import bootstrap
from assay.store import figures
from assay.store.audit_reader import Audit
from assay.store.figures import Figure
from assay.store.schemas import METRICS
from assay.store.store import Store

CORRUPTIONS = {"kinds": ["contrast", "gaussian_noise"], "severities": [1, 5]}
NATURAL = {"norm": "corruption", "regime": "natural", "epsilon": 5}
GATES = {
    "clean": {"attack": "clean"},
    "worst": {"epsilon": "2/255"},
    "worst kind": {"epsilon": "2/255", "regime": "evasion", "defect": "worst_kind"},
    "one attack": {"epsilon": "2/255", "attack": "pgd-linf"},
    "l2": {"epsilon": 0.3, "norm": "l2", "metric": "fpr95", "at_least": None, "at_most": 0.9},
    "8 bit": {"epsilon": "2/255", "attack": "worst_8bit"},
    "area": {"epsilon": "8/255", "metric": "curve_area"},
    "noise": {"attack": "gaussian_noise", **NATURAL},
    "corruptions": {"attack": "corruptions", **NATURAL},
}
RULES = {
    "name": "p",
    "version": 1,
    "why": "w",
    "minimum_samples": {"normals": 5, "anomalies": 5},
    "gates": [{"metric": "auroc", "at_least": 0.3, "why": "w", "name": n, **gate} for n, gate in GATES.items()],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Path:
    """A finished audit with corruptions. Not to be changed."""
    root = tmp_path_factory.mktemp("corrupted")
    store = Store(root / "store")
    name = toy_audit.write_model(store, toy_audit.pictures(root / "images"))
    file = toy_audit.write_suite(root / "tiny.yaml", corruptions=CORRUPTIONS)
    return store.path(f"audits/{audit.run(store, name, suite.read(file))}")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of that audit in a store of its own, for one test to change."""
    return Path(shutil.copytree(folder, tmp_path / "store" / "audits" / folder.name))


def rows_at(folder: Path, confidence: float, *gates: dict) -> list[Figure]:
    table = pq.read_table(folder / "metrics.parquet")
    chosen = [Gate.model_validate(gate) for gate in gates or RULES["gates"]]
    return gate_metrics.at_any_confidence(Audit(folder), table, chosen)(confidence)


def keyed(rows: list[Figure]) -> dict:
    return {name_of(row): row for row in rows}


def test_at_the_confidence_of_the_audit_they_are_the_audits(folder):
    own = figures.read(pq.read_table(folder / "metrics.parquet"))
    gates = [Gate.model_validate(gate) for gate in RULES["gates"]]
    again = keyed(rows_at(folder, 0.95))
    assert {key: keyed(own)[key] for key in again} == again, "made again, they are the same to the last digit"
    assert all(any(gate.find(list(again.values()), policy.MinimumSamples(normals=1, anomalies=1))) for gate in gates)


@pytest.mark.parametrize("name", GATES)
def test_of_every_kind_of_figure_the_interval_widens_round_the_same_value(folder, name):
    [gate] = [gate for gate in RULES["gates"] if gate["name"] == name]
    found = [
        Gate.model_validate(gate).find(rows_at(folder, level, gate), policy.MinimumSamples(normals=1, anomalies=1))[0]
        for level in (0.95, 0.999)
    ]
    usual, wide = found
    assert wide.value == usual.value
    assert (wide.normals, wide.anomalies) == (usual.normals, usual.anomalies)
    assert wide.lower <= usual.lower <= usual.upper <= wide.upper
    assert wide.upper - wide.lower > usual.upper - usual.lower
    assert wide.confidence == 0.999


def test_rarer_events_take_more_resamples():
    assert [bootstrap.replicates(level) for level in (0.5, 0.95, 0.975, 0.99, 0.9999)] == [
        1000,
        1000,
        2000,
        5000,
        20000,
    ]


def verdict(folder: Path) -> str:
    store = Store(folder.parents[1])
    decide(store, folder.name, policy.Policy.of(RULES, "p.yaml"))
    decided = json.loads((folder / "verdict.json").read_text())
    assert decided.pop("created")
    return json.dumps(decided, indent=2)


def test_the_same_rows_in_another_order_and_other_parts_give_the_same_verdict_byte_for_byte(folder, copy):
    before = verdict(copy)
    random = np.random.default_rng(0)
    for where in [*copy.glob("scores/*"), *copy.glob("corrupted/*")]:
        files = sorted(where.glob("part-*.parquet"))
        table = pa.concat_tables(pq.ParquetFile(file).read() for file in files)
        for file in files:
            file.unlink()
        table = table.take(random.permutation(len(table)))
        cut = len(table) // 3
        for number, part in enumerate((table[cut:], table[:cut])):
            pq.write_table(part, where / f"part-{number}.parquet", row_group_size=7)
    for name in ("metrics", "checks"):
        table = pq.read_table(copy / f"{name}.parquet")
        pq.write_table(table.take(random.permutation(len(table))), copy / f"{name}.parquet")
    assert verdict(copy) == before
    assert {gate["confidence"] for gate in json.loads(before)["gates"]} != {0.95}, "figures were made again"


def test_another_score_is_noticed(copy):
    [file] = list(copy.glob("scores/pgd-linf/part-*.parquet"))
    table = pq.ParquetFile(file).read()
    scores = table["adversarial_score"].to_numpy() - np.where(table["label"].to_numpy() == 1, 1.0, 0.0)
    at = table.schema.get_field_index("adversarial_score")
    pq.write_table(table.set_column(at, "adversarial_score", pa.array(scores)), file)
    with pytest.raises(DataError, match=r"metrics.parquet says .*, the scores beside it give .*, so one of them was"):
        verdict(copy)


@pytest.mark.parametrize("confidence", [0.95, 0.999])
def test_bounds_that_somebody_wrote_into_the_audit_decide_nothing(copy, confidence):
    [gate] = [gate for gate in RULES["gates"] if gate["name"] == "worst"]
    honest = rows_at(copy, confidence, gate)
    rows = pq.read_table(copy / "metrics.parquet").to_pylist()
    better = [{**row, "lower": 0.99, "upper": 1.0, "confidence": confidence} for row in rows]
    pq.write_table(pa.Table.from_pylist(better, schema=METRICS), copy / "metrics.parquet")
    assert rows_at(copy, confidence, gate) == honest


@pytest.mark.parametrize("value", [0.99, float("nan"), None])
def test_a_figure_that_somebody_wrote_into_the_audit_is_noticed_at_its_own_confidence(copy, value):
    rows = pq.read_table(copy / "metrics.parquet").to_pylist()
    pq.write_table(
        pa.Table.from_pylist([{**row, "value": value} for row in rows], schema=METRICS), copy / "metrics.parquet"
    )
    with pytest.raises(DataError, match=f"metrics.parquet says {value or float('nan')} for "):
        rows_at(copy, 0.95)


def test_another_figure_is_another_verdict(copy):
    before = json.loads(verdict(copy))
    rows = pq.read_table(copy / "checks.parquet").to_pylist()
    rows[0]["evidence"] += " "
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(copy / "checks.parquet")), copy / "checks.parquet")
    after = json.loads(verdict(copy))
    assert after["judged"]["metrics"] == before["judged"]["metrics"]
    assert after["judged"]["checks"] != before["judged"]["checks"]


def test_scores_that_are_gone_are_named(copy):
    shutil.rmtree(copy / "scores")
    with pytest.raises(DataError, match="scores: no "):
        verdict(copy)
