"""A sweep or an audit on a cluster that was there before: what its workers print is kept, its figures are shown, images
may go in blocks, and nothing of this changes what it finds.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import ray
import toy_runs
from slow_work import Note
from sweep_process import outcome

from assay.audits import fan_out
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
    (tmp_path / "marks").mkdir()
    fixed = {"epochs": 2, "marks": str(tmp_path / "marks")}
    raw = toy_runs.search_space(tmp_path, fixed=fixed, search={"trials": 2}, resources={"concurrent": 1})
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
        assert logs(store, "sweeps/toy").count("epoch 2 is trained") == 2


def test_logs_of_an_audit_are_kept(there, tmp_path):
    works = [Note(number) for number in range(3)]
    fan_out.run(works, str(tmp_path), workers=1, address=there, audit="a-1", on_done=lambda *_: None)
    text = logs(Store(tmp_path), "audits/a-1")
    assert all(f"note {number} is written" in text for number in range(3))


def logs(store: Store, of: str) -> str:
    """What workers printed, as it is kept in the store."""
    return "".join(store.read(f"logs/{of}/{name}").decode() for name in store.names(f"logs/{of}"))
