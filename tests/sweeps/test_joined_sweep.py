"""A sweep on a cluster that was there before: what its workers print is kept, its figures are shown, images may go in
blocks, and nothing of this changes what it finds.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import ray
import toy_runs
from sweep_process import outcome

from assay.cluster import image_blocks, session_folder
from assay.cluster.metrics import Board
from assay.config import reader
from assay.store.store import Store
from assay.sweeps import sweep as stage


@pytest.fixture(scope="module")
def there():
    """A Ray of this machine whose workers know the toys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(toy_runs.__file__).parent), prepend=os.pathsep)
        options = {"num_cpus": 1, "include_dashboard": False, "log_to_driver": False}
        ray.init("local", **options, _temp_dir=session_folder.own_folder())
        yield "there"
        ray.shutdown()


def test_logs_are_kept_figures_shown_and_blocks_change_nothing(there, tmp_path, own_cache, monkeypatch):
    shown = []
    monkeypatch.setattr(Board, "sweep", lambda _, *told: shown.append(told))
    raw = toy_runs.search_space(tmp_path, fixed={"epochs": 2}, search={"trials": 2}, resources={"concurrent": 1})
    spec = reader.check(raw, "toy.yaml")
    whole, blocks = Store(tmp_path / "whole"), Store(tmp_path / "blocks")
    plain = stage.run(spec, whole, address=there)
    monkeypatch.setattr(image_blocks, "SHARE", 0.0)
    assert isinstance(image_blocks.sent(stage.load_data(spec, [])), image_blocks.Blocks)
    in_blocks = stage.run(spec, blocks, address=there)
    assert outcome(in_blocks.records) == outcome(plain.records)
    name, states, reports, gpus, spent = shown[-1]
    assert (name, gpus) == ("toy", 0)
    assert states == {"complete": 2, "pruned": 0, "failed": 0, "training": 0, "waiting": 0}
    assert reports == sum(len(record.reports) for record in plain.records.values())
    assert spent["CPU-hours"] > 0
    assert shown[0][1]["waiting"] + shown[0][1]["training"] == 2
    for store in (whole, blocks):
        kept = [store.read(f"logs/sweeps/toy/{name}").decode() for name in store.names("logs/sweeps/toy")]
        assert all(text.strip() for text in kept)
