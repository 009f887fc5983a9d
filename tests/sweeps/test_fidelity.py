"""Attack strength as fidelity: cheap attacks decide who goes on, figures of rungs are never mixed."""

from __future__ import annotations

import pytest
import toy_runs
from pretend import Pretend, drive, search_space

from assay.config import reader
from assay.config.search import fidelity
from assay.data import splits
from assay.errors import SpecError
from assay.metrics import rungs
from assay.store import trials_table
from assay.store.store import Store
from assay.store.trial_log import Record
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial, TrialConfig

LADDER = [{"until": 1, "attack": "fgsm"}, {"until": 2, "attack": "pgd", "steps": 2}]
CHANGES = {
    "fidelity": {"ladder": LADDER, "check": 0.5},
    "stop_early": {"grace": 1, "reduction": 2},
    "evaluation": {"attack": "pgd", "steps": 4, "epsilon": "2/255", "every": 1},
}


class Laddered(Pretend):
    """Reports of a trial that climbs: at lower rungs nothing is kept."""

    def reports(self, order):
        for report in super().reports(order):
            rung = {1: "fgsm", 2: "pgd-2"}.get(report["epoch"])
            if rung:
                figures = dict(report["values"].items())
                checked = {"checked": figures if order.checked else {}}
                yield {**report, "kept": {"epoch": report["epoch"]}, "rung": rung, **checked}
            else:
                yield report


def spec(tmp_path, **changes):
    return search_space(tmp_path, "random", trials=12, **{**CHANGES, **changes})


@pytest.fixture
def training(tmp_path, own_cache):
    return splits.training_data(toy_runs.squares(root=str(tmp_path / "squares")))


def ran(tmp_path, training, **order) -> list[dict]:
    first = Study(spec(tmp_path), Store(tmp_path)).next_order()
    trial = Trial(TrialConfig(**{**first.__dict__, **order}), training, Store(tmp_path))
    reports = []
    while not reports or not reports[-1]["done"]:
        reports.append(trial.step())
    return reports


def test_each_rung_is_measured_by_its_own_attack_and_only_the_top_one_gives_objectives(tmp_path, training):
    weakest = {"until": 1, "attack": "noise"}
    reports = ran(tmp_path / "a", training, checked=True, ladder=(weakest, LADDER[1]))
    assert [(report["epoch"], report.get("rung", "")) for report in reports] == [
        (1, "noise"),
        (2, "pgd-2"),
        (3, ""),
        (4, ""),
    ]
    assert [set(report["kept"]) for report in reports] == [{"epoch"}] * 2 + [
        {"epoch", "clean_auroc", "robust_auroc"}
    ] * 2
    assert reports[3]["kept"]["epoch"] in (3, 4)
    full = ran(tmp_path / "b", training, ladder=())
    for climbed, plain in zip(reports[:2], full[:2], strict=True):
        assert climbed["checked"] == plain["values"]  # the same detector under the full attack
        assert climbed["values"]["clean_auroc"] == plain["values"]["clean_auroc"]
    first = Study(spec(tmp_path), Store(tmp_path / "d")).next_order()
    weak = ran(tmp_path / "d", training, ladder=(), evaluation=fidelity.at(first.evaluation, weakest))
    assert reports[0]["values"] == weak[0]["values"]
    assert reports[0]["values"]["robust_auroc"] > full[0]["values"]["robust_auroc"]
    assert [report["values"] for report in reports[2:]] == [report["values"] for report in full[2:]]
    assert ran(tmp_path / "c", training, checked=False)[0]["checked"] == {}


def test_a_trial_that_ends_below_the_top_rung_is_still_measured_by_the_full_attack(tmp_path, training):
    [last] = ran(tmp_path, training, ladder=({"until": 9, "attack": "fgsm"},))
    assert (last["epoch"], last["done"], last.get("rung", "")) == (4, True, "")
    assert last["kept"]["robust_auroc"] == last["values"]["robust_auroc"]


def test_trials_are_stopped_by_the_figures_of_their_rung_and_have_no_objectives(tmp_path):
    found = spec(tmp_path)
    study = drive(Study(found, Store(tmp_path)), Laddered())
    assert set(study.halving.rungs) == {1, 2}
    rows = trials_table.table(trials_table.trials(found, study.records)).to_pylist()
    stopped = [row for row in rows if row["state"] == "pruned"]
    assert {row["rung"] for row in stopped} == {"fgsm", "pgd-2"}
    assert {row["objective.robust_auroc"] for row in stopped} == {None}
    done = [row for row in rows if row["state"] == "complete"]
    assert done
    assert all(row["rung"] == "" and row["objective.robust_auroc"] is not None for row in done)


def test_a_resumed_sweep_rebuilds_the_rungs(tmp_path):
    found = spec(tmp_path)
    study = drive(Study(found, Store(tmp_path)), Laddered())
    again = Study(found, Store(tmp_path))
    assert again.halving.rungs == study.halving.rungs
    assert again.halving.stopped == study.halving.stopped != set()


def record(number: int, cheap: float, full: float | None, state: str = "pruned") -> Record:
    checked = {} if full is None else {"robust_auroc": full}
    report = {"epoch": 1, "values": {"robust_auroc": cheap}, "kept": {"epoch": 1}, "rung": "fgsm", "checked": checked}
    return Record(number, {}, {}, {}, reports=[report], state=state)


def test_the_quality_of_a_rung_names_what_it_lost_and_who_was_masked():
    figures = [(0.9, 0.3, "complete"), (0.5, 0.45, "pruned"), (0.6, 0.5, "complete"), (0.4, 0.55, "pruned")]
    records = {n: record(n, *figure) for n, figure in enumerate(figures)}
    records[4] = record(4, 0.1, None)
    [rung] = rungs.quality(records)
    assert (rung.passed, rung.stopped, rung.checked) == (5, 3, 4)
    assert rung.correlation == pytest.approx(-0.8)
    assert rung.regret == pytest.approx(0.05)
    assert rung.misled == {0: (0.9, 0.3)}
    assert "trial 0 falls from 0.900 to 0.300: the cheap attack misled" in str(rung)
    assert "needs 4 checked trials" in str(rungs.quality({4: records[4]})[0])


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        (
            {"fidelity": {"ladder": [LADDER[1], LADDER[0]]}},
            "fidelity.ladder.1.until",
            "more than that of the rung before, 2",
        ),
        (
            {"fidelity": {"ladder": [{"until": 1, "attack": "pgd", "steps": 99}]}},
            "fidelity.ladder.0.attack",
            "99 steps in all",
        ),
        (
            {"fidelity": {"ladder": [{"until": 4, "attack": "fgsm"}]}},
            "fidelity.ladder.0.until",
            "less than the epochs of a trial, 4",
        ),
        (
            {"fidelity": {"ladder": [{"until": 1, "attack": "pgd", "stps": 3}]}},
            "fidelity.ladder.0.stps",
            "did you mean 'steps'",
        ),
        ({"fidelity": {"ladder": []}}, "fidelity.ladder", "at least 1"),
        (
            {"fidelity": {"ladder": [{**LADDER[0], "train": 0.5}, {**LADDER[1], "train": 0.25}]}},
            "fidelity.ladder.1.train",
            "less than that of the rung before, 0.5",
        ),
        (
            {"fidelity": {"ladder": [LADDER[0], {**LADDER[1], "image_size": 16}]}},
            "fidelity.ladder.1.image_size",
            "less than that of the rung before, whole images",
        ),
        ({"fidelity": {"ladder": [{**LADDER[0], "train": 0}]}}, "fidelity.ladder.0.train", "more than 0"),
        ({"fidelity": {"ladder": [{**LADDER[0], "image_size": 8}]}}, "fidelity.ladder.0.image_size", "at least 16"),
        ({"stop_early": None}, "fidelity", "needs stop_early"),
        ({"stop_early": {"grace": 2}}, "stop_early.grace", "the first rung"),
    ],
)
def test_a_ladder_that_does_not_rise_is_a_fault(tmp_path, changes, key, words):
    with pytest.raises(SpecError) as raised:
        spec(tmp_path, **changes)
    assert [fault for fault in raised.value.faults if fault.key == key and words in fault.allowed], str(raised.value)


def test_a_stored_ladder_is_read_as_it_was_written(tmp_path):
    found = spec(tmp_path)
    assert found.plain()["fidelity"]["ladder"][1]["steps"] == 2
    assert reader.check(found.plain(), "stored").hash == found.hash
