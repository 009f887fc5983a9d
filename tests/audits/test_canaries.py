"""Canaries: twins that the audit must break or flag, and what it says of a suite that does not."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import toy_audit
from torch import nn

from assay import shelves
from assay.audits import audit, self_checks, suite
from assay.audits.checks import _canaries as canaries
from assay.audits.checks._context import Context
from assay.audits.checks._result import result
from assay.contracts import ThreatModel
from assay.metrics import detection
from assay.models import model_folder
from assay.models.preflight import Unexamined
from assay.models.scoring import pixels
from assay.runtime.threads import one_thread

HEALTHY = model_folder.freeze(toy_audit.Detector("none"))
BUDGET = ThreatModel("linf", 2 / 255)


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture
def context_of(pristine_store, own_cache, tmp_path):
    """A function: (detector, keys of the suite to change) -> a context without scores; canaries need none."""
    store = audit.Store(pristine_store)
    loaded = model_folder.load(store, store.names("models")[0])
    images, _ = audit.test_split(loaded)

    def context_of(detector: nn.Module = HEALTHY, **changes: Any) -> Context:
        tiny = suite.read(toy_audit.write_suite(tmp_path / "tiny.yaml", **changes))
        return Context(detector, images, tiny, {}, {}, threshold=loaded.threshold)

    return context_of


@pytest.fixture
def lazy(context_of):
    """A context whose suite has one attack, which gives the clean images back."""
    attack = {"name": "lazy", "attack": "toy_audit:idle", "threat": "linf"}
    return context_of(attacks=[attack])


def check(name: str):
    return shelves.load("checks", name)


@pytest.mark.parametrize("name", ["canary_weak", "canary_masked", "canary_stochastic"])
def test_a_good_suite_passes(context_of, name):
    found = check(name)(context_of())
    assert found.passed, found.evidence
    assert found.required
    assert found.samples == 16


@pytest.mark.parametrize("threat", [BUDGET, ThreatModel("l2", 0.3)])
def test_the_weak_twin_scores_clean_images_as_the_detector_does_and_falls_to_one_step(context_of, threat):
    context = context_of()
    images = pixels(context.images, 0, 24)[canaries.chosen(context, canaries.FEW)]
    twin = canaries.weak(context, threat)
    assert (twin(images) - HEALTHY(images)).abs().max() < 0.01 * context.spread
    step = twin.weight.sign() if threat.norm == "linf" else twin.weight / twin.weight.norm()
    moved = images + threat.epsilon * step.reshape(1, 1, 16, 16)
    assert (twin(moved) - twin(images)).min() > 20 * context.spread


def test_a_suite_that_breaks_nothing(lazy):
    found = check("canary_weak")(lazy)
    assert not found.passed
    assert "after lazy" in found.evidence
    assert found.value > found.limit


def test_a_suite_that_pushes_the_wrong_way(context_of):
    attack = {"name": "wrong", "attack": "toy_audit:backward", "threat": "linf"}
    assert not check("canary_weak")(context_of(attacks=[attack])).passed


def test_the_masked_twin_has_a_gradient_and_is_caught_all_the_same(context_of):
    context = context_of()
    twin = canaries.masked(context, BUDGET)
    seen = canaries.attacked(context, twin, BUDGET, canaries.entries(context, BUDGET))
    assert check("gradients")(seen).passed, "no gradient is zero"
    assert canaries.auroc(seen) > canaries.BROKEN, "and none is of use"
    assert not check("white_box_beats_black_box")(seen).passed
    assert "flagged by white_box_beats_" in check("canary_masked")(context).evidence


def test_checks_that_see_nothing_miss_the_masked_twin(context_of, monkeypatch):
    from assay.audits.checks import canary_masked

    def blind(context):
        return result("blind", True, "", 0, 0, 0)

    monkeypatch.setattr(canary_masked, "FLAGS", (blind,))
    found = check("canary_masked")(context_of())
    assert not found.passed
    assert "not noticed" in found.evidence


def test_a_suite_that_breaks_the_masked_twin_need_not_flag_it(context_of, monkeypatch):
    from assay.audits.checks import canary_masked

    monkeypatch.setattr(canary_masked, "FLAGS", ())
    monkeypatch.setattr(canaries, "BROKEN", 1.0)
    assert "is broken" in check("canary_masked")(context_of()).evidence


def test_an_audit_that_does_not_see_randomness(context_of, monkeypatch):
    found = check("canary_stochastic")(context_of())
    assert "gives 16 of 16 images another score" in found.evidence
    monkeypatch.setattr("assay.audits.checks._canaries.NOISE", 0.0)
    assert not check("canary_stochastic")(context_of()).passed


def test_a_black_box_is_tried_on_a_black_box_twin(context_of):
    class Blind(nn.Module):
        def forward(self, images):
            with torch.no_grad():
                return HEALTHY(images)

    square = {"name": "square", "attack": {"square": {"queries": 300}}, "threat": "linf"}
    context = context_of(model_folder.freeze(Blind()), attacks=[*toy_audit.SUITE["attacks"], square])
    context = dataclasses.replace(context, facts=Unexamined(differentiable=False))
    images = pixels(context.images, 0, 2).requires_grad_(True)
    assert not canaries.weak(context, BUDGET)(images).requires_grad
    found = check("canary_weak")(context)
    assert found.passed, found.evidence
    assert "after square" in found.evidence
    assert not check("canary_masked")(context).required, "there is no gradient to hide"


def test_canaries_leave_the_detector_as_it_is(context_of):
    context = context_of(nn.Sequential(nn.Dropout(0.5).train(), HEALTHY))
    state = torch.get_rng_state()
    try:
        check("canary_weak")(context)
    finally:
        torch.set_rng_state(state)
    assert not check("eval_mode")(context).passed


def test_the_worst_score_of_every_sample_counts(context_of):
    context = context_of()
    seen = canaries.attacked(context, HEALTHY, BUDGET, canaries.entries(context, BUDGET))
    labels = seen.images.labels
    per_attack = seen.scores["adversarial_score"].reshape(-1, len(labels))
    worst = np.where(labels == 1, per_attack.min(axis=0), per_attack.max(axis=0))
    assert canaries.auroc(seen) == detection.auroc(labels, worst)
    assert {name for name in self_checks.names() if name.startswith("canary")} == {
        "canary_weak", "canary_masked", "canary_stochastic",
    }  # fmt: skip


def test_what_images_do_not_show_of_a_pattern_is_found_a_few_pixels_at_a_time(monkeypatch):
    """As a decomposition of all pixels at once finds it, which takes several copies of large images."""
    monkeypatch.setattr(canaries, "AT_ONCE", 100)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 16, 16), dtype=np.uint8)
    pixels[5] = pixels[0]  # an image that is there twice must not end in a division by nothing
    pattern = canaries.blocks(3, 16, 16)
    shown = torch.from_numpy(pixels[:5].reshape(5, -1)).float().div_(255).double()
    basis, _ = torch.linalg.qr(shown.T)
    left = canaries.unseen(pattern, pixels)
    torch.testing.assert_close(left, pattern - basis @ (basis.T @ pattern), rtol=0, atol=1e-9)
    assert (shown @ left).abs().max() < 1e-9
    assert left.abs().sum() > 0.5 * pattern.abs().sum()
