"""Images that were moved: the same ones are found where `--data` or ASSAY_DATA say, others are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import toy_audit
import yaml
from PIL import Image

import assay
from assay.errors import DataError, InputError, SweepError
from assay.models import model_folder
from assay.sweeps import sweep as stage

POLICY = {
    "name": "mine",
    "version": 1,
    "why": "a test",
    "minimum_samples": {"normals": 2, "anomalies": 2},
    "gates": [{"name": "clean", "metric": "auroc", "attack": "clean", "at_least": 0.1, "why": "a test"}],
}


@pytest.fixture
def moved(store, tmp_path, pristine_store) -> Path:
    """A store whose only model was made on images that lie elsewhere now; the folder where they lie."""
    before = tmp_path / "before"
    toy_audit.write_model(store, toy_audit.pictures(before))
    return before.rename(tmp_path / "after")


@pytest.fixture
def name(store, moved) -> str:
    [name] = [one for one in store.names("models") if "/before" in store.read(f"models/{one}/manifest.json").decode()]
    return name


@pytest.fixture
def suite(tmp_path) -> Path:
    return toy_audit.write_suite(tmp_path / "tiny.yaml")


def words(name: str, suite: Path, *more: str) -> tuple[str, ...]:
    return ("audit", name, "--suite", str(suite), "--limit", "4", "--workers", "1", "--no-wandb", *more)


def test_an_audit_says_what_to_do_and_finds_them(run, moved, name, suite, tmp_path) -> None:
    lost = run(*words(name, suite), code=1)
    assert f"{tmp_path}/before: no such folder" in lost
    assert "--data folder=FOLDER or ASSAY_DATA=folder=FOLDER" in lost
    told = run(*words(name, suite, "--data", f"folder={moved}"))
    of_variable = run(*words(name, suite), env={"ASSAY_DATA": f"mvtec=/nowhere:folder={moved}"})
    audits = [line for out in (told, of_variable) for line in out.splitlines() if line.startswith(f"audit {name[:12]}")]
    assert audits[0] == audits[1] != [], "the same audit: a place is no part of it"
    policy = tmp_path / "policy.yaml"
    policy.write_text(yaml.safe_dump(POLICY))
    assert "report: " in run("approve", "latest", "--policy", policy, code=5), "approving reads no images"


def test_other_images_are_refused_by_their_hash(run, moved, name, suite) -> None:
    first = sorted((moved / "good").iterdir())[0]
    Image.fromarray(255 - np.asarray(Image.open(first))).save(first)
    for out in (
        run(*words(name, suite, "--data", f"folder={moved}"), code=1),
        run(*words(name, suite), env={"ASSAY_DATA": f"folder={moved}"}, code=1),
    ):
        assert "is not what the model was trained with (hash" in out


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("folder", "'folder': write NAME=FOLDER"),
        ("folder=/nowhere/at/all", "--data folder=/nowhere/at/all: there is no such folder"),
        ("mvtec=.", "--data mvtec: this dataset is called folder; write --data folder=FOLDER"),
    ],
)
def test_what_is_told_wrongly(run, name, suite, given, says) -> None:
    assert says in run(*words(name, suite, "--data", given), code=2)


def test_in_python(store, moved, name) -> None:
    item = model_folder.read_manifest(store, name)["dataset"]["item"]
    with pytest.raises(DataError, match="no such folder"):
        model_folder.dataset_of(item)
    found = assay.audit(name, toy_audit.SUITE, store=store, limit=2, data={"folder": moved})
    assert found.model == name
    with pytest.raises(DataError, match="no such folder"):
        model_folder.dataset_of(item)  # a place holds for one call


def test_a_sweep_is_resumed_on_them_and_a_new_one_is_not(store, tmp_path, monkeypatch) -> None:
    old = Path(__file__).parents[1] / "stores" / "format-1"
    shutil.copytree(old / "store", tmp_path / "old")
    toy_audit.pictures(tmp_path / "elsewhere", 120, 60)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="If the images of dataset 'folder' were moved"):
        assay.sweep(resume="small", store=tmp_path / "old")
    found = assay.sweep(resume="small", store=tmp_path / "old", data={"folder": tmp_path / "elsewhere"})
    assert found.states["complete"] == len(found.trials)
    monkeypatch.setenv("ASSAY_DATA", f"folder={tmp_path / 'elsewhere'}")
    assert assay.forecast(resume="small", store=tmp_path / "old").trials == 0
    toy_audit.pictures(tmp_path / "others", 121, 60)
    with pytest.raises(SweepError, match="are not those that sweep 'small' was started on"):
        assay.sweep(resume="small", store=tmp_path / "old", data=[f"folder={tmp_path / 'others'}"])
    with (
        pytest.raises(InputError, match="it goes with --resume"),
        stage.moved.told({"folder": tmp_path / "elsewhere"}),
    ):
        stage.dataset(assay.api.sweep.read(old / "space.yaml"), resume=False)
