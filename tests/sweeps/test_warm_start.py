"""What a sweep begins with: configurations by hand, and the trials of earlier sweeps."""

from __future__ import annotations

import pytest
import toy_runs
import yaml
from pretend import Pretend, drive, outcome, search_space

from assay.config import reader
from assay.errors import SpecError, UnknownName
from assay.store.store import Store
from assay.sweeps.study import Study


def stored(tmp_path, name: str, trials: int = 6, **changes) -> Store:
    store = Store(tmp_path)
    raw = toy_runs.search_space(tmp_path, search={"sampler": "random", "trials": trials, "seed": 1}, **changes)
    spec = reader.check({**raw, "name": name}, "earlier.yaml")
    drive(Study(spec, store), Pretend(fails=(1,)))
    store.write(f"sweeps/{name}/spec.yaml", yaml.safe_dump(spec.plain()).encode())
    return store


def following(tmp_path, *names: str, sampler: str = "tpe", **changes):
    search = {"sampler": sampler, "trials": 4, "seed": 3, "startup": 3, "start_from": list(names)}
    return search_space(tmp_path, search=search, **changes)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random", "qmc"])
def test_trials_of_an_earlier_sweep_are_shown_to_the_sampler_and_kept_in_the_log(tmp_path, sampler):
    store, found = stored(tmp_path, "first"), following(tmp_path, "first", sampler=sampler)
    study = Study(found, store)
    said = study.start_from()
    assert said == ["start_from: 5 of 5 complete trials of first; 0 lie outside this space"]
    assert study.earlier == 5
    drive(study, Pretend())
    assert sorted(study.records) == [0, 1, 2, 3]
    assert [trial.state.name for trial in study.study.get_trials()] == ["COMPLETE"] * 9
    store.remove("sweeps/first/spec.yaml")  # the log has all that a resumed sweep needs
    again = Study(found, store)
    assert again.ended
    assert again.study.get_trials()[4].values == study.study.get_trials()[4].values
    assert again.window.shown() == list(range(9))


def test_it_changes_what_is_asked_for(tmp_path):
    store, found = stored(tmp_path, "first", trials=12), following(tmp_path, "first")
    warm = Study(found, store)
    warm.start_from()
    cold = drive(Study(found, Store(tmp_path / "cold")), Pretend())
    assert outcome(drive(warm, Pretend()))[0] != outcome(cold)[0]  # past the random trials from the first on


def test_trials_outside_the_new_space_are_left_out_and_told(tmp_path):
    space = {
        "learning_rate": {"loguniform": [0.001, 0.01]},
        "pseudo_anomaly": toy_runs.search_space(tmp_path)["space"]["pseudo_anomaly"],
    }
    store, found = stored(tmp_path, "first", trials=12), following(tmp_path, "first", space=space)
    study = Study(found, store)
    [said] = study.start_from()
    assert 0 < study.earlier < 11
    assert (
        said
        == f"start_from: {study.earlier} of 11 complete trials of first; {11 - study.earlier} lie outside this space"
    )
    assert all(trial.params["learning_rate"] <= 0.01 for trial in study.study.get_trials())


def test_a_sweep_measured_otherwise_is_not_used_and_that_is_told(tmp_path):
    other = {"attack": "pgd", "epsilon": "1/255", "every": 1}
    store, found = stored(tmp_path, "first", evaluation=other), following(tmp_path, "first")
    study = Study(found, store)
    assert study.start_from() == ["start_from: nothing is taken from first, whose evaluation differ"]
    assert study.earlier == 0


def test_an_earlier_sweep_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(UnknownName, match="sweep 'gone' is not known"):
        Study(following(tmp_path, "gone"), Store(tmp_path)).start_from()


def test_configurations_by_hand_come_first_and_what_they_leave_out_is_drawn(tmp_path):
    entries = [
        {"learning_rate": 0.02, "pseudo_anomaly": "rotation"},
        {"pseudo_anomaly": {"cutpaste": {"area": "1/10"}}},
        {"learning_rate": 0.02, "pseudo_anomaly": {"rotation": {}}},  # the first again: something else is drawn
    ]
    found = search_space(tmp_path, search={"trials": 4, "seed": 3, "startup": 3, "enqueue": entries})
    records = drive(Study(found, Store(tmp_path)), Pretend()).records
    assert records[0].parameters == {"learning_rate": 0.02, "pseudo_anomaly": "rotation"}
    assert records[1].parameters["pseudo_anomaly.cutpaste.area"] == 0.1
    assert 0.001 <= records[1].parameters["learning_rate"] <= 0.1
    assert records[2].parameters != records[0].parameters
    assert Study(found, Store(tmp_path)).ended


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"learning_rat": 0.01}, "did you mean 'learning_rate'"),
        ({"learning_rate": 5}, "must be a number from 0.001 to 0.1"),
        ({"learning_rate": True}, "must be a number"),
        ({"pseudo_anomaly": "perlin"}, "must be one of cutpaste, rotation"),
        ({"pseudo_anomaly": {"cutpaste": {"area": 0.9}}}, "must be a number from 0.02 to 0.15"),
        ({"pseudo_anomaly": {"cutpaste": {"opacity": 0.9}}}, "'opacity' is not one of area"),
    ],
)
def test_what_is_put_first_must_lie_in_the_space(tmp_path, entry, words):
    with pytest.raises(SpecError, match=r"search\.enqueue\.0") as raised:
        search_space(tmp_path, search={"trials": 4, "enqueue": [entry]})
    assert words in str(raised.value)


def test_a_grid_learns_from_nothing(tmp_path):
    with pytest.raises(SpecError, match="is of no use to a grid"):
        search_space(tmp_path, "grid", search={"sampler": "grid", "trials": 4, "start_from": ["first"]})


def test_an_unknown_sampler_is_told_with_those_there_are(tmp_path):
    with pytest.raises(SpecError, match="gp, grid, nsga2, qmc, random, tpe"):
        search_space(tmp_path, search={"sampler": "cma", "trials": 4})
