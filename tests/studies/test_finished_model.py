"""A finished model in a study: measured as it is, and only on images that it has not been trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import toy_runs
from toy_study import RAW

from assay.data import splits
from assay.errors import InputError, SpecError
from assay.store.store import Store
from assay.studies import finished_model, study_file
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial


@pytest.fixture
def data(tmp_path, own_cache):
    return splits.training_data(toy_runs.squares(root=str(tmp_path / "a")))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def run(cell, data, store):
    """The only trial of a cell, written as its sweep writes it."""
    store.write(f"sweeps/{cell.spec.name}/spec.yaml", b"")
    study = Study(cell.spec, store)
    order = study.next_order()
    trial = Trial(order, data, store)
    while not (report := trial.step())["done"]:
        study.report(order.number, report)
    study.report(order.number, report)
    study.log.close()
    return report


def of(model, tmp_path, store):
    raw = {**RAW, "name": "old", "detectors": {"line": {"model": model}}, "seeds": [0]}
    return study_file.check(raw, str(tmp_path / "old.yaml"), store).cells[0]


def test_it_has_the_figures_that_it_was_chosen_by_and_no_second_model_is_written(tmp_path, data, store):
    trained = run(study_file.check(RAW, str(tmp_path / "few.yaml")).cells[0], data, store)
    cell = of(trained["model"][:12], tmp_path, store)
    again = run(cell, data, store)
    assert (again["model"], store.names("models")) == (trained["model"], [trained["model"]])
    assert again["values"]["clean_auroc"] == trained["kept"]["clean_auroc"]
    assert cell.spec.plain()["fixed"] == {"model": trained["model"], "store": str(store.root)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hash": "0" * 64}, "trained on other images of squares, or on the same in another split"),
        ({"size": 8}, "takes images of 16 x 16 pixels with 1 channel, and these are images of 8 x 8"),
    ],
)
def test_other_images_are_refused(tmp_path, data, store, change, message):
    model = run(study_file.check(RAW, str(tmp_path / "few.yaml")).cells[0], data, store)["model"]
    size = change.pop("size", 16)
    validation = replace(data.validation, pixels=data.validation.pixels[:, :, :size, :size])
    other = replace(data, validation=validation, description={**data.description, **change})
    with pytest.raises(InputError, match=message):
        finished_model.FinishedModel(other, seed=0, model=model, store=str(store.root))


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        ({"model": "none-such"}, "none-such"),
        ({"model": "few:best"}, "few"),
        ({"model": "card.yaml"}, "card.yaml"),
        ({"model": "line-9", "trainable": "toy_runs:Runs"}, "either `trainable` or `model`"),
        ({"model": "line-9", "fixed": {"epochs": 2}}, "a finished model takes no fixed"),
        ({}, "either `trainable` or `model`"),
    ],
)
def test_what_names_no_model_is_a_fault_at_its_place(tmp_path, store, detector, message):
    with pytest.raises(SpecError, match=r"detectors\.odd") as raised:
        study_file.check({**RAW, "detectors": {"odd": detector}}, str(tmp_path / "old.yaml"), store)
    assert message in str(raised.value)


def test_without_a_store_the_rest_of_the_file_is_checked(tmp_path):
    raw = {**RAW, "detectors": {"line": {"model": "line-9"}}}
    assert len(study_file.check(raw, str(tmp_path / "old.yaml")).cells) == 4
