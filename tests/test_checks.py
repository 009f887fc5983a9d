"""Checks of the audit itself: all pass on a healthy model, and each fails on what it is there to find."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import toy_audit
from torch import nn

from assay import audit, metrics, model, self_check, shard, shelves, suite
from assay.checks._context import Context
from assay.checks.converged import LEFT
from assay.contracts import Images

HEALTHY = toy_audit.Detector("none")
THRESHOLD = 0.6


@pytest.fixture(autouse=True)
def _one_thread():
    with shard.one_thread():
        yield


@pytest.fixture(scope="module")
def images(pristine_store, own_cache) -> Images:
    store = audit.Store(pristine_store)
    found, _ = audit.test_split(model.load(store, store.names("models")[0]))
    return found


@pytest.fixture(scope="module")
def context_of(images, tmp_path_factory):
    """A function: (detector, changed entry of the suite) -> the context of an audit of it."""
    path = tmp_path_factory.mktemp("suite") / "tiny.yaml"

    def context_of(detector: nn.Module = HEALTHY, **entry: Any) -> Context:
        attacks = [*toy_audit.SUITE["attacks"][:2], {**toy_audit.SUITE["attacks"][2], **entry}]
        tiny = suite.read(toy_audit.write_suite(path, attacks=attacks))
        parts: list[pa.Table] = []
        for one in tiny.attacks:
            piece = shard.Shard("a", "m", "d", one.plain(), one.hash, ("linf", 2 / 255), THRESHOLD, images, 0, 0)
            parts.append(shard.attack(piece, detector.requires_grad_(False))[0])
        scores = pa.concat_tables(parts)
        figures = metrics.table(scores, threshold=THRESHOLD, replicates=10)
        return Context(detector, images, tiny, audit.columns(scores), audit.columns(figures))

    return context_of


@pytest.fixture(scope="module")
def healthy(context_of) -> Context:
    return context_of()


def check(name: str):
    return shelves.load("checks", name)


def failed(context: Context) -> set[str]:
    return {row["check"] for row in self_check.table(context).to_pylist() if not row["passed"]}


def changed(context: Context, table: str, column: str, at: Any, value: Any) -> Context:
    """The context with some values of one column of its scores or metrics changed."""
    columns = dict(getattr(context, table))
    columns[column] = columns[column].copy()
    columns[column][at] = value
    return dataclasses.replace(context, **{table: columns})


def without(context: Context, gone: Any) -> Context:
    """The context with some rows of its scores missing."""
    return dataclasses.replace(context, scores={name: column[~gone] for name, column in context.scores.items()})


class Wrapped(nn.Module):
    """The healthy detector with something done to its score."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def forward(self, images):
        return self.change(HEALTHY(images), images)


def test_a_healthy_model_passes_every_check(healthy, images):
    rows = self_check.table(healthy).to_pylist()
    assert [row["check"] for row in rows] == self_check.names()
    assert [row for row in rows if not row["passed"]] == []
    assert all(row["required"] for row in rows)
    assert all(row["samples"] > 0 for row in rows)
    assert all(np.isfinite([row["value"], row["limit"]]).all() for row in rows)


def test_evidence_is_a_sentence_with_the_figures(healthy, images):
    evidence = {row["check"]: row["evidence"] for row in self_check.table(healthy).to_pylist()}
    assert f"{len(images)} clean images differ in 0 scores" in evidence["deterministic"]
    assert "of 168 attacks on a sample 0 are missing" in evidence["nothing_left_out"]  # 24 samples x 7 budgets
    assert "0 of 168 attacked images" in evidence["inside_ball"]
    assert "3 attacks at epsilon 0 change 0 of 16" in evidence["epsilon_zero"]
    assert "PGD-20 at epsilon 255/255 leaves AUROC 0.000 on 16 samples" in evidence["unbounded"]
    assert "linf 2/255 of 16 samples" in evidence["converged"]
    assert "0.0% of 48 samples" in evidence["white_box_beats_noise"]


def test_hidden_randomness(context_of):
    generator = torch.Generator().manual_seed(0)

    def noisy(score, images):
        return score + 1e-4 * torch.randn(score.shape, generator=generator)

    found = failed(context_of(Wrapped(noisy)))
    assert {"deterministic", "epsilon_zero"} <= found


def test_dropout_left_on(images, healthy):
    detector = nn.Sequential(nn.Dropout(0.5), HEALTHY).train()
    state = torch.get_rng_state()
    try:
        row = check("deterministic")(dataclasses.replace(healthy, detector=detector))
    finally:
        torch.set_rng_state(state)
    assert not row["passed"]
    assert row["value"] > 0
    assert f"differ in {row['value']:.0f} scores" in row["evidence"]


def test_scores_that_lean_on_the_rest_of_the_batch(context_of):
    found = failed(context_of(Wrapped(lambda score, images: score - score.mean().detach())))
    assert "scored_alone" in found


def test_scores_of_another_model(healthy):
    other = dataclasses.replace(healthy, detector=Wrapped(lambda score, images: 1.01 * score))
    assert "clean_reproduced" in failed(other)
    one = changed(healthy, "scores", "clean_score", 5, 0.123)
    assert not check("clean_reproduced")(one)["passed"]


def test_a_sample_that_is_not_in_the_test_split(healthy):
    stranger = changed(healthy, "scores", "sample", 3, "stranger")
    assert {"clean_reproduced", "nothing_left_out"} <= failed(stranger)


@pytest.mark.parametrize("what", ["sample", "attack", "epsilon", "one"])
def test_missing_scores(healthy, images, what):
    scores = healthy.scores
    gone = {
        "sample": scores["sample"] == images.ids[4],
        "attack": (scores["attack"] == "pgd-linf") & (scores["sample"] == images.ids[4]),  # noise still has it
        "epsilon": (scores["attack"] == "pgd-linf") & np.isclose(scores["epsilon"], 2 / 255),
        "one": np.arange(len(scores["sample"])) == 77,
    }[what]
    row = check("nothing_left_out")(without(healthy, gone))
    assert not row["passed"]
    assert f"{gone.sum()} are missing" in row["evidence"]


def test_scores_that_are_there_twice(healthy):
    twice = {name: np.append(column, column[:2]) for name, column in healthy.scores.items()}
    row = check("nothing_left_out")(dataclasses.replace(healthy, scores=twice))
    assert (row["passed"], row["value"]) == (False, 2)


@pytest.mark.parametrize("attack", ["toy_audit:cheat", "toy_audit:stubborn"])
def test_images_outside_the_ball(context_of, attack):
    context = context_of(attack=attack, threat="linf", epsilons=["1/255", "2/255"])
    row = check("inside_ball")(context)
    assert not row["passed"]
    assert "48 of 168 attacked images" in row["evidence"]


@pytest.mark.parametrize("distance", [2 / 255 + 2e-6, np.inf, np.nan])
def test_one_image_outside_the_ball(healthy, distance):
    at = np.flatnonzero((healthy.scores["norm"] == "linf") & np.isclose(healthy.scores["epsilon"], 2 / 255))[0]
    assert not check("inside_ball")(changed(healthy, "scores", "linf", at, distance))["passed"]


def test_float32_rounding_is_not_outside(healthy):
    at = np.flatnonzero((healthy.scores["norm"] == "linf") & np.isclose(healthy.scores["epsilon"], 2 / 255))[0]
    assert check("inside_ball")(changed(healthy, "scores", "linf", at, 2 / 255 + 5e-7))["passed"]


def test_an_attack_that_ignores_epsilon(context_of):
    row = check("epsilon_zero")(context_of(attack="toy_audit:stubborn", threat="linf", epsilons=["4/255"]))
    assert not row["passed"]
    assert "apgd-l2: 16" in row["evidence"]


def test_an_attack_in_the_wrong_direction(context_of):
    row = check("robust_below_clean")(context_of(attack="toy_audit:backward", threat="linf", epsilons=["2/255"]))
    assert not row["passed"]
    assert "24 of" in row["evidence"]


def test_a_robust_figure_above_the_clean_one(healthy):
    auroc = (healthy.metrics["metric"] == "auroc") & (healthy.metrics["defect"] == "all")
    at = np.flatnonzero(auroc & (healthy.metrics["attack"] == "pgd-linf"))[0]
    context = changed(healthy, "metrics", "value", at, 1.001)
    row = check("robust_below_clean")(context)
    assert not row["passed"]
    assert "1.0010" in row["evidence"]


def test_a_figure_that_rises_with_epsilon(healthy):
    m = healthy.metrics
    worst = (m["metric"] == "auroc") & (m["defect"] == "all") & (m["attack"] == "worst") & (m["regime"] == "both")
    at = np.flatnonzero(worst & (m["norm"] == "linf") & np.isclose(m["epsilon"], 8 / 255))[0]
    before = np.flatnonzero(worst & (m["norm"] == "linf") & np.isclose(m["epsilon"], 2 / 255))[0]
    context = changed(healthy, "metrics", "value", at, m["value"][before] + 0.01)
    row = check("monotone_in_epsilon")(context)
    assert not row["passed"]
    assert row["value"] == pytest.approx(0.01)
    assert failed(context) == {"monotone_in_epsilon"}


def test_a_staircase(context_of):
    assert {"gradients", "white_box_beats_noise", "unbounded"} <= failed(context_of(toy_audit.Detector("masked")))


def test_a_saturated_sigmoid(context_of):
    saturated = Wrapped(lambda score, images: torch.sigmoid(2000 * (score - 0.4)))
    context = context_of(saturated)
    row = check("gradients")(context)
    assert not row["passed"]
    assert row["value"] == 24
    assert "white_box_beats_noise" in failed(context)


def test_a_staircase_with_a_gentle_slope(context_of):
    """Its gradient is nowhere zero and of no use: it points along one random pattern."""
    pattern = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    def masked(score, images):
        return torch.floor(score * 3000) / 3000 + 1e-9 * (images * pattern).flatten(1).sum(1)

    context = context_of(Wrapped(masked))
    assert check("gradients")(context)["passed"], "a check of the gradient alone does not see it"
    row = check("white_box_beats_noise")(context)
    assert not row["passed"]
    assert row["value"] > 0.01


class Lie(torch.autograd.Function):
    """The healthy score with a gradient that says nothing about it."""

    @staticmethod
    def forward(ctx, images):
        ctx.shape = images.shape
        return HEALTHY(images)

    @staticmethod
    def backward(ctx, above):
        lie = torch.randn(ctx.shape, generator=torch.Generator().manual_seed(0))
        return above.reshape(-1, 1, 1, 1) * lie


def test_a_gradient_that_lies(context_of):
    context = context_of(Wrapped(lambda score, images: Lie.apply(images)))
    assert check("gradients")(context)["passed"]
    assert "white_box_beats_noise" in failed(context)


def test_a_gradient_that_is_not_finite(healthy):
    root = Wrapped(lambda score, images: score + torch.sqrt((score - score.detach()).abs()))
    row = check("gradients")(dataclasses.replace(healthy, detector=root))
    assert (row["passed"], row["value"]) == (False, 24)


def test_a_white_box_attack_weaker_than_noise(healthy):
    by_noise = healthy.scores["attack"] == "noise-linf"
    weak = healthy.scores["clean_score"][~by_noise]
    row = check("white_box_beats_noise")(changed(healthy, "scores", "adversarial_score", ~by_noise, weak))
    assert not row["passed"]
    assert row["value"] > 0.9
    assert f"{row['value']:.1%} of 48" in row["evidence"]


def test_no_control_by_noise(healthy):
    attacks = [entry for entry in healthy.suite.attacks if entry.knowledge != "none"]
    context = dataclasses.replace(healthy, suite=healthy.suite.model_copy(update={"attacks": attacks}))
    row = check("white_box_beats_noise")(without(context, healthy.scores["attack"] == "noise-linf"))
    assert not row["passed"]
    assert "no noise control" in row["evidence"]


def test_an_attack_without_bounds_that_does_not_get_through(healthy):
    row = check("unbounded")(dataclasses.replace(healthy, detector=toy_audit.Detector("masked")))
    assert not row["passed"]
    assert row["value"] > row["limit"]
    assert f"AUROC {row['value']:.3f}" in row["evidence"]


def test_a_suite_that_gave_up_early(healthy):
    clean = healthy.scores["clean_score"]
    row = check("converged")(changed(healthy, "scores", "adversarial_score", np.s_[:], clean))
    assert not row["passed"]
    assert row["value"] > LEFT
