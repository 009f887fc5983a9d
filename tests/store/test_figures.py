"""Figures of an audit as records: written, read, and found by an epsilon that arithmetic has rounded another way."""

from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.store import figures
from assay.store.audit_reader import Audit, ThreatBudget
from assay.store.figures import Figure
from assay.store.schemas import METRICS
from assay.units import epsilon_key

FIGURE = Figure("worst", "linf", 2 / 255, "both", "all", "auroc", 0.7, 0.6, 0.8, 0.95, 20, 30)


def test_what_is_written_is_read_again():
    other = FIGURE._replace(attack="clean", norm="", epsilon=0.0, regime="")
    table = figures.table([FIGURE, other])
    assert table.schema.equals(METRICS)
    assert figures.read(table) == [FIGURE, other]
    assert figures.read(figures.table([])) == []


def test_a_missing_number_is_nan():
    [found] = figures.read(pa.Table.from_pylist([{**FIGURE._asdict(), "lower": None}], schema=METRICS))
    assert math.isnan(found.lower)
    assert found.value == 0.7


@pytest.mark.parametrize(("one", "other"), [(0.1 + 0.2, 0.3), (3 * (2 / 255), 6 / 255), (1 - 0.9, 0.1)])
def test_epsilons_that_differ_by_rounding_have_one_key(one, other):
    assert epsilon_key(one) == epsilon_key(other)


def test_epsilons_that_differ_have_different_keys():
    keys = {epsilon_key(n / 255 + shift) for n in range(256) for shift in (0, 1e-6)}
    assert len(keys) == 512


def test_an_audit_finds_figures_and_scores_at_an_epsilon_rounded_another_way(audit_folder):
    path = audit_folder / "metrics.parquet"
    found = figures.read(pq.ParquetFile(path).read())
    pq.write_table(figures.table(f._replace(epsilon=f.epsilon + 1e-17) for f in found), path)
    audit, rounded = Audit(audit_folder), ThreatBudget("l2", 0.1 + 0.2 - 0.05)
    assert rounded.epsilon != 0.25
    assert audit.attacked("auroc", rounded) == audit.attacked("auroc", ThreatBudget("l2", 0.25)) is not None
    assert len(audit.worst_scores(rounded)[0]) == 60
