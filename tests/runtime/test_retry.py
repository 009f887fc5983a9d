"""What is tried again, how often, and what Ray's errors say of why."""

from __future__ import annotations

import pytest
import ray
import torch
import toy_runs
import yaml
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    RuntimeEnvSetupError,
    WorkerCrashedError,
)

from assay.cluster import ray_failures
from assay.config import reader
from assay.errors import DivergedError, StoreError, SweepError
from assay.runtime import retry
from assay.store import trial_log
from assay.store.store import Store
from assay.sweeps.study import Study


def raised(error: Exception) -> RayTaskError:
    return RayTaskError("run", "Traceback ...", error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ActorDiedError(), "worker"),
        (WorkerCrashedError(), "worker"),
        (RayActorError(preempted=True), "node"),
        (RayActorError(error_msg="The actor died because its node has died. Node Id: 1"), "node"),
        (ActorUnavailableError("Socket closed", None), "node"),
        (NodeDiedError("gone"), "node"),
        (OutOfMemoryError("killed"), "host_memory"),
        (RayActorError(error_msg="1 worker(s) were killed due to the node running low on memory."), "host_memory"),
        (RayActorError(error_msg="raised in its creation task", actor_init_failed=True), "worker"),
        (RuntimeEnvSetupError("pip failed"), "worker"),
        (raised(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")), "gpu_memory"),
        (raised(torch.AcceleratorError("CUDA error: out of memory")), "gpu_memory"),
        (raised(RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if")), "gpu_memory"),
        (raised(RuntimeError("GET was unable to find an engine to execute this computation")), "gpu_memory"),
        (raised(torch.AcceleratorError("CUDA error: device-side assert triggered")), "bug"),
        (raised(MemoryError()), "host_memory"),
        (raised(StoreError("full")), "store"),
        (raised(DivergedError("NaN")), "diverged"),
        (raised(SweepError("the machine of this worker has torch 1")), "versions"),
        (raised(ValueError("?")), "bug"),
    ],
)
def test_a_kind_and_a_line_for_every_way_work_is_lost(error, kind):
    assert ray_failures.kind(error) == kind
    assert kind in retry.KINDS
    assert ray_failures.message(error)


@pytest.mark.parametrize(
    "error",
    [
        RayActorError(error_msg="The actor died, in its creation task\nTraceback\nno space", actor_init_failed=True),
        RuntimeEnvSetupError("Traceback\nno space"),
    ],
)
def test_a_worker_that_never_began_says_why_and_is_tried_again(error):
    assert ray_failures.message(error) == "the worker could not begin: no space"
    assert retry.again(ray_failures.kind(error), [])
    assert ray_failures.kind(error) in retry.OUTSIDE, "a resume tries it once more"


def test_each_kind_has_its_own_rule_and_count():
    assert [retry.again("worker", ["worker"] * n) for n in range(4)] == [True, True, False, False]
    assert not retry.again("worker", [], worker=0)
    assert retry.again("worker", ["node"] * 40), "the loss of machines counts by itself"
    assert retry.again("node", ["node"] * 40 + ["worker"] * 2)
    for memory in ("host_memory", "gpu_memory"):
        assert [retry.again(memory, [memory] * n) for n in range(2)] == [True, False]
    assert not any(retry.again(kind, []) for kind in ("diverged", "configuration", "dataset", "bug"))
    assert set(retry.ALLOWED) | retry.ENDS_ALL <= retry.OUTSIDE <= set(retry.KINDS)


@pytest.fixture
def study(tmp_path):
    raw = toy_runs.search_space(tmp_path, retries=1)
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(raw))
    found = Study(reader.read(tmp_path / "toy.yaml"), Store(tmp_path / "store"))
    yield found
    found.log.close()


def test_a_lost_trial_is_handed_out_again_before_any_new_one_until_its_rule_ends_it(study):
    heard = []
    study.listeners.append(lambda record, event: heard.append((record.number, event)))
    study.next_order()
    first = study.next_order()
    assert study.remaining == 2
    study.failed(1, "node", "gone")
    assert study.remaining == 3
    assert study.next_order() == first, "the same order"
    study.failed(1, "worker", "dead")
    assert study.next_order().number == 1
    study.failed(1, "worker", "dead")
    study.failed(1, "worker", "told twice")
    assert (study.records[1].state, study.records[1].failure) == ("failed", "worker")
    assert study.next_order().number == 2
    events = trial_log.read(study.store, "toy")
    assert [(e["event"], e.get("failure")) for e in events if e["trial"] == 1] == [
        ("ask", None),
        ("retry", "node"),
        ("retry", "worker"),
        ("end", "worker"),
    ]
    assert [event for number, event in heard if number == 1] == ["ask", "retry", "retry", "end"]


def test_a_resume_knows_what_was_tried_and_gives_a_trial_that_had_ended_its_chances_again(study):
    study.next_order()
    study.next_order()
    study.failed(0, "worker", "dead")
    study.next_order()
    study.failed(0, "worker", "dead")  # its end: retries is 1
    study.failed(1, "worker", "dead")
    study.log.close()
    again = Study(study.spec, study.store)
    assert again.waiting == [0, 1]
    assert [again.next_order().number for _ in range(3)] == [0, 1, 2]
    assert again.records[0].retried == ["worker", "worker"]
    again.failed(0, "worker", "dead")
    again.failed(1, "worker", "dead")
    assert (again.records[0].state, again.records[1].state) == ("running", "failed")
    assert again.records[0].retried == ["worker"] * 3
    again.log.close()


def test_a_failure_in_a_report_follows_the_same_rules(study):
    study.next_order()
    assert study.report(0, {"failure": "host_memory", "message": "no memory"})
    assert study.records[0].state == "running"
    assert study.next_order().number == 0
    assert study.report(0, {"failure": "host_memory", "message": "no memory"})
    assert (study.records[0].state, study.records[0].failure) == ("failed", "host_memory")


def test_a_store_that_stays_broken_ends_the_sweep_and_not_one_trial_after_another(study):
    study.next_order()
    for _ in range(retry.ALLOWED["store"]):
        study.failed(0, "store", "no space left")
        study.next_order()
    with pytest.raises(StoreError, match="no space left"):
        study.failed(0, "store", "no space left")
    study.next_order()
    with pytest.raises(SweepError, match="torch"):
        study.failed(1, "versions", "the machine has torch 1")
    assert ray.is_initialized() is False


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("CUDA error: an illegal memory access was encountered", True),
        ("CUDA error: device-side assert triggered", True),
        ("CUDA error: out of memory", False),
        ("shapes cannot be multiplied", False),
    ],
)
def test_a_process_ends_after_an_error_that_leaves_its_gpu_unusable(text, lost, monkeypatch, capsys):
    ended = []
    monkeypatch.setattr(retry.os, "_exit", ended.append)
    retry.leave_if_gpu_lost(RuntimeError(text))
    assert ended == [1] * lost
    assert (text in capsys.readouterr().err) == lost
