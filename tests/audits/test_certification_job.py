"""The certifying work of an audit, its figures, and the bracket they make with what was attacked."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from assay.audits.certification_job import CertificationJob
from assay.contracts import Images
from assay.errors import DataError
from assay.metrics import certified as certified_floor
from assay.models import model_folder
from assay.shelves import Item
from assay.store import parquet, schemas
from assay.store.figures import Figure
from assay.store.store import Store
from trainables.neighbours import NeighbourBank

LABELS = np.array([0, 0, 1, 1])
IDS = ("n0", "n1", "a0", "a1")


def images(count: int = 4) -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    kinds = tuple("crack" if label else "normal" for label in LABELS[:count])
    return Images(pixels, LABELS[:count], IDS[:count], kinds, tuple(f"h{i}" for i in range(count)))


WHERE = {"audit": "a", "model": "m", "dataset": "d", "seed": 0}


def work(**changes: Any) -> CertificationJob:
    start = CertificationJob(**WHERE, images=images(), norm="l2", radii=(0.1, 0.3), confidence=0.99, among=8)
    return dataclasses.replace(start, **changes)


def certify(job: CertificationJob, detector: Any) -> pa.Table:
    [found] = job.compute(job.images, detector)
    return found


class Told:
    """A detector that notes what it was asked and bounds everything by -1 and 1."""

    CERTIFIES = ("l2",)

    def certify(self, images, norm, radii, random, confidence):
        self.asked = (len(images), norm, radii.tolist(), confidence, [one.initial_seed() for one in random])
        ones = torch.ones(len(images), len(radii), dtype=torch.float64)
        return -ones, ones


# The work


def test_what_may_fail_is_shared_among_the_slices_by_their_size():
    detector = Told()
    table = certify(work(), detector)
    assert detector.asked[:4] == (4, "l2", [0.1, 0.3], pytest.approx(1 - 0.01 * 4 / 8))
    assert set(table["confidence"].to_pylist()) == {0.99}, "the table states that of all the bounds"
    first = detector.asked[-1]
    assert len(set(first)) == 4, "every image has noise of its own"
    certify(work(seed=1), detector)
    assert not set(detector.asked[-1]) & set(first)


def test_a_row_for_every_sample_and_radius():
    table = certify(work(), Told())
    assert table.schema == schemas.CERTIFIED
    assert [(row["sample"], row["radius"]) for row in table.to_pylist()] == [(i, r) for r in (0.1, 0.3) for i in IDS]
    assert all(column.null_count == 0 for column in table.columns)


@pytest.mark.parametrize("wrong", ["nan", "order", "shape"])
def test_bounds_that_are_none_are_an_error(wrong):
    class Wrong(Told):
        def certify(self, images, *rest):
            lower, upper = super().certify(images, *rest)
            return {"nan": (lower * math.nan, upper), "order": (upper, lower), "shape": (lower[:, :1], upper)}[wrong]

    with pytest.raises(DataError, match=r"bounds of 4 images at 2 radii must be two tensors \(4, 2\)"):
        certify(work(), Wrong())


def test_the_key_is_made_of_everything_that_decides_the_bounds():
    others = [
        work(model="x"), work(dataset="x"), work(norm="linf"), work(radii=(0.1,)), work(confidence=0.9), work(among=9),
        work(images=images(3)), work(seed=1),
    ]  # fmt: skip
    keys = {one.key for one in [work(), *others]}
    assert len(keys) == 9
    assert work().key == work().key
    assert all(key.startswith("audits/a/certified/certified-l") for key in keys)


def test_it_is_computed_once_from_the_model_in_the_store(tmp_path):
    store = Store(tmp_path)
    backbone = {"name": "pixels", "side": 4}
    detector = NeighbourBank(Item("backbones", "pixels", {"side": 4}), 1, 2, "cosine")
    detector.bank = detector.features(torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    about = {"parameters": {"backbone": backbone, "k": 2, "distance": "cosine"}, "threshold": {"value": 0.0}}
    name = model_folder.write(store, detector, {"trainable": "neighbours", "channels": 1, "image_size": 8, **about})
    one = work(model=name)
    assert not one.done(store)
    assert one.run(str(tmp_path)) > 0
    assert one.done(store)
    assert one.run(str(tmp_path)) == 0.0
    rows = parquet.load(store, one.key, schemas.CERTIFIED).to_pylist()
    with torch.no_grad():
        clean = detector(torch.from_numpy(images().pixels).float() / 255).tolist()
    assert all(row["lower"] < clean[IDS.index(row["sample"])] < row["upper"] for row in rows)
    assert one.label == "certified-l2"


# The figures


def bounds(lower: list[float], upper: list[float], radius: float = 0.1) -> pa.Table:
    rows = [
        {"sample": i, "label": int(y), "norm": "l2", "radius": radius, "lower": low, "upper": high}
        for i, y, low, high in zip(IDS, LABELS, lower, upper, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=schemas.CERTIFIED)


SCORES = pa.table({"sample": list(IDS), "clean_score": [0.1, 0.2, 0.6, 0.8]})


def found(certified: pa.Table, threshold: float = 0.5) -> dict[tuple[str, str], float]:
    rows = certified_floor.figures(certified, SCORES, threshold=threshold, replicates=50).to_pylist()
    assert {(row["attack"], row["norm"], row["defect"]) for row in rows} == {("certified", "l2", "all")}
    assert all(row["lower"] <= row["value"] <= row["upper"] for row in rows)
    assert {(row["normals"], row["anomalies"], row["confidence"]) for row in rows} == {(2, 2, 0.95)}
    return {(row["regime"], row["metric"]): row["value"] for row in rows}


def test_anomalies_count_with_their_lower_bound_and_normals_with_their_upper_one():
    figures = found(bounds([-9, -9, 0.15, 0.7], [0.3, 0.55, 9, 9]))
    assert figures["evasion", "auroc"] == 0.75  # 0.15 and 0.7 against the clean 0.1 and 0.2
    assert figures["false_alarm", "auroc"] == 1.0  # 0.6 and 0.8 against 0.3 and 0.55
    assert figures["both", "auroc"] == 0.5  # 0.15 and 0.7 against 0.3 and 0.55
    assert figures["evasion", "miss_rate"] == figures["both", "miss_rate"] == 0.5
    assert figures["false_alarm", "false_alarm_rate"] == figures["both", "false_alarm_rate"] == 0.5
    assert figures["evasion", "false_alarm_rate"] == figures["false_alarm", "miss_rate"] == 0.0


def test_without_any_bound_the_figures_are_the_worst_there_are():
    figures = found(bounds([-math.inf] * 4, [math.inf] * 4))
    assert [figures[regime, "auroc"] for regime in ("evasion", "false_alarm", "both")] == [0.0, 0.0, 0.0]
    assert figures["both", "miss_rate"] == figures["both", "false_alarm_rate"] == figures["both", "fpr95"] == 1.0
    assert figures["evasion", "false_alarm_rate"] == 0.0


def test_every_radius_has_its_figures():
    both = pa.concat_tables([bounds([0] * 4, [1] * 4), bounds([-math.inf] * 4, [math.inf] * 4, radius=0.2)])
    rows = certified_floor.figures(both, SCORES, threshold=0.5, replicates=50, confidence=0.9).to_pylist()
    assert {(row["epsilon"], row["confidence"]) for row in rows} == {(0.1, 0.9), (0.2, 0.9)}
    assert len(rows) == 2 * 3 * 5


def test_a_sample_without_a_clean_score_is_an_error():
    with pytest.raises(DataError, match="1 certified samples were not attacked, such as a1"):
        certified_floor.figures(bounds([0] * 4, [1] * 4), SCORES.slice(0, 3), threshold=0.5)


# The bracket


def figure(attack: str, value: float, **changes: Any) -> Figure:
    where = {"attack": attack, "norm": "l2", "epsilon": 0.1, "regime": "both", "defect": "all", "metric": "auroc"}
    rest = {"lower": 0.0, "upper": 1.0, "confidence": 0.95, "normals": 20, "anomalies": 30}
    return Figure(**{**where, "value": value, **rest, **changes})


def test_the_truth_lies_between_what_is_proven_and_what_was_seen():
    rates = {"metric": "miss_rate"}
    figures = [
        figure("certified", 0.4), figure("worst", 0.7), figure("apgd", 0.75),
        figure("certified", 0.9, **rates), figure("worst", 0.3, **rates),
        figure("worst", 0.6, epsilon=0.2), figure("certified", 0.2, norm="linf"), figure("worst", 0.1, defect="crack"),
    ]  # fmt: skip
    auroc, missed = certified_floor.brackets(figures)
    assert auroc == certified_floor.Bracket("l2", 0.1, "both", "auroc", lower=0.4, upper=0.7)
    assert auroc.width == pytest.approx(0.3)
    assert (missed.lower, missed.upper, missed.width) == (0.3, 0.9, pytest.approx(0.6))


def test_a_radius_is_compared_with_an_epsilon_up_to_rounding():
    figures = [figure("certified", 0.4, epsilon=0.3), figure("worst", 0.7, epsilon=0.1 + 0.2)]
    assert [one.width for one in certified_floor.brackets(figures)] == [pytest.approx(0.3)]


def test_a_contradiction_has_a_width_below_0():
    [one] = certified_floor.brackets([figure("certified", 0.8), figure("worst", 0.7)])
    assert one.width == pytest.approx(-0.1)
