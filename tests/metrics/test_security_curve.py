"""The area under a security curve, the smallest epsilon of each sample, and the sections that show them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from assay import shelves
from assay.audits.minimal_epsilon_job import MinimalEpsilonJob
from assay.contracts import Images
from assay.errors import DataError
from assay.metrics.security_curve import Quartiles, areas, quartiles
from assay.models import model_folder
from assay.store import parquet
from assay.store.audit_reader import Audit
from assay.store.schemas import METRICS, MINIMAL
from assay.store.store import Store

# The area


def point(attack: str, epsilon: float, value: float, **changes: Any) -> dict[str, Any]:
    where = {"attack": attack, "norm": "linf", "epsilon": epsilon, "regime": "both", "defect": "all", "metric": "auroc"}
    bounds = {"lower": value - 0.1, "upper": value + 0.05, "confidence": 0.95, "normals": 20, "anomalies": 30}
    return {**where, "value": value, **bounds, **changes}


CLEAN = point("clean", 0.0, 0.9, norm="", regime="")


def areas_of(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return areas(pa.Table.from_pylist([CLEAN, *rows], schema=METRICS)).to_pylist()


def test_the_area_of_the_worst_case_is_made_of_trapezoids_from_the_clean_figure_on():
    [row] = areas_of(point("worst", 4.0, 0.1), point("worst", 1.0, 0.5))  # in any order
    assert row["value"] == pytest.approx((1 * 0.7 + 3 * 0.3) / 4)
    assert (row["lower"], row["upper"]) == (pytest.approx(row["value"] - 0.1), pytest.approx(row["value"] + 0.05))
    where = {"attack": "worst", "norm": "linf", "epsilon": 4.0, "regime": "both", "defect": "all"}
    assert row.items() >= (where | {"metric": "curve_area", "confidence": 0.95, "normals": 20, "anomalies": 30}).items()


def test_a_floor_is_nowhere_above_what_is_proven():
    [row] = areas_of(point("certified", 1.0, 0.5), point("certified", 4.0, 0.1))
    assert row["value"] == pytest.approx((1 * 0.5 + 3 * 0.1) / 4)


def test_every_norm_regime_and_defect_with_a_clean_figure_has_an_area_and_nothing_else_has():
    rows = [
        point("worst", 1.0, 0.5), point("worst", 1.0, 0.5, norm="l2"), point("worst", 1.0, 0.5, regime="evasion"),
        point("worst", 1.0, 0.5, defect="crack"), point("worst", 1.0, 0.5, defect="never clean"),
        point("clean", 0.0, 0.9, norm="", regime="", defect="crack"),
        point("apgd", 1.0, 0.5), point("worst", 1.0, 0.5, metric="fpr95"),
        point("worst", 5.0, 0.5, norm="corruption", regime="natural"),
    ]  # fmt: skip
    found = {(row["norm"], row["regime"], row["defect"]) for row in areas_of(*rows)}
    assert found == {
        ("linf", "both", "all"),
        ("l2", "both", "all"),
        ("linf", "evasion", "all"),
        ("linf", "both", "crack"),
    }
    assert areas_of() == []


# The smallest epsilon


class Linear(nn.Module):
    """A score whose smallest epsilon is known: its distance from the threshold over the dual norm of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-0.5, 1, 16), requires_grad=False)
        self.seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return images.flatten(1) @ self.weight


EPSILONS = (1 / 255, 2 / 255, 4 / 255, 8 / 255)


def images() -> Images:
    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 156, (12, 1, 4, 4), dtype=np.uint8)
    labels = np.arange(12) % 2
    return Images(pixels, labels, tuple(f"s{i}" for i in range(12)), ("x",) * 12, tuple(f"h{i}" for i in range(12)))


def work(**changes: Any) -> MinimalEpsilonJob:
    scores = Linear()(torch.from_numpy(images().pixels).float() / 255)
    about = {"audit": "a", "model": "m", "dataset": "d", "seed": 0, "threshold": float(scores.median())}
    start = MinimalEpsilonJob(**about, images=images(), norm="linf", epsilons=EPSILONS)
    return dataclasses.replace(start, **changes)


def search(job: MinimalEpsilonJob, detector: nn.Module) -> pa.Table:
    [found] = job.compute(job.images, detector)
    return found


@pytest.mark.parametrize(("norm", "dual", "epsilons"), [("linf", 1, EPSILONS), ("l2", 2, (0.01, 0.05, 0.2))])
def test_what_is_found_is_the_true_distance_up_to_the_last_halving(norm, dual, epsilons):
    one = work(norm=norm, epsilons=epsilons)
    rows = search(one, Linear()).to_pylist()
    length = float(Linear().weight.norm(p=dual))
    grid = (0.0, *epsilons)
    kinds = set()
    for row in rows:
        exact = abs(row["clean_score"] - one.threshold) / length
        wrong = (row["clean_score"] > one.threshold) != (row["label"] == 1)
        assert row["clean_correct"] == (not wrong)
        if wrong:
            kinds.add("wrong")
            assert (row["epsilon"], row["forwards"], row["backwards"]) == (0.0, 1, 0), "nothing is spent on it"
        elif exact > epsilons[-1]:
            kinds.add("never")
            assert row["epsilon"] == math.inf
        else:
            kinds.add("found")
            piece = next(b - a for a, b in itertools.pairwise(grid) if exact <= b)
            assert exact * 0.999 <= row["epsilon"] <= exact + piece / 2**one.halvings + 1e-3 * piece
            assert row["backwards"] > 0
    assert {"wrong", "found"} <= kinds
    assert all(row["largest"] == epsilons[-1] for row in rows)


def test_only_samples_that_are_undecided_are_attacked():
    detector = Linear()
    rows = search(work(halvings=0), detector).to_pylist()
    assert detector.seen == sum(row["forwards"] for row in rows)
    spent = {row["epsilon"]: row["forwards"] for row in rows if row["clean_correct"]}
    assert len(spent) > 1
    assert [spent[epsilon] for epsilon in sorted(spent)] == sorted(set(spent.values())), "more for those further away"
    assert {row["forwards"] for row in rows if not row["clean_correct"]} == {1}


def test_a_sample_that_no_epsilon_turns_is_infinitely_far():
    rows = search(work(epsilons=(1e-6,)), Linear()).to_pylist()
    assert {row["epsilon"] for row in rows} == {0.0, math.inf}


def test_slices_and_seeds_make_keys_and_a_part_is_computed_once(tmp_path, monkeypatch):
    store = Store(tmp_path)
    monkeypatch.setattr(model_folder, "loaded", lambda root, name, device: Linear())
    one = work()
    assert one.run(str(tmp_path)) > 0
    assert one.done(store)
    assert one.run(str(tmp_path)) == 0.0
    table = parquet.load(store, one.key, MINIMAL)
    assert len(table) == 12
    assert all(column.null_count == 0 for column in table.columns)
    changes = [
        {"norm": "l2"}, {"epsilons": (0.1,)}, {"threshold": 0.0}, {"seed": 1}, {"steps": 3},
        {"halvings": 1}, {"model": "x"}, {"dataset": "x"},
    ]  # fmt: skip
    assert len({work(**change).key for change in changes} | {one.key}) == 9
    assert not store.exists(one.note_key)


def minimal(epsilons: list[float], label: int = 1, norm: str = "linf", largest: float = 8 / 255, **more) -> pa.Table:
    rows = [
        {
            "sample": f"{label}{i}",
            "label": label,
            "norm": norm,
            "epsilon": e,
            "clean_correct": e > 0,
            "largest": largest,
        }
        for i, e in enumerate(epsilons)
    ]
    return pa.Table.from_pylist([row | more for row in rows], schema=MINIMAL)


def test_quartiles_say_by_which_epsilon_so_many_were_turned_and_leave_out_those_that_were_wrong_anyway():
    [row] = quartiles(minimal([0.0, 0.01, 0.03, 0.02, math.inf]))
    bounds = ((0.0, math.inf), (0.0, math.inf), (0.01, math.inf))  # 4 samples say of one quartile that it is no less
    assert row == Quartiles("linf", 1, 4, 0.01, 0.02, 0.03, largest=8 / 255, intervals=bounds)
    [row] = quartiles(minimal([0.01, math.inf, math.inf]))
    assert (row.quarter, row.half) == (0.01, math.inf)
    both = quartiles(pa.concat_tables([minimal([0.1], 0), minimal([0.2], 1), minimal([0.3], 1, "l2")]))
    assert [(row.norm, row.label) for row in both] == [("l2", 1), ("linf", 0), ("linf", 1)]
    assert quartiles(MINIMAL.empty_table()) == quartiles(minimal([0.0])) == []


def test_quartiles_have_intervals_that_hold_the_true_ones_whatever_the_distribution():
    rng = np.random.default_rng(0)
    true = [math.inf if u > 0.7 else u for u in (0.25, 0.5, 0.75)]
    missed = np.zeros((2, 3))
    for _ in range(600):
        drawn = rng.random(40)
        [row] = quartiles(minimal(np.where(drawn > 0.7, math.inf, drawn).tolist(), largest=0.7))
        missed[0] += [low > cut for (low, _), cut in zip(row.intervals, true, strict=True)]
        missed[1] += [high < cut for (_, high), cut in zip(row.intervals, true, strict=True)]
        assert all(low <= cut <= high for (low, high), cut in zip(row.intervals, row[3:6], strict=True))
    assert (missed / 600 <= 0.045).all()
    assert row.intervals[0][1] < math.inf
    assert row.intervals[2][1] == math.inf, "three quarters are not turned"


# The sections


def said(folder, name: str) -> str:
    html = str(shelves.load("sections", name)(Audit(folder)).html)
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def add(folder, *rows: dict[str, Any]) -> None:
    path = folder / "metrics.parquet"
    table = pq.ParquetFile(path).read()
    pq.write_table(pa.concat_tables([table, pa.Table.from_pylist(list(rows), schema=table.schema)]), path)


def certified_of(folder) -> list[dict[str, Any]]:
    rows = pq.ParquetFile(folder / "metrics.parquet").read().to_pylist()
    return [
        {**row, "attack": "certified", "value": row["value"] - 0.25}
        for row in rows
        if (row["attack"], row["norm"], row["metric"], row["defect"]) == ("worst", "l2", "auroc", "all")
    ]


def test_the_floor_is_drawn_under_the_curve_with_the_width_of_the_bracket(audit_folder):
    assert "certified floor" not in said(audit_folder, "security_curves")
    assert "The audit measured no area" in said(audit_folder, "security_numbers")
    rows = certified_of(audit_folder)
    add(audit_folder, *rows)
    text = said(audit_folder, "security_curves")
    assert "bracket 0.25 to 0.25 wide" in text
    assert "The certified floor is proven" in text
    numbers = said(audit_folder, "security_numbers")
    for row in rows:
        ends = f"[{row['lower']:.3f}, {row['upper']:.3f}]"  # the rows keep the interval of the worst case
        assert f"{row['value']:.3f} {ends} {row['value'] + 0.25:.3f} {ends} 0.250" in numbers
    assert "contradiction" not in numbers


def test_a_floor_above_the_worst_case_is_told(audit_folder):
    add(audit_folder, *({**row, "value": row["value"] + 0.3} for row in certified_of(audit_folder)))
    assert "-0.050 (a contradiction: a bound or a score is wrong)" in said(audit_folder, "security_numbers")


def test_gates_on_the_worst_case_are_marked_where_there_is_a_verdict(audit_folder, verdict_of):
    verdict = verdict_of("FAIL")
    figure = {
        "metric": "auroc",
        "attack": "worst",
        "norm": "linf",
        "epsilon": 2 / 255,
        "regime": "both",
        "defect": "all",
    }
    verdict["gates"][1]["figure"] = figure
    (audit_folder / "verdict.json").write_text(json.dumps(verdict))
    text = said(audit_folder, "security_curves")
    assert text.count("gate FAIL: robust-auroc") == 1, "in the panel of its norm"
    assert "Gates: a bar at the limit" in text


def test_areas_and_the_epsilons_that_turn_decisions_are_told(audit_folder):
    metrics = pq.ParquetFile(audit_folder / "metrics.parquet").read()
    area = next(row for row in areas(metrics).to_pylist() if (row["norm"], row["regime"]) == ("linf", "both"))
    add(audit_folder, area)
    parts = audit_folder / "minimal" / "norm=linf"
    parts.mkdir(parents=True)
    pq.write_table(minimal([1 / 255, 2 / 255, 3 / 255, 9], 0), parts / "part-a.parquet")
    pq.write_table(minimal([1 / 255, math.inf, math.inf], 1), parts / "part-b.parquet")
    text = said(audit_folder, "security_numbers")
    assert f"{area['value']:.3f} [{area['lower']:.3f}, {area['upper']:.3f}]" in text
    assert "1/255, 2/255, 3/255" in text
    assert "1/255, &gt; 8/255, &gt; 8/255" in text
    assert "[0/255, &gt; 8/255], [0/255, &gt; 8/255], [1/255, &gt; 8/255]" in text, "so few samples bound hardly any"
    assert "95% intervals, from order statistics" in text
    assert "L2" not in text, "nothing was measured of it"


def test_minimal_epsilons_that_cannot_be_read_are_named(audit_folder):
    parts = audit_folder / "minimal" / "norm=linf"
    parts.mkdir(parents=True)
    (parts / "part-a.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"minimal.*damaged.*assay audit"):
        said(audit_folder, "security_numbers")


def test_patches_are_a_table_and_no_curve(audit_folder):
    before = str(shelves.load("sections", "security_curves")(Audit(audit_folder)).html).count("<svg")
    where = {"norm": "patch", "epsilon": 0.02, "defect": "all", "metric": "auroc", "confidence": 0.95, "normals": 30,
             "anomalies": 30}  # fmt: skip
    regimes = {"evasion": 0.7, "false_alarm": 0.6, "both": 0.5}
    add(
        audit_folder,
        *(
            {**where, "attack": "worst", "regime": r, "value": v, "lower": v - 0.1, "upper": v + 0.1}
            for r, v in regimes.items()
        ),
    )
    assert str(shelves.load("sections", "security_curves")(Audit(audit_folder)).html).count("<svg") == before
    text = said(audit_folder, "security_numbers")
    assert "patch 2 % worst case 0.700 [0.600, 0.800] 0.600 [0.500, 0.700] 0.500 [0.400, 0.600]" in text
