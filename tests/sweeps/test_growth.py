"""A sweep that grows while it stands: more trials, added options, wider ranges, and nothing else."""

from __future__ import annotations

import pytest
from pretend import Pretend, drive, outcome, search_space

from assay.errors import SweepError
from assay.store.growth import growth
from assay.store.store import Store
from assay.sweeps.study import Study

OLD = {
    "learning_rate": {"loguniform": [0.001, 0.1]},
    "pseudo_anomaly": {"choice": [{"cutpaste": {"area": {"uniform": [0.02, 0.15]}}}, "rotation"]},
}
NEW = {
    "learning_rate": {"loguniform": [0.0001, 0.1]},
    "pseudo_anomaly": {"choice": [{"cutpaste": {"area": {"uniform": [0.02, 0.3]}}}, "rotation", "perlin"]},
}


def spec(tmp_path, sampler="tpe", trials=6, **changes):
    return search_space(tmp_path, sampler, trials, **{"space": OLD, **changes})


def test_what_grew_is_told(tmp_path):
    assert growth(spec(tmp_path), spec(tmp_path)) == []
    assert growth(spec(tmp_path), spec(tmp_path, trials=9, space=NEW)) == [
        "search.trials: 6 -> 9",
        'learning_rate: {"loguniform": [0.001, 0.1]} -> {"loguniform": [0.0001, 0.1]}',
        "pseudo_anomaly: option perlin added",
        'pseudo_anomaly.cutpaste.area: {"uniform": [0.02, 0.15]} -> {"uniform": [0.02, 0.3]}',
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trials": 3}, "search.trials is 3, fewer than the 6 of before"),
        ({"space": {**OLD, "learning_rate": {"loguniform": [0.01, 0.1]}}}, "learning_rate: "),
        ({"space": {**OLD, "learning_rate": {"uniform": [0.001, 0.1]}}}, "learning_rate: "),
        ({"space": {**OLD, "pseudo_anomaly": {"choice": ["rotation"]}}}, "option cutpaste is gone"),
        ({"space": {"learning_rate": OLD["learning_rate"]}}, "pseudo_anomaly is gone from the space"),
        ({"fixed": {"epochs": 5}}, "fixed differs"),
        ({"evaluation": {"attack": "fgsm", "epsilon": "2/255", "every": 1}}, "evaluation differs"),
        ({"sampler": "random"}, "search.sampler differs"),
    ],
)
def test_any_other_change_is_refused(tmp_path, changes, words):
    with pytest.raises(SweepError) as raised:
        growth(spec(tmp_path), spec(tmp_path, **changes))
    assert words in str(raised.value)
    assert "search.start_from" in str(raised.value)


def test_a_sobol_sequence_is_of_one_space_but_may_get_longer(tmp_path):
    assert growth(spec(tmp_path, "qmc"), spec(tmp_path, "qmc", trials=9)) == ["search.trials: 6 -> 9"]
    with pytest.raises(SweepError, match="the points of qmc are of one space"):
        growth(spec(tmp_path, "qmc"), spec(tmp_path, "qmc", space=NEW))


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random"])
def test_a_grown_sweep_keeps_its_trials_and_draws_from_the_larger_space(tmp_path, sampler):
    before = drive(Study(spec(tmp_path, sampler), Store(tmp_path)), Pretend())
    grown = drive(Study(spec(tmp_path, sampler, trials=30, space=NEW), Store(tmp_path)), Pretend())
    assert outcome(grown)[:6] == outcome(before)
    assert len(grown.records) == 30
    new = [record.parameters for record in list(grown.records.values())[6:]]
    assert any(one["pseudo_anomaly"] == "perlin" or one["learning_rate"] < 0.001 for one in new)
    again = Study(spec(tmp_path, sampler, trials=30, space=NEW), Store(tmp_path))
    assert again.ended
    assert outcome(again) == outcome(grown)
