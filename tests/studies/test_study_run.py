"""A study that is run: every cell a sweep of the store, broken ones named, finished ones left as they are."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import toy_runs
import yaml
from click.testing import CliRunner

from assay.cli import main
from assay.data import splits
from assay.errors import DataError
from assay.store import parquet
from assay.store.store import Store
from assay.studies import cell_run, in_parallel, results
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial
from assay.sweeps.tune_worker import failed

FILE = """
name: few
detectors:
  calm: {trainable: "toy_runs:Runs", fixed: {epochs: 2}}
  broken: {trainable: "toy_runs:Runs", fixed: {epochs: 2, trouble: error}}
datasets:
  squares: {name: "toy_runs:squares", root: squares}
seeds: [0, 1]
evaluation: {attack: fgsm, epsilon: 1/255, every: 1}
tracking: {wandb: false}
"""


def in_this_process(spec, store, *, resume=False, address=None):
    """A sweep as `sweep.run` leaves it, without Ray."""
    if not resume:
        store.write(f"sweeps/{spec.name}/spec.yaml", yaml.safe_dump(spec.plain()).encode())
    data, study = splits.training_data(spec.dataset.function(**spec.dataset.arguments())), Study(spec, store)
    study.log.append({"event": "start", "dataset": data.description["hash"]})
    while order := study.next_order():
        trial, ended = Trial(order, data, store), False
        while not ended:
            try:
                report = trial.step()
            except RuntimeError as error:
                report = failed(error)
            ended = study.report(order.number, report)
    study.log.close()
    return SimpleNamespace(interrupted="")


def one_by_one(cells, root, address, on_end):
    """The cells as `in_parallel.run` runs them, without Ray."""
    for cell in cells:
        error, interrupted = cell_run.run(cell, root)
        on_end(cell, error)
        if interrupted:
            return interrupted
    return ""


@pytest.fixture
def study(tmp_path, own_cache, monkeypatch):
    toy_runs.squares(root=str(tmp_path / "squares"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cell_run.sweep, "run", in_this_process)
    monkeypatch.setattr(in_parallel, "run", one_by_one)
    (tmp_path / "few.yaml").write_text(FILE)
    return lambda: CliRunner().invoke(main, ["study", "few.yaml", "--store", "store"], catch_exceptions=False)


def test_a_broken_cell_is_named_and_the_others_go_on(study, tmp_path):
    told = study()
    assert told.exit_code == 1
    assert "study few: 4 cells, 0 have ended" in told.stdout
    assert "missing: broken on squares, seed 0: RuntimeError: the wheel [/came] off" in told.stdout
    store = Store(tmp_path / "store")
    table = parquet.whole(store, ["studies/few/study.parquet"], results.SCHEMA).to_pylist()
    assert len(table) == 8
    calm = [row for row in table if row["detector"] == "calm"]
    assert all(0 <= row["lower"] <= row["value"] <= row["upper"] <= 1 for row in calm)
    assert {row["sweep"] for row in calm} == {"few--calm--squares--0", "few--calm--squares--1"}
    assert b"the wheel" in store.read("studies/few/study.html")
    assert yaml.safe_load(store.read("sweeps/few--calm--squares--1/spec.yaml"))["search"]["seed"] == 1


def test_a_second_call_trains_only_what_was_added(study, tmp_path):
    study()
    (tmp_path / "few.yaml").write_text(FILE.replace("seeds: [0, 1]", "seeds: [0, 1, 2]"))
    again = study()
    assert "calm on squares, seed 2: clean_auroc" in again.stdout
    assert "calm on squares, seed 0" not in again.stdout
    assert len(Store(tmp_path / "store").names("sweeps/few--calm--squares--0/log")) == 1


def test_a_cell_that_was_run_from_another_file_is_missing_with_the_reason(study, tmp_path):
    study()
    (tmp_path / "few.yaml").write_text(FILE.replace("epsilon: 1/255", "epsilon: 2/255"))

    def refused(spec, store, **rest):
        raise DataError("it cannot go on so")

    cell_run.sweep.run = refused  # of the fixture's monkeypatch, which puts the real one back
    told = study()
    assert told.stdout.count("it cannot go on so") == 8  # each cell as it is tried, and among the missing


def test_after_an_interruption_the_rest_is_left_for_the_next_call(study, tmp_path):
    cell_run.sweep.run = lambda spec, store, **rest: SimpleNamespace(interrupted="interrupt")
    told = study()
    assert told.exit_code == 130
    assert told.stdout.count("has not run yet") == 3
    assert "stopped early; go on with: assay study few.yaml" in told.stdout
