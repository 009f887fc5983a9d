"""Cells of a study on Ray: as many at once as there is room for, ended properly by a signal, and gone on with."""

from __future__ import annotations

import os
import signal
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import toy_runs

import assay
from assay.cluster import user_code
from assay.store import trial_log
from assay.store.store import Store
from assay.studies import in_parallel, study_file

RESOURCES = {"CPU": 4.0}


def raw(folder, **changes):
    return {
        "name": "few",
        "detectors": {"calm": {"trainable": "toy_runs:Runs", "fixed": {"epochs": 3, "pause": 1.0}}},
        "datasets": {"squares": {"name": "toy_runs:squares", "root": str(folder / "squares")}},
        "seeds": [0, 1, 2],
        "evaluation": {"attack": "fgsm", "epsilon": "1/255", "every": 1},
        "tracking": {"wandb": False},
        **changes,
    }


@pytest.fixture
def space(tmp_path, own_cache, monkeypatch):
    monkeypatch.setenv("ASSAY_MODULES", os.environ.get("ASSAY_MODULES", ""))
    user_code.beside(toy_runs.__file__)  # for Ray's workers
    toy_runs.squares(root=str(tmp_path / "squares"))
    return raw(tmp_path)


def test_cells_run_at_once_and_after_an_interruption_the_rest(space, tmp_path, monkeypatch):
    monkeypatch.setattr("assay.runtime.allowance.cores", lambda: 2)
    store = Store(tmp_path / "store")

    def interrupt_when_the_first_ends(text: str) -> None:
        if text.startswith("1/3"):
            os.kill(os.getpid(), signal.SIGINT)

    first = assay.study(space, store=store, on_message=interrupt_when_the_first_ends)
    assert first.interrupted == "interrupt"
    assert {result.missing for result in first.missing} <= {"has not run yet", "was interrupted"}
    assert sorted(path.name for path in store.path("sweeps").glob("few*")) == [
        "few--calm--squares--0",
        "few--calm--squares--1",
    ], "the third is not begun"
    again = assay.study(space, store=store)
    assert (again.interrupted, again.missing) == ("", ())
    one, other = (trial_log.read(store, cell.spec.name) for cell in again.study.cells[:2])
    assert max(one[0]["at"], other[0]["at"]) < min(one[-1]["at"], other[-1]["at"]), "the first two ran side by side"


@pytest.mark.parametrize(("seeds", "interrupted"), [([0, 1], "interrupt"), ([0], "")])
def test_a_study_is_interrupted_only_where_a_cell_is_left(space, monkeypatch, seeds, interrupted):
    """The signal comes when the only cell that runs has just ended by itself."""
    remote = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda cell, root, address: cell.seed))
    ray = SimpleNamespace(
        remote=lambda **_: lambda run: remote,
        get_runtime_context=lambda: SimpleNamespace(get_node_id=lambda: "0" * 56),
        wait=lambda running, timeout: (running, []),
        get=lambda one: ("", ""),
        exceptions=in_parallel.ray.exceptions,
    )
    monkeypatch.setattr(in_parallel, "ray", ray)
    monkeypatch.setattr(in_parallel, "connected", lambda address: nullcontext(RESOURCES))
    monkeypatch.setattr(in_parallel, "_share", lambda *_: 1.0)
    cells = study_file.check({**space, "seeds": seeds}, "it").cells
    ended = []

    def on_end(cell, error):
        ended.append(cell)
        os.kill(os.getpid(), signal.SIGINT)

    assert in_parallel.run(cells, "store", None, on_end) == interrupted
    assert len(ended) == 1


@pytest.mark.parametrize(
    ("detector", "share"),
    [
        ({}, 1 / 4),
        ({"search": {"trials": 8}, "space": {"learning_rate": {"uniform": [0.01, 0.1]}}}, 1),
        ({"search": {"trials": 2}, "space": {"learning_rate": {"uniform": [0.01, 0.1]}}}, 2 / 4),
    ],
    ids=["one training", "a search that fills the cluster", "a small search"],
)
def test_the_share_of_the_cluster_that_a_cell_fills(tmp_path, detector, share):
    space = raw(tmp_path, detectors={"it": {"trainable": "toy_runs:Runs", **detector}})
    cell = study_file.check(space, "it").cells[0]
    assert in_parallel._share(cell, RESOURCES, None) == share


def test_a_cell_too_large_for_the_cluster_is_tried_and_says_so(tmp_path):
    cell = study_file.check(raw(tmp_path, resources={"cpu": 8}), "it").cells[0]
    assert in_parallel._share(cell, RESOURCES, None) == 0
