"""A study file: every cell is a search space, every fault is told at its place before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from toy_study import RAW

from assay.cli import main
from assay.errors import SpecError
from assay.studies import study_file


def test_there_is_a_cell_for_each_detector_dataset_and_seed():
    study = study_file.check(RAW, "few.yaml")
    assert len(study.cells) == 8
    assert [cell.spec.name for cell in study.cells[:3]] == [
        "few--fixed--one--0",
        "few--fixed--one--5",
        "few--searched--one--0",
    ]
    alone, searched = study.cells[1].spec, study.cells[2].spec
    assert (alone.trials, alone.search.seed, alone.resources.cpu) == (1, 5, 0.5)
    assert (searched.trials, searched.search.sampler) == (3, "tpe")
    assert study.cells[-1].spec.dataset.parameters["root"].endswith("/b")  # where the file lies
    assert dict(study.directions) == {"clean_auroc": "max", "robust_auroc": "max"}


def test_every_fault_is_told_at_its_place():
    wrong = {
        **RAW,
        "detectors": {**RAW["detectors"], "odd": {"trainable": "toy_runs:Runs", "fixed": {"epoch": 2}}},
        "datasets": {**RAW["datasets"], "three": {"name": "elvp"}},
        "evaluation": {"attack": "fgsm", "epsilon": 2},
    }
    with pytest.raises(SpecError) as raised:
        study_file.check(wrong, "few.yaml")
    keys = {fault.key for fault in raised.value.faults}
    assert {"detectors.odd.fixed.epoch", "datasets.three", "evaluation.epsilon"} <= keys


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seeds": []}, "seeds"),
        ({"seeds": [-1]}, "seeds.0"),
        ({"detectors": {}}, "detectors"),
        ({"detectors": {"a b": {"trainable": "cobra"}}}, "detectors"),
        ({"detector": {}}, "detector"),
    ],
)
def test_a_file_that_is_no_study_is_refused(changes, key):
    with pytest.raises(SpecError) as raised:
        study_file.check({**RAW, **changes}, "few.yaml")
    assert any(fault.key.startswith(key) for fault in raised.value.faults), raised.value


def test_the_study_in_the_repository_is_one():
    study = study_file.read(Path(__file__).parents[2] / "studies" / "small.yaml")
    assert len(study.cells) == 12


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[2] / "studies").glob("*.yaml")), ids=lambda file: file.stem
)
def test_every_shipped_study_is_sound(file, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGES", str(tmp_path))
    assert study_file.read(file).name == file.stem


def test_a_detector_may_be_searched_on_a_ladder():
    ladder = {"ladder": [{"until": 1, "attack": "noise"}]}
    searched = {
        **RAW["detectors"]["searched"],
        "stop_early": {"grace": 1},
        "fidelity": ladder,
    }
    found = study_file.check({**RAW, "detectors": {"searched": searched}}, "few.yaml")
    assert {cell.spec.ladder for cell in found.cells} == {(1,)}
    wrong = {**searched, "fidelity": {"ladder": [{"until": 2, "attack": "noise"}]}}
    with pytest.raises(SpecError, match=r"stop_early\.grace"):
        study_file.check({**RAW, "detectors": {"searched": wrong}}, "few.yaml")


def test_audits_of_others_go_on_a_leaderboard():
    told = CliRunner().invoke(main, ["study", "any.yaml", "--append", "theirs/audits/0123 quick"])
    assert told.exit_code == 2
    assert "assay leaderboard FOLDER 'theirs/audits/0123 quick' --key PUBLIC.pem" in told.output
