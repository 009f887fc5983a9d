"""No configuration is trained twice in a sweep, whatever sampler draws them and wherever it was killed."""

from __future__ import annotations

import pytest
from pretend import FINITE, Pretend, drive, outcome, search_space

from assay.hashing import canonical
from assay.store import trial_log
from assay.store.store import Store
from assay.sweeps.study import Study

SAMPLERS = ("tpe", "random", "nsga2", "grid", "qmc")


def tried(study: Study) -> list[bytes]:
    return [canonical(record.assignment) for record in study.records.values()]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_finite_space_is_gone_through_once_and_then_the_sweep_ends(tmp_path, sampler):
    found = search_space(tmp_path, sampler, trials=50, space=FINITE)
    study = drive(Study(found, Store(tmp_path)), Pretend(fails=(1,)))
    assert len(set(tried(study))) == len(tried(study)) == found.trials == 8
    assert study.ended
    assert "8 trials" in found.summary()
    assert "no more configurations, and 50 trials were asked for" in found.summary()


@pytest.mark.parametrize("sampler", SAMPLERS[:3])
def test_an_option_without_parameters_is_tried_once_beside_one_that_has_endless_ones(tmp_path, sampler):
    space = {"pseudo_anomaly": {"choice": ["rotation", {"cutpaste": {"area": {"uniform": [0.02, 0.15]}}}]}}
    study = drive(Study(search_space(tmp_path, sampler, trials=20, space=space), Store(tmp_path)), Pretend())
    names = [record.parameters["pseudo_anomaly"] for record in study.records.values()]
    assert len(names) == 20
    assert names.count("rotation") == 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sweep_that_had_to_draw_again_can_be_killed_anywhere(tmp_path, sampler):
    found = search_space(tmp_path, sampler, trials=6, space=FINITE)
    whole = drive(Study(found, Store(tmp_path / "whole")), Pretend())
    lines = whole.store.read("sweeps/toy/log/0000.jsonl").splitlines(keepends=True)
    for cut in range(1, len(lines), 3):
        store, workers = Store(tmp_path / f"{cut}"), Pretend()
        store.write("sweeps/toy/log/0000.jsonl", b"".join(lines[:cut]))
        for record in trial_log.records(trial_log.read(store, "toy")).values():
            if record.state == "running" and record.reports:
                workers.saved[record.number] = record.reports[-1]
        assert outcome(drive(Study(found, store), workers)) == outcome(whole), f"killed after {cut} events"


def test_a_sweep_of_the_time_when_repeats_ran_has_nothing_left_to_do(tmp_path):
    found = search_space(tmp_path, "random", trials=8, space=FINITE)
    study = drive(Study(found, Store(tmp_path)), Pretend())
    lines = study.store.read("sweeps/toy/log/0000.jsonl").splitlines()
    again = [line.replace(b'"trial": 7', b'"trial": 8') for line in lines if b'"trial": 7,' in line]
    study.store.write("sweeps/toy/log/0000.jsonl", b"\n".join([*lines, *again, b""]))
    resumed = Study(found, study.store)
    assert len(resumed.records) == 9
    assert resumed.remaining == 0
    assert resumed.ended
