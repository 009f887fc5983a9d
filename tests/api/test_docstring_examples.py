"""The example in the docstring of every public function runs and prints what it says."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import pytest
import torch
import toy_audit
from signed_store import write_keys

import assay
from assay.store import references
from assay.store.store import Store

NAMES = sorted(name for name in assay.__all__ if name not in ("errors", "__version__") and not name[0].isupper())
WITHOUT = {"publish"}
"""Functions whose example would need a server."""

POLICY = {
    "name": "lenient",
    "version": 1,
    "why": "to show a verdict",
    "confidence": 0.95,
    "minimum_samples": {"normals": 5, "anomalies": 5},
    "required_checks": ["deterministic"],
    "approves": False,
    "gates": [{"name": "ranks", "metric": "auroc", "attack": "clean", "at_least": 0.1, "why": "to show a gate"}],
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, own_cache):
    """A store with the sweep `demo` of three trials and an audit of its best model."""
    folder = tmp_path_factory.mktemp("examples")
    images = toy_audit.pictures(folder / "images", normals=60, anomalies=40)
    space = {
        "name": "demo",
        "trainable": "neighbours",
        "dataset": images,
        "fixed": {"backbone": {"pixels": {"side": 8}}},
        "space": {"k": {"integer": [1, 5]}},
        "evaluation": {"attack": "fgsm", "epsilon": "1/255"},
        "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
        "search": {"sampler": "random", "trials": 3},
        "tracking": {"wandb": False},
    }
    store = Store(folder / "store")
    found = assay.sweep(space, store=store)
    for seed in (1, 0):
        assay.audit(found.best, toy_audit.SUITE, seed=seed, store=store)
    return folder


@pytest.fixture
def names(pristine, tmp_path):
    """What the examples may use besides `assay`."""
    folder = Path(shutil.copytree(pristine, tmp_path / "examples"))
    private, public = write_keys(tmp_path, "signer")
    return {
        "assay": assay,
        "torch": torch,
        "store": str(folder / "store"),
        "images": str(pristine / "images"),
        "suite": toy_audit.SUITE,
        "policy": POLICY,
        "private": private,
        "public": public,
        "folder": str(tmp_path),
        **dict(zip(("approved", "candidate"), references.finished(Store(folder / "store")), strict=True)),
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_example_runs(name, names, capsys):
    [found] = doctest.DocTestFinder(recurse=False).find(getattr(assay, name), name, globs=names)
    if name in WITHOUT:
        assert not found.examples
        return
    assert found.examples, "every public function has an example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    failed = runner.run(found).failed
    assert failed == 0, capsys.readouterr().out
