"""Code that a store names: none of a store is run, none that is installed without consent, and none ends a command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import forged
import pytest
import toy_audit
import yaml
from click.testing import CliRunner

import assay
from assay import consent
from assay.cli import main
from assay.errors import InputError, ModelError
from assay.hashing import digest
from assay.models import model_folder
from assay.runtime.provenance import own_code
from assay.store import trials_table
from assay.store.store import Store

MARK = "ran"
MODULE = f"""
import pathlib
pathlib.Path(__file__).parent.joinpath({MARK!r}).touch()

from toy_audit import Detector, Toy
def make():
    return Detector("none")
def leave():
    raise SystemExit(0)
"""


@pytest.fixture
def here(store, tmp_path, monkeypatch) -> Path:
    """A working folder that holds the store; what is put on the path or allowed is taken back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setenv(consent.ALLOWED, "")
    toy_audit.write_suite(Path("tiny.yaml"))
    return tmp_path


@pytest.fixture
def module(request):
    """A name that no other test imports, and its file's content by code."""
    name = f"planted_{abs(hash(request.node.name))}"
    yield name
    for loaded in [one for one in sys.modules if name in one]:
        del sys.modules[loaded]


def audit(model: str, *options: str, store: str = "store") -> tuple[int, str]:
    suite = Path(store, "..", "tiny.yaml").resolve()
    command = ["audit", model, "--suite", str(suite), "--workers", "1", "--no-wandb", "--store", store, *options]
    done = CliRunner().invoke(main, command)
    return done.exit_code, done.output


def test_a_factory_that_ends_the_program_is_an_error_and_no_pass(here, store, module):
    Path(f"{module}.py").write_text(MODULE)
    model = forged.factory(store, f"{module}:leave", digest(MODULE.encode()))
    code, output = audit(model, "--policy", "demo")
    assert code == 1, output
    assert "does not make a detector: SystemExit: 0" in output


@pytest.mark.parametrize("name", ["sys:exit", "os:abort", "this:c"])
def test_a_store_does_not_have_what_is_installed_called(here, store, name):
    with pytest.raises(ModelError, match=rf"the store names '{name}', which is .*--allow-import"):
        model_folder.load(store, forged.factory(store, name, own_code(name) or "0" * 64))
    assert name != "this:c" or "this" not in sys.modules


def test_a_factory_that_a_store_names_must_say_its_code_and_other_code_is_not_imported(here, store, module):
    Path(f"{module}.py").write_text(MODULE)
    sys.path.append(str(here))
    with pytest.raises(ModelError, match="does not say which code makes it"):
        model_folder.load(store, forged.factory(store, f"{module}:make", None))
    with pytest.raises(ModelError, match="is other code than when its model was made"):
        model_folder.load(store, forged.factory(store, f"{module}:make", "0" * 64))
    assert not Path(MARK).exists()
    assert model_folder.load(store, forged.factory(store, f"{module}:make", digest(MODULE.encode()))).detector


def how_named(store: Store, name: str) -> dict[str, str]:
    """Models of which one key names `name`: how it is named -> the model."""
    about = store.read_json(f"models/{store.names('models')[0]}/manifest.json")
    weights = {"model.safetensors": store.read(f"models/{store.names('models')[0]}/model.safetensors")}
    return {
        "factory": forged.factory(store, name, digest(MODULE.encode())),
        "trainable": forged.model(store, weights, trainable=name),
        "dataset": forged.model(store, weights, dataset={**about["dataset"], "item": {"name": name}}),
        "kind": forged.model(store, weights, kind=name),
        "detector": forged.model(store, weights, detector=name, trainable=None),
    }


@pytest.mark.parametrize("cwd", [".", "store", "store/models"])
@pytest.mark.parametrize("how", ["factory", "trainable", "dataset", "kind", "detector"])
def test_a_module_that_lies_in_a_store_is_never_imported(here, store, module, monkeypatch, cwd, how):
    Path("store", f"{module}.py").write_text(MODULE)
    Path("store/models", f"{module}.py").write_text(MODULE)
    monkeypatch.chdir(cwd)
    for name in (f"{module}:make", f"store.{module}:make", f"store.models.{module}:make"):
        code, output = audit(how_named(store, name)[how], store=str(here / "store"))
        assert code in (1, 2), output
        assert "unexpected" not in output
        code, output = audit(how_named(store, name)[how], "--policy", "demo", store=str(here / "store"))
        assert code in (1, 2), output
    assert not list(here.rglob(MARK))
    assert not [name for name in sys.modules if module in name]


def test_a_link_into_a_store_is_in_the_store(here, store, module):
    Path("store/audits", f"{module}.py").write_text(MODULE)
    Path(f"{module}.py").symlink_to(here / f"store/audits/{module}.py")
    sys.path.append(str(here))
    with pytest.raises(InputError, match="lies in a store"):
        consent.check(f"{module}:make")


def test_the_working_folder_is_not_searched_where_it_is_a_store(here, store, monkeypatch):
    monkeypatch.chdir("store/audits")
    CliRunner().invoke(main, ["models", "--store", str(here / "store")])
    assert str(here / "store/audits") not in sys.path
    monkeypatch.chdir(here)
    CliRunner().invoke(main, ["models", "--store", str(here / "store")])
    assert str(here) in sys.path


def test_a_kind_is_a_name_of_the_shelf(here, store, module):
    Path(f"{module}.py").write_text(MODULE)
    sys.path.append(str(here))
    with pytest.raises(ModelError, match="is of a kind that this version cannot load: loader "):
        model_folder.load(store, how_named(store, f"{module}:make")["kind"])
    assert not Path(MARK).exists()


def test_the_search_space_of_a_stored_sweep_is_the_word_of_a_store(here, store, module):
    space = {"name": "s", "trainable": "toy_audit:Toy", "dataset": {"name": f"{module}:make"}, "fixed": {}, "space": {}}
    Path("store", f"{module}.py").write_text(MODULE)
    store.write("sweeps/s/spec.yaml", yaml.safe_dump(space).encode())
    sys.path.append(str(here / "store"))
    with pytest.raises(InputError, match="lies in a store"):
        trials_table.stored_spec(store, "s")
    store.write("sweeps/s/spec.yaml", yaml.safe_dump({**space, "dataset": {"name": "this:c"}}).encode())
    with pytest.raises(InputError, match="the store names 'this:c', which is installed code"):
        trials_table.stored_spec(store, "s")
    assert "this" not in sys.modules
    assert not list(here.rglob(MARK))


def test_what_the_user_names_or_allows_a_store_may_name(here, store, module, monkeypatch):
    library = here / "site-packages"
    library.mkdir()
    library.joinpath(f"{module}.py").write_text(MODULE)
    sys.path.append(str(library))
    weights = {"model.safetensors": store.read(f"models/{store.names('models')[0]}/model.safetensors")}
    model = forged.model(store, weights, trainable=f"{module}:Toy")
    with pytest.raises(ModelError, match=f"allow it: --allow-import {module}"):
        model_folder.load(store, model)
    with consent.word_of_a_store(), pytest.raises(InputError):
        consent.check("this:c")
    consent.check(f"{module}:Toy")  # the user's own word
    assert os.environ[consent.ALLOWED] == module
    assert assay.load(model, store=store)
    monkeypatch.setenv(consent.ALLOWED, "")
    code, output = audit(model)
    assert code == 1, output
    assert f"allow it: --allow-import {module}" in output.replace("\n", " ")
    code, output = audit(model, "--allow-import", module)
    assert code == 0, output
    monkeypatch.setenv(consent.ALLOWED, "")
    assert assay.load(model, store=store, allow_import=[module])
    assert model_folder.load(store, model).made_by == f"{module}:Toy"
