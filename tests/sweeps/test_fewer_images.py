"""Rungs with fewer or smaller images: training begins anew where they grow, and the top rung has all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import toy_runs
from pretend import search_space

from assay.config.search import fidelity
from assay.data import splits
from assay.data.reduced import reduced
from assay.models import model_folder
from assay.store.store import Store
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial

HALF = {"until": 1, "attack": "fgsm", "train": 0.7}
MORE = {"until": 2, "attack": "fgsm", "train": 0.85}
CHANGES = {"stop_early": {"grace": 1, "reduction": 2}, "evaluation": {"attack": "fgsm", "epsilon": "1/255", "every": 1}}


@pytest.fixture
def training(tmp_path, own_cache):
    return splits.training_data(toy_runs.squares(root=str(tmp_path / "squares")))


def order(tmp_path, ladder, **changes):
    found = search_space(tmp_path, "random", fidelity={"ladder": ladder, "check": 1.0}, **{**CHANGES, **changes})
    return Study(found, Store(tmp_path)).next_order()


def ran(trial: Trial) -> list[dict]:
    reports = []
    while not reports or not reports[-1]["done"]:
        reports.append(trial.step())
    return reports


def test_a_share_is_drawn_by_seed_and_the_validation_images_stay(training):
    half = reduced(training, 0.5, None, seed=1)
    assert len(half.train) == 12
    assert set(half.train.ids) < set(training.train.ids)
    assert half.train.ids == reduced(training, 0.5, None, seed=1).train.ids
    assert half.train.ids != reduced(training, 0.5, None, seed=2).train.ids
    assert half.validation is training.validation
    assert len(reduced(training, 1e-9, None, seed=1).train) == 1


def test_a_smaller_pixel_is_the_mean_of_those_it_stands_for(training):
    small = reduced(training, 1.0, 8, seed=0)
    for name in ("train", "validation"):
        whole, shrunk = getattr(training, name).pixels, getattr(small, name).pixels
        means = whole.reshape(len(whole), 1, 8, 2, 8, 2).astype(float).mean((3, 5))
        assert np.abs(shrunk - means).max() <= 0.5
    assert small.description["image_size"] == 8
    assert training.description["image_size"] == 16
    assert len(small.labelled) == 0
    assert reduced(training, 1.0, 64, seed=0).validation is training.validation  # nothing is enlarged


def test_training_begins_anew_where_there_are_more_images(tmp_path, training):
    """So that a rung's figures are those of a training on its images alone, and the last those of a plain trial."""
    climbed = Trial(order(tmp_path / "a", [HALF, MORE]), training, Store(tmp_path / "a"))
    built: list[tuple[int, int]] = []
    begin = climbed._begin

    def noted(part):
        begin(part)
        built.append((climbed.epoch, len(climbed.seen.train)))

    climbed._begin = noted
    reports = ran(climbed)
    assert built == [(1, 20), (2, 24)]  # after the rungs of 17 and of 20 images
    assert [report["epoch"] for report in reports] == [1, 2, 3, 4]
    assert [report.get("rung", "") for report in reports] == ["fgsm of 0.7", "fgsm of 0.85", "", ""]
    later = {"stop_early": {"grace": 2, "reduction": 2}}
    plain = Trial(order(tmp_path / "b", [{"until": 2, "attack": "fgsm"}], **later), training, Store(tmp_path / "b"))
    assert [one["values"] for one in ran(plain)[1:]] == [one["values"] for one in reports[2:]]


def test_a_trial_killed_after_any_step_goes_on_as_if_it_were_not(tmp_path, training):
    ladder = [HALF, MORE]
    whole = ran(Trial(order(tmp_path / "a", ladder), training, Store(tmp_path / "a")))
    told, given = [], order(tmp_path / "b", ladder)
    while not told or not told[-1]["done"]:
        trial = Trial(given, training, Store(tmp_path / "b"))
        if told:
            assert trial.step() == told[-1]  # repeated, in case the sweep never heard it
        told.append(trial.step())
    assert [one["values"] for one in told] == [one["values"] for one in whole]
    assert [one["losses"] for one in told] == [one["losses"] for one in whole]


def test_a_rung_of_small_images_below_one_of_large_ones(tmp_path, training):
    def doubled(images):
        return replace(images, pixels=np.repeat(np.repeat(images.pixels, 2, 2), 2, 3))

    description = {**training.description, "image_size": 32}
    data = replace(
        training, train=doubled(training.train), validation=doubled(training.validation), description=description
    )
    store = Store(tmp_path)
    space = {
        "trainable": "monotone",
        "fixed": {"epochs": 2, "steps_per_epoch": 1},
        "space": {"learning_rate": {"loguniform": [1e-3, 1e-2]}},
    }
    trial = Trial(order(tmp_path, [{"until": 1, "attack": "fgsm", "image_size": 16}], **space), data, store)
    assert trial.seen.train.pixels.shape[2:] == (16, 16)
    reports = ran(trial)
    assert [report.get("rung", "") for report in reports] == ["fgsm at 16 px", ""]
    manifest = model_folder.read_manifest(store, reports[-1]["model"])
    assert manifest["image_size"] == 32
    assert {manifest["dataset"]["image_size"], manifest["sweep"]["epoch"]} == {32, 2}


def test_a_rung_is_named_by_its_attack_and_images():
    assert fidelity.label({"attack": "fgsm", "image_size": 16}) == "fgsm at 16 px"
    assert fidelity.label({"attack": "pgd", "steps": 5, "train": 0.25, "image_size": None}) == "pgd-5 of 0.25"
