"""What a user's own `module:attribute` is found by, and what of it would be sent to other machines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import toy_runs
import yaml

from assay import shelves
from assay.cluster import user_code
from assay.errors import InputError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder; the path, and what was loaded from it, are as before afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(shelves, "_OWN", set())
    monkeypatch.setenv(shelves.FOLDERS, "")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def sent(folder: Path) -> set[str]:
    """What would be sent of a folder."""
    return {path.name for path in map(Path, user_code.to_send()) if path.is_relative_to(folder)}


def test_a_file_a_package_and_what_they_import_beside_them_are_sent(folder):
    (folder / "own_file.py").write_text("import own_helper\ndef item(): ...\n")
    (folder / "own_helper.py").touch()
    (folder / "own_unused.py").touch()
    deep = folder / "own_package" / "deep"
    deep.mkdir(parents=True)
    (deep / "items.py").write_text("def item(): ...\n")
    user_code.beside(folder / "space.yaml")
    for name in ("own_file:item", "own_package.deep.items:item"):
        shelves.load("attacks", name)
    assert sent(folder) == {"own_file.py", "own_helper.py", "own_package"}
    ours = {Path(path).name for path in user_code.to_send()}
    assert {"assay", "trainables"} <= ours


def test_what_is_installed_is_not_sent(folder):
    shelves.load("attacks", "json:dumps")
    shelves.load("attacks", "yaml:safe_load")
    assert shelves.own_modules() == {"json", "yaml"}
    assert {Path(path).name for path in user_code.to_send()} == {"assay", "trainables"}


def test_items_of_the_shelves_send_nothing_of_their_own(folder):
    shelves.load("attacks", "pgd")
    assert shelves.own_modules() == frozenset()


def test_a_module_beside_a_file_cannot_take_the_place_of_an_installed_one(folder):
    (folder / "yaml.py").write_text("raise SystemExit\n")
    (folder / "random.py").write_text("raise SystemExit\n")
    user_code.beside(folder / "space.yaml")
    shelves.load("attacks", "json:dumps")
    assert sys.path[-1] == str(folder)
    assert user_code.places("yaml")[0].parent != folder


def test_a_module_that_is_nowhere_is_told_with_where_it_was_looked_for(folder):
    user_code.beside(folder / "space.yaml")
    with pytest.raises(InputError, match=r"No module named 'own_absent' in .*among installed packages") as told:
        shelves.load("trainables", "own_absent.part:Runs")
    assert str(folder) in str(told.value)
    (folder / "own_present.py").write_text("import what_it_needs\n")
    with pytest.raises(InputError, match=r"No module named 'what_it_needs'; write"):
        shelves.load("trainables", "own_present:Runs")
    assert shelves.own_modules() == frozenset()


def test_local_workers_find_a_module_beside_a_search_space_of_another_folder(tmp_path):
    spaces, elsewhere = tmp_path / "spaces", tmp_path / "elsewhere"
    spaces.mkdir()
    elsewhere.mkdir()
    shutil.copy(toy_runs.__file__, spaces / "own_runs.py")
    raw = toy_runs.search_space(tmp_path, search={"sampler": "random", "trials": 1, "seed": 0, "startup": 1})
    text = yaml.safe_dump(raw).replace("toy_runs:", "own_runs:")
    (spaces / "toy.yaml").write_text(text)
    done = subprocess.run(
        [Path(sys.executable).with_name("assay"), "sweep", spaces / "toy.yaml", "--store", tmp_path / "store"],
        cwd=elsewhere,
        env={**os.environ, "WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 complete" in done.stdout
