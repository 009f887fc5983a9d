"""A study that is run: every cell a sweep of the store, broken ones named, finished ones left as they are."""

from __future__ import annotations

import toy_runs
import yaml
from click.testing import CliRunner

from assay.cli import main
from assay.store import parquet
from assay.store.store import Store
from assay.studies import results

FILE = """
name: few
detectors:
  calm: {trainable: "toy_runs:Runs", fixed: {epochs: 2}}
  broken: {trainable: "toy_runs:Runs", fixed: {epochs: 2, trouble: error}}
datasets:
  squares: {name: "toy_runs:squares", root: ROOT}
seeds: [0, 1]
evaluation: {attack: fgsm, epsilon: 1/255, every: 1}
resources: {cpu: 0.5}
tracking: {wandb: false}
"""


def test_a_broken_cell_is_named_the_others_go_on_and_a_second_call_trains_nothing(tmp_path, own_cache, monkeypatch):
    toy_runs.squares(root=str(tmp_path / "squares"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.yaml").write_text(FILE.replace("ROOT", str(tmp_path / "squares")))
    told = CliRunner().invoke(main, ["study", "few.yaml", "--store", "store"], catch_exceptions=False)
    assert told.exit_code == 1
    assert "study few: 4 cells, 0 have ended" in told.stdout
    assert "missing: broken on squares, seed 0: RuntimeError: the wheel [/came] off" in told.stdout
    store = Store(tmp_path / "store")
    table = parquet.whole(store, ["studies/few/study.parquet"], results.SCHEMA).to_pylist()
    assert len(table) == 8
    calm = [row for row in table if row["detector"] == "calm"]
    assert all(0 <= row["lower"] <= row["value"] <= row["upper"] <= 1 for row in calm)
    assert {row["sweep"] for row in calm} == {"few--calm--squares--0", "few--calm--squares--1"}
    page = store.read("studies/few/study.html")
    assert b"the wheel" in page
    spec = yaml.safe_load(store.read("sweeps/few--calm--squares--1/spec.yaml"))
    assert spec["search"]["seed"] == 1
    logs = len(store.names("sweeps/few--calm--squares--0/log"))
    again = CliRunner().invoke(main, ["study", "few.yaml", "--store", "store"], catch_exceptions=False)
    assert "calm on squares" not in again.stdout  # only those that failed are tried again
    assert len(store.names("sweeps/few--calm--squares--0/log")) == logs
