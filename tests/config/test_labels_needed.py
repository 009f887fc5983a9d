"""A trainable that needs labelled anomalies is refused before anything runs where it is given none."""

from __future__ import annotations

import re

import pytest
import yaml
from click.testing import CliRunner

from assay.cli import main
from assay.config import reader
from assay.errors import SpecError

GIVEN = {
    "name": "few-labels",
    "trainable": "devnet",
    "dataset": {"name": "elpv", "image_size": 32},
    "fixed": {},
    "space": {"top": {"choice": [0.1, 0.3]}},
    "evaluation": {"attack": "fgsm", "epsilon": "1/255"},
    "objectives": {"clean_auroc": "max"},
    "search": {"trials": 2},
}
CHOICE = {"fixed": {}, "space": {}}
WORDS = "dataset.labelled_anomalies: found 0; devnet trains on labelled anomalies: ask for some, such as 10, or give it"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fixed": {"pseudo_anomaly": None}},
        {"space": {"pseudo_anomaly": {"choice": [None, "cutpaste"]}}},  # one of them makes none
        {"trainable": {"choice": ["gaussian", "devnet"]}, **CHOICE},
        {"trainable": {"choice": ["gaussian", {"devnet": {"pseudo_anomaly": {"choice": [None, "perlin"]}}}]}, **CHOICE},
        {"trainable": "smoothed", "fixed": {"of": "devnet"}, "space": {"sigma": {"uniform": [0.1, 0.5]}}},
        {"trainable": {"choice": [{"smoothed": {"of": {"choice": ["cobra", "devnet"]}}}]}, **CHOICE},
    ],
)
def test_a_search_space_that_gives_it_none_is_a_fault(changes):
    with pytest.raises(SpecError, match=re.escape(WORDS)) as caught:
        reader.check({**GIVEN, **changes}, "few.yaml")
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": {"name": "elpv", "image_size": 32, "labelled_anomalies": 4}},
        {"fixed": {"pseudo_anomaly": "cutpaste"}},
        {"space": {"pseudo_anomaly": {"choice": ["cutpaste", "perlin"]}}},
        {"trainable": {"choice": ["gaussian", {"devnet": {"pseudo_anomaly": "perlin"}}]}, **CHOICE},
        {"trainable": "smoothed", "fixed": {}, "space": {"sigma": {"uniform": [0.1, 0.5]}}},
        {"dataset": {"name": "toy_runs:squares", "root": "nowhere"}},  # has them or not, without being asked
    ],
)
def test_a_search_space_that_gives_it_some_or_needs_none_is_right(changes):
    assert reader.check({**GIVEN, **changes}, "few.yaml").name == "few-labels"


def test_more_labels_than_there_are_is_an_error_before_any_trial(tmp_path, own_cache, monkeypatch):
    pytest.importorskip("elpv_dataset", reason="the images of ELPV come with the package elpv-dataset")
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    (tmp_path / "few.yaml").write_text(
        "{name: few, trainable: gaussian, dataset: {name: elpv, image_size: 16, labelled_anomalies: 5000},"
        " space: {}, evaluation: {attack: fgsm, epsilon: 1/255}, objectives: {clean_auroc: max}, search: {trials: 1}}"
    )
    result = CliRunner().invoke(main, ["sweep", str(tmp_path / "few.yaml"), "--store", str(tmp_path / "store")])
    assert result.exit_code == 2, result.output
    assert "labelled_anomalies 5000" in result.stderr
    assert "at most half, " in result.stderr
    assert not (tmp_path / "store" / "sweeps" / "few").exists()


def test_a_dataset_that_turns_out_to_have_none_is_an_error_before_any_trial(tmp_path, own_cache, monkeypatch):
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    raw = {**GIVEN, "dataset": {"name": "toy_runs:squares", "root": str(tmp_path / "squares")}}
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(raw))
    for more in ([], ["--dry-run"]):
        command = ["sweep", str(tmp_path / "few.yaml"), "--store", str(tmp_path / "store"), *more]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1, result.output
        assert "squares: no labelled anomalies, and devnet needs some" in result.stderr
