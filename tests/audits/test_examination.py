"""The checks of an audit are made on the device of its attacks, from a head that has none of them as well."""

from __future__ import annotations

import os
import pickle
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
import toy_audit
import yaml
from other_device import on_device, other_device

from assay.audits import audit, fan_out, self_checks, tables
from assay.audits.examination import Examination
from assay.cluster import connection
from assay.models import model_folder

OTHERWISE = 1.002
"""What TF32 and other sums make of a score on the device: 2e-2 standard deviations, and no other order of scores."""


@pytest.fixture
def a_cluster_with_gpus(monkeypatch):
    """Jobs are done where CPU tensors pose as a GPU's, this process being the head; yields what was done there."""
    seen, forward = [], toy_audit.Detector.forward

    def there(jobs, root, *, on_done, shared=(), **where):
        seen.extend((job.label, where["gpus"]) for job in jobs)
        with other_device():
            for job in jobs:
                sent, *given = pickle.loads(pickle.dumps((job, *shared)))  # as it would be
                on_done(job, sent.run(root, *given))

    def scored(self, images):
        score = forward(self, images)
        return score * OTHERWISE if on_device(images) else score

    monkeypatch.setattr(fan_out, "run", there)
    monkeypatch.setattr(fan_out, "cluster", lambda *_, **__: nullcontext(True))
    monkeypatch.setattr(toy_audit.Detector, "forward", scored)
    model_folder.loaded.cache_clear()
    yield seen
    model_folder.loaded.cache_clear()


def test_a_head_without_a_gpu_has_the_checks_made_where_the_attacks_were(store, tiny, a_cluster_with_gpus):
    [name] = store.names("models")
    steps = []
    found = audit.run(store, name, tiny, device="cuda", gpus=0.5, address="auto", workers=2, on_progress=steps.append)
    folder = store.path(f"audits/{found}")
    checks = pq.read_table(folder / "checks.parquet").to_pylist()
    assert [row["check"] for row in checks if row["required"] and not row["passed"]] == []
    assert "clean_reproduced" in {row["check"] for row in checks if row["required"]}
    assert a_cluster_with_gpus[-1] == ("checks", 0.5)
    assert {f"check {check}" for check in self_checks.names()} < {label for label, _ in a_cluster_with_gpus}
    assert steps[-1].done == steps[-1].total
    about = yaml.safe_load((folder / "audit.yaml").read_text())
    assert about["devices"] == {"jobs": "cuda", "checks": "cuda", "first_look": "cpu"}
    assert (folder / "explanations.parquet").exists()


def test_checks_need_no_dataset_there(store, tiny, a_cluster_with_gpus, monkeypatch):
    [name] = store.names("models")
    run = fan_out.run

    def without_the_dataset(jobs, root, **how):
        if all(job.label.startswith("check") for job in jobs):
            with monkeypatch.context() as patch:
                patch.setattr(model_folder, "dataset_of", lambda item: 1 / 0)
                return run(jobs, root, **how)
        return run(jobs, root, **how)

    monkeypatch.setattr(fan_out, "run", without_the_dataset)
    audit.run(store, name, tiny, device="cuda", gpus=1, address="auto")


def test_ray_takes_the_checks_as_a_piece_of_work(store, tiny, monkeypatch):
    @contextmanager
    def one_gpu(address, cpus):
        """A cluster with a GPU that Ray only counts."""
        ray.init(address="local", num_cpus=cpus, num_gpus=1, include_dashboard=False, log_to_driver=False)
        yield ray.cluster_resources()
        ray.shutdown()

    monkeypatch.setenv("PYTHONPATH", str(Path(toy_audit.__file__).parent), prepend=os.pathsep)  # workers import it
    monkeypatch.setattr(connection, "connected", one_gpu)
    [name] = store.names("models")
    plan = audit.prepare(store, name, tiny).plan
    _, given, mark = tables.made(store, plan)
    masks = np.zeros((len(plan.images), 16, 16), bool)
    work = Examination(audit=plan.audit, model=name, device="cpu", given=given, mark=mark, masks=masks)
    checks = store.path(f"audits/{plan.audit}/checks.parquet")
    before = pq.read_table(checks)
    checks.unlink()
    fan_out.run([work], str(store.root), workers=1, gpus=0.5, address="there", on_done=lambda *_: None)
    assert pq.read_table(checks).equals(before)
