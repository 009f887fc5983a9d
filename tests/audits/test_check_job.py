"""Checks as pieces of work for workers: which come first, and what a process makes but once."""

from __future__ import annotations

import pytest

from assay.audits import audit, check_job, fan_out, self_checks, tables
from assay.audits.check_job import CheckJob
from assay.audits.checks import _kept as kept_checks
from assay.audits.examination import Examination
from assay.errors import InputError
from assay.models import model_folder


@pytest.fixture
def examined(store, name, tiny):
    """The examination of an audit that is done but for its checks."""
    plan = audit.prepare(store, name, tiny).plan
    _, given, mark = tables.made(store, plan)
    for check in kept_checks.of(store, plan.audit):
        store.remove(kept_checks.KeptChecks(store, plan.audit, mark).key(check))
    return Examination(audit=plan.audit, model=name, device="cpu", given=given, mark=mark, masks=None)


def test_workers_begin_with_the_checks_that_take_long(store, examined, monkeypatch):
    asked = []
    monkeypatch.setattr(fan_out, "run", lambda jobs, root, **where: asked.extend(job.check for job in jobs))
    check_job.spread(store, examined, lambda *_: None, workers=2)
    assert set(asked[:3]) == {"canary_masked", "epsilon_zero", "white_box_beats_black_box"}
    assert sorted(asked) == sorted(self_checks.names())


def test_only_what_is_not_kept_is_made_and_a_process_scores_its_images_once(store, examined, monkeypatch):
    loads, loaded = [], model_folder.loaded
    monkeypatch.setattr(model_folder, "loaded", lambda *where: loads.append(where) or loaded(*where))
    monkeypatch.setattr(check_job, "_CONTEXTS", {})
    made = []
    check_job.spread(store, examined, lambda check, seconds: made.append(check), workers=1)
    assert len(loads) == 1
    assert sorted(made) == sorted(self_checks.names()) == sorted(kept_checks.of(store, examined.audit))
    check_job.spread(store, examined, lambda check, seconds: made.append(check), workers=1)
    assert len(made) == len(self_checks.names())


def test_another_audit_in_the_same_process_has_a_context_of_its_own(store, examined, monkeypatch):
    monkeypatch.setattr(check_job, "_CONTEXTS", {("other", "mark"): None})
    job = CheckJob(check="eval_mode", audit=examined.audit, model=examined.model, device="cpu", mark=examined.mark)
    job.run(str(store.root), examined.given)
    assert list(check_job._CONTEXTS) == [(examined.audit, examined.mark)]


def test_workers_without_a_share_of_the_gpu_are_refused_before_anything_starts():
    with pytest.raises(InputError, match="--gpus-per-worker"), fan_out.cluster("cuda", workers=2, gpus=0, address=None):
        pass
