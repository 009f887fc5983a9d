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

from assay import shelves
from assay.audits import audit, self_checks, suite
from assay.audits.attack_job import AttackJob
from assay.audits.checks._context import Context
from assay.audits.tables import columns
from assay.contracts import Images
from assay.metrics import detection
from assay.models import model_folder
from assay.models.preflight import Unexamined
from assay.runtime.float32 import exact_float32, is_rough
from assay.runtime.threads import one_thread
from assay.store import score_matrix

HEALTHY = model_folder.freeze(toy_audit.Detector("none"))
ADVICE = {"diverse_attacks"}  # the tiny suite has no attack that sees scores or decisions alone


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def loaded(pristine_store) -> model_folder.Model:
    store = audit.Store(pristine_store)
    return model_folder.load(store, store.names("models")[0])


@pytest.fixture(scope="module")
def images(loaded, own_cache) -> Images:
    return audit.test_split(loaded)[0]


@pytest.fixture(scope="module")
def context_of(images, loaded, tmp_path_factory):
    """A function: (detector, changed entry of the suite) -> the context of an audit of it."""
    path = tmp_path_factory.mktemp("suite") / "tiny.yaml"
    threshold = loaded.threshold

    def context_of(detector: nn.Module = HEALTHY, stochastic: bool = False, **entry: Any) -> Context:
        attacks = [*toy_audit.SUITE["attacks"][:2], {**toy_audit.SUITE["attacks"][2], **entry}]
        tiny = suite.read(toy_audit.write_suite(path, attacks=attacks))
        parts: list[pa.Table] = []
        for one in tiny.attacks:
            job = AttackJob(
                audit="a",
                model="m",
                dataset="d",
                entry=one.plain(),
                parameters=one.hash,
                headline=("linf", 2 / 255),
                threshold=threshold,
                images=images,
                seed=0,
                stochastic=stochastic,
            )
            parts.append(job.compute(images, model_folder.freeze(detector))[0])
        scores = pa.concat_tables(parts)
        figures = detection.table(score_matrix.read(scores), threshold=threshold, replicates=10)
        about = {"manifest": loaded.manifest, "threshold": threshold, "facts": Unexamined(stochastic=stochastic)}
        return Context(detector, images, tiny, columns(scores), columns(figures), **about)

    return context_of


@pytest.fixture(scope="module")
def healthy(context_of) -> Context:
    return context_of()


def check(name: str):
    return shelves.load("checks", name)


def failed(context: Context) -> set[str]:
    return {row["check"] for row in self_checks.table(context).to_pylist() if not row["passed"]}


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
    rows = self_checks.table(healthy).to_pylist()
    assert [row["check"] for row in rows] == self_checks.names()
    assert {row["check"] for row in rows if not row["passed"]} == ADVICE
    assert all(row["samples"] > 0 for row in rows if "not applicable" not in row["evidence"])
    assert all(np.isfinite([row["value"], row["limit"]]).all() for row in rows)


def test_what_is_required_is_what_no_audit_can_be_valid_without(healthy):
    rows = self_checks.table(healthy).to_pylist()
    assert {row["check"] for row in rows if not row["required"]} == ADVICE | {
        *("threshold_in_range", "black_box_beats_noise", "stable_in_small_ball", "not_the_training_attack_alone"),
        *("adaptive", "averaged_over_draws", "black_box_without_gradient", "corruptions_monotone"),
        *("certified_below_empirical", "attacks_described", "every_figure_has_an_interval", "threat_models_stated"),
        *("deployed_equal", "monotone_claim"),
    }


def test_a_check_that_the_detector_stops_has_failed(healthy):
    root = Wrapped(lambda score, images: score + torch.sqrt((score - score.detach()).abs()))
    found = self_checks.outcome("unbounded", dataclasses.replace(healthy, detector=root))
    assert (found.passed, found.required) == (False, True)
    assert "could not be made" in found.evidence


def test_evidence_is_a_sentence_with_the_figures(healthy, images):
    evidence = {row["check"]: row["evidence"] for row in self_checks.table(healthy).to_pylist()}
    assert f"{len(images)} clean images differ in 0 scores" in evidence["deterministic"]
    assert "of 168 attacks on a sample 0 are missing" in evidence["nothing_left_out"]  # 24 samples x 7 budgets
    assert "0 of 168 attacked images" in evidence["inside_ball"]
    assert "3 attacks at epsilon 0 change 0 of 4" in evidence["epsilon_zero"]
    assert "PGD-20 at epsilon 255/255 leaves AUROC 0.000 on 24 samples" in evidence["unbounded"]
    assert "hides 100% of the anomalies and flags 100% of the normals" in evidence["unbounded"]
    assert "linf 2/255 of 24 samples" in evidence["converged_in_steps"], "8 of each class do not decide"
    assert "0.0% of 48 samples" in evidence["white_box_beats_noise"]
    assert "100% is kept" in evidence["eight_bit"]
    assert "there are 2: linf, l2" in evidence["threat_models_stated"]


def test_hidden_randomness(context_of):
    generator = torch.Generator().manual_seed(0)

    def noisy(score, images):
        return score + 1e-4 * torch.randn(score.shape, generator=generator)

    found = failed(context_of(Wrapped(noisy)))
    assert {"deterministic", "epsilon_zero"} <= found


def test_dropout_left_on(images, healthy):
    detector = nn.Sequential(nn.Dropout(0.5).train(), HEALTHY)
    state = torch.get_rng_state()
    try:
        found = check("deterministic")(dataclasses.replace(healthy, detector=detector))
    finally:
        torch.set_rng_state(state)
    assert not found.passed
    assert found.value > 0
    assert f"differ in {found.value:.0f} scores" in found.evidence
    found = check("eval_mode")(dataclasses.replace(healthy, detector=detector))
    assert not found.passed
    assert "(the detector, 0)" in found.evidence


def test_scores_that_lean_on_the_rest_of_the_batch(context_of):
    found = failed(context_of(Wrapped(lambda score, images: score - score.mean().detach())))
    assert "scored_alone" in found


def test_scores_of_another_model(healthy):
    other = dataclasses.replace(healthy, detector=Wrapped(lambda score, images: 1.01 * score))
    assert "clean_reproduced" in failed(other)
    one = changed(healthy, "scores", "clean_score", 5, 0.123)
    assert not check("clean_reproduced")(one).passed


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
    found = check("nothing_left_out")(without(healthy, gone))
    assert not found.passed
    assert f"{gone.sum()} are missing" in found.evidence


def test_scores_that_are_there_twice(healthy):
    twice = {name: np.append(column, column[:2]) for name, column in healthy.scores.items()}
    found = check("nothing_left_out")(dataclasses.replace(healthy, scores=twice))
    assert (found.passed, found.value) == (False, 2)


@pytest.mark.parametrize("attack", ["toy_audit:cheat", "toy_audit:stubborn"])
def test_images_outside_the_ball(context_of, attack):
    context = context_of(attack=attack, threat="linf", epsilons=["1/255", "2/255"])
    found = check("inside_ball")(context)
    assert not found.passed
    assert "48 of 168 attacked images" in found.evidence


@pytest.mark.parametrize("distance", [2 / 255 + 2e-6, np.inf, np.nan])
def test_one_image_outside_the_ball(healthy, distance):
    at = np.flatnonzero((healthy.scores["norm"] == "linf") & np.isclose(healthy.scores["epsilon"], 2 / 255))[0]
    assert not check("inside_ball")(changed(healthy, "scores", "linf", at, distance)).passed


def test_float32_rounding_is_not_outside(healthy):
    at = np.flatnonzero((healthy.scores["norm"] == "linf") & np.isclose(healthy.scores["epsilon"], 2 / 255))[0]
    assert check("inside_ball")(changed(healthy, "scores", "linf", at, 2 / 255 + 5e-7)).passed


def test_an_attack_that_ignores_epsilon(context_of):
    found = check("epsilon_zero")(context_of(attack="toy_audit:stubborn", threat="linf", epsilons=["4/255"]))
    assert not found.passed
    assert "apgd-l2: 4" in found.evidence


def test_an_attack_in_the_wrong_direction(context_of):
    found = check("robust_below_clean")(context_of(attack="toy_audit:backward", threat="linf", epsilons=["2/255"]))
    assert not found.passed
    assert "24 of" in found.evidence


def test_a_robust_figure_above_the_clean_one(healthy):
    auroc = (healthy.metrics["metric"] == "auroc") & (healthy.metrics["defect"] == "all")
    at = np.flatnonzero(auroc & (healthy.metrics["attack"] == "pgd-linf"))[0]
    context = changed(healthy, "metrics", "value", at, 1.001)
    found = check("robust_below_clean")(context)
    assert not found.passed
    assert "1.0010" in found.evidence


def test_a_figure_that_rises_with_epsilon(healthy):
    m = healthy.metrics
    worst = (m["metric"] == "auroc") & (m["defect"] == "all") & (m["attack"] == "worst") & (m["regime"] == "both")
    at = np.flatnonzero(worst & (m["norm"] == "linf") & np.isclose(m["epsilon"], 8 / 255))[0]
    before = np.flatnonzero(worst & (m["norm"] == "linf") & np.isclose(m["epsilon"], 2 / 255))[0]
    context = changed(healthy, "metrics", "value", at, m["value"][before] + 0.01)
    found = check("monotone_in_epsilon")(context)
    assert not found.passed
    assert found.value == pytest.approx(0.01)
    assert failed(context) - ADVICE == {"monotone_in_epsilon", "worst_case_per_sample", "every_figure_has_an_interval"}


def test_a_staircase(context_of):
    assert {"gradients", "white_box_beats_noise", "unbounded"} <= failed(context_of(toy_audit.Detector("masked")))


def test_a_saturated_sigmoid(context_of):
    saturated = Wrapped(lambda score, images: torch.sigmoid(2000 * (score - 0.4)))
    context = context_of(saturated)
    found = check("gradients")(context)
    assert not found.passed
    assert found.value == 24
    assert "white_box_beats_noise" in failed(context)


def test_a_staircase_with_a_gentle_slope(context_of):
    """Its gradient is nowhere zero and of no use: it points along one random pattern."""
    pattern = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    def masked(score, images):
        return torch.floor(score * 3000) / 3000 + 1e-9 * (images * pattern).flatten(1).sum(1)

    context = context_of(Wrapped(masked))
    assert check("gradients")(context).passed, "a check of the gradient alone does not see it"
    found = check("white_box_beats_noise")(context)
    assert not found.passed
    assert found.value > 0.01


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
    assert check("gradients")(context).passed
    assert "white_box_beats_noise" in failed(context)


def test_a_gradient_that_is_not_finite(healthy):
    root = Wrapped(lambda score, images: score + torch.sqrt((score - score.detach()).abs()))
    found = check("gradients")(dataclasses.replace(healthy, detector=root))
    assert (found.passed, found.value) == (False, 24)


def test_a_white_box_attack_weaker_than_noise(healthy):
    by_noise = healthy.scores["attack"] == "noise-linf"
    weak = healthy.scores["clean_score"][~by_noise]
    found = check("white_box_beats_noise")(changed(healthy, "scores", "adversarial_score", ~by_noise, weak))
    assert not found.passed
    assert found.value > 0.9
    assert f"{found.value:.1%} of 48" in found.evidence


def test_no_control_by_noise(healthy):
    attacks = [entry for entry in healthy.suite.attacks if entry.knowledge != "none"]
    context = dataclasses.replace(healthy, suite=healthy.suite.model_copy(update={"attacks": attacks}))
    found = check("white_box_beats_noise")(without(context, healthy.scores["attack"] == "noise-linf"))
    assert not found.passed
    assert "no noise control" in found.evidence


def test_an_attack_without_bounds_that_does_not_get_through(healthy):
    found = check("unbounded")(dataclasses.replace(healthy, detector=toy_audit.Detector("masked")))
    assert not found.passed
    assert found.value > found.limit
    assert f"AUROC {found.value:.3f}" in found.evidence


@pytest.mark.parametrize("name", ["converged_in_steps", "converged_in_restarts"])
def test_a_suite_that_gave_up_early(healthy, name):
    found = check(name)(unattacked(healthy))
    assert not found.passed
    assert found.value > found.limit


def unattacked(context: Context) -> Context:
    """The context of an audit in which no attack moved a score."""
    return changed(context, "scores", "adversarial_score", np.s_[:], context.scores["clean_score"])


def test_weights_that_are_not_frozen_and_weights_with_a_gradient(healthy):
    loose = toy_audit.Detector("none").eval()
    found = check("eval_mode")(dataclasses.replace(healthy, detector=loose))
    assert not found.passed
    assert "1 weights are not frozen (weight)" in found.evidence
    loose(torch.rand(2, 1, 16, 16)).sum().backward()
    found = check("no_weight_gradients")(dataclasses.replace(healthy, detector=loose))
    assert not found.passed
    assert "1 of 1 weights hold a gradient" in found.evidence


def test_a_clean_figure_that_is_not_the_manifest_s(healthy):
    said = {**healthy.manifest, "figures": {**healthy.manifest["figures"], "clean_auroc": 0.93}}
    found = check("manifest_reproduced")(dataclasses.replace(healthy, manifest=said))
    assert not found.passed
    assert "0.9300 in the model's manifest" in found.evidence
    assert check("manifest_reproduced")(healthy).required


def test_a_score_of_a_rough_step_is_not_compared_with_exact_ones(healthy, context_of):
    """TF32 may put a score 5 % of a deviation too high; an attack that steps in it confirms its result exactly."""
    loose = Wrapped(lambda score, images: score * (1 + is_rough()))
    rough = context_of(attack={"apgd": {"steps": 8, "precision": "tf32"}}).suite
    rough = rough.only([entry for entry in rough.attacks if entry.attack.name == "apgd"])
    with exact_float32():
        found = check("best_iterate_kept")(dataclasses.replace(healthy, detector=loose, suite=rough))
    assert found.passed, found.evidence
    assert found.samples


def test_where_a_gpu_made_a_figure_two_pairs_may_change_places(healthy):
    """Its sums have other orders, so that scores which are nearly equal may swap."""
    stated, gpu = healthy.manifest["figures"]["clean_auroc"], {"environment": {"hardware": {"gpus": ["H200"]}}}
    pairs = 6 * 6

    def passes(swapped: float, **more: Any) -> bool:
        said = {**healthy.manifest, "figures": {**healthy.manifest["figures"], "clean_auroc": stated - swapped / pairs}}
        return check("manifest_reproduced")(dataclasses.replace(healthy, manifest={**said, **more})).passed

    assert passes(0)
    assert not passes(1)
    assert passes(1.9, **gpu)
    assert not passes(2.1, **gpu)


def test_a_manifest_without_figures_says_nothing(healthy):
    assert not check("manifest_reproduced")(dataclasses.replace(healthy, manifest={})).required


def test_a_score_of_the_wrong_sign(context_of):
    found = check("score_order")(context_of(Wrapped(lambda score, images: -score)))
    assert not found.passed
    assert found.value < 0.1


@pytest.mark.parametrize("label", [0, 1])
def test_an_attack_that_moves_one_class_the_wrong_way(healthy, label):
    scores = healthy.scores
    at = (scores["attack"] == "pgd-linf") & (scores["label"] == label)
    back = scores["clean_score"][at] - 1e-4 * scores["direction"][at]
    found = check("attack_direction")(changed(healthy, "scores", "adversarial_score", at, back))
    assert not found.passed
    assert f"pgd-linf {['normals', 'anomalies'][label]} by -0.0001" in found.evidence
    assert not check("attack_direction")(unattacked(healthy)).passed, "an attack that moves nothing is broken too"


def test_a_threshold_that_flags_everything(healthy):
    found = check("threshold_in_range")(dataclasses.replace(healthy, threshold=-1.0))
    assert (found.passed, found.required) == (False, False)


def test_a_gradient_that_vanishes_where_the_attack_ends(healthy):
    known = torch.from_numpy(healthy.clean).float()

    def dies(score, images):
        nearest = (score.detach()[:, None] - known).abs().amin(1)
        return torch.where(nearest < 1e-6, score, score.detach() + 0 * score)

    found = check("gradients")(dataclasses.replace(healthy, detector=Wrapped(dies)))
    assert not found.passed
    assert "0 of 24 clean images" in found.evidence
    assert found.value >= 1


def test_half_of_the_grey_scale_leaves_the_ranking(healthy):
    found = check("half_range")(dataclasses.replace(healthy, detector=toy_audit.Detector("masked")))
    assert not found.passed
    assert found.value > 0.5


def test_a_start_that_holds_the_attack_back(healthy):
    found = check("cold_start")(unattacked(healthy))
    assert not found.passed
    assert "pgd-linf at linf 2/255 leaves AUROC" in found.evidence


def test_a_single_step_that_goes_further(healthy):
    found = check("iterative_beats_single_step")(unattacked(healthy))
    assert (found.passed, found.value) == (False, 1.0)


def test_an_attack_that_returns_its_last_image(context_of):
    found = check("best_iterate_kept")(context_of(attack="toy_audit:forgetful", threat="linf"))
    assert not found.passed
    assert "apgd-l2: 4" in found.evidence


def test_a_search_without_gradients_goes_further(healthy):
    found = check("white_box_beats_black_box")(unattacked(healthy))
    assert (found.passed, found.value) == (False, 1.0)
    assert "100 queries of Square at linf 2/255" in found.evidence


@pytest.fixture(scope="module")
def with_square(context_of) -> Context:
    return context_of(attack={"square": {"queries": 30}}, threat="linf")


def test_the_suite_s_own_black_box_attack_goes_further(with_square):
    assert check("white_box_beats_black_box")(with_square).passed
    blind = with_square.scores["attack"] == "apgd-l2"
    far = with_square.scores["clean_score"] + with_square.scores["direction"]
    found = check("white_box_beats_black_box")(changed(with_square, "scores", "adversarial_score", blind, far[blind]))
    assert not found.passed
    assert "black-box attacks of the suite go further than the white-box attacks on 100.0% of 72" in found.evidence


def test_noise_that_beats_who_sees_scores(with_square):
    assert "noise beats score on" in check("black_box_beats_noise")(with_square).evidence
    noise = with_square.scores["attack"] == "noise-linf"
    far = with_square.scores["clean_score"] + with_square.scores["direction"]
    found = check("black_box_beats_noise")(changed(with_square, "scores", "adversarial_score", noise, far[noise]))
    assert (found.passed, found.required) == (False, False)


def test_a_score_that_shivers(healthy):
    shivering = Wrapped(lambda score, images: score + torch.sin(1e4 * images[:, 0, 0, 0]))
    found = check("stable_in_small_ball")(dataclasses.replace(healthy, detector=shivering))
    assert not found.passed


def test_attacks_of_every_kind(with_square):
    assert "no attack sees only decisions" in check("diverse_attacks")(with_square).evidence
    assert "apgd-l2 sees scores but no gradient" in check("diverse_attacks")(with_square).evidence


def test_the_training_attack_alone(healthy):
    assert "trained or chosen with pgd; " in check("not_the_training_attack_alone")(healthy).evidence
    attacks = [entry for entry in healthy.suite.attacks if entry.attack.name != "apgd"]
    alone = dataclasses.replace(healthy, suite=healthy.suite.only(attacks))
    assert not check("not_the_training_attack_alone")(alone).passed


def test_neighbours_need_an_attack_of_their_own(healthy):
    found = check("adaptive")(dataclasses.replace(healthy, facts=Unexamined(neighbours=True)))
    assert not found.passed
    assert "attacks made for these: none" in found.evidence


def test_a_random_score_needs_averages(healthy):
    random = dataclasses.replace(healthy, facts=Unexamined(stochastic=True))
    found = check("averaged_over_draws")(random)
    assert (found.passed, found.required) == (False, True)
    assert not check("deterministic")(random).required


@pytest.mark.parametrize("spread", [0.05, 0.5])
def test_noise_of_a_score_that_is_known_to_be_random_fails_no_check(context_of, healthy, spread):
    generator = torch.Generator().manual_seed(0)

    def noisy(score, images):
        return score + spread * healthy.spread * torch.randn(score.shape, generator=generator)

    context = context_of(Wrapped(noisy), stochastic=True)
    assert context.redrawn
    compared = ("robust_below_clean", "monotone_in_epsilon", "worst_case_per_sample", "white_box_beats_noise")
    further = ("converged_in_steps", "converged_in_restarts", "cold_start", "white_box_beats_black_box")
    assert [name for name in (*compared, *further) if not check(name)(context).passed] == []
    lucky = changed(context, "scores", "selection_score", np.s_[:], context.scores["clean_score"])
    assert not check("worst_case_per_sample")(lucky).passed, "it was chosen by another draw"


def test_no_gradient_and_no_black_box(healthy, with_square):
    blind = Unexamined(differentiable=False)
    assert not check("black_box_without_gradient")(dataclasses.replace(healthy, facts=blind)).passed
    found = check("black_box_without_gradient")(dataclasses.replace(with_square, facts=blind))
    assert (found.passed, found.required) == (True, True)
    assert "at the headline: apgd-l2" in found.evidence


def test_saved_images_that_leave_the_ball(healthy, monkeypatch):
    monkeypatch.setattr(
        "assay.audits.checks.eight_bit.to_8_bit", lambda moved, clean, threat: (255 * moved + 1).ceil() / 255
    )
    found = check("eight_bit")(healthy)
    assert not found.passed
    assert found.value > 1e-3


def test_a_worst_case_that_is_not_the_worst(healthy):
    at = np.flatnonzero(healthy.scores["attack"] == "pgd-linf")
    found = check("worst_case_per_sample")(without(healthy, np.isin(np.arange(168), at)))
    assert not found.passed
    assert "15 worst-case AUROCs" in found.evidence


def test_corruptions_that_get_gentler(healthy):
    rows = [(label, severity) for severity in (1, 2, 3) for label in (0, 0, 1, 1)]
    table = {
        "sample": np.array([f"s{i % 4}" for i in range(12)]),
        "label": np.array([label for label, _ in rows]),
        "corruption": np.repeat("fog", 12),
        "severity": np.array([severity for _, severity in rows]),
        "clean_score": np.tile([0.0, 0.1, 1.0, 1.1], 3),
        "score": np.tile([0.0, 0.1, 1.0, 1.1], 3) + np.array([severity for _, severity in rows]),
    }
    assert check("corruptions_monotone")(dataclasses.replace(healthy, corrupted=table)).passed
    gentler = {**table, "score": table["clean_score"] + np.array([4 - severity for _, severity in rows])}
    assert not check("corruptions_monotone")(dataclasses.replace(healthy, corrupted=gentler)).passed


def test_a_proof_that_an_attack_refutes(healthy, images):
    count = len(images)
    proofs = {
        "sample": np.array(images.ids),
        "norm": np.repeat("linf", count),
        "radius": np.full(count, 8 / 255),
        "lower": healthy.clean - 1,
        "upper": healthy.clean + 1,
    }
    found = check("certified_below_empirical")(dataclasses.replace(healthy, certified=proofs))
    assert (found.passed, found.required) == (True, True)
    assert "0 of 120 attacked scores" in found.evidence
    tight = {**proofs, "lower": healthy.clean - 1e-4, "upper": healthy.clean + 1e-4}
    found = check("certified_below_empirical")(dataclasses.replace(healthy, certified=tight))
    assert not found.passed
    assert found.value > 24


@pytest.mark.parametrize(("column", "value"), [("parameters", ""), ("seed", -1), ("forwards", 0)])
def test_an_attack_that_does_not_say_how_it_was_made(healthy, column, value):
    found = check("attacks_described")(changed(healthy, "scores", column, 30, value))
    assert not found.passed
    assert "2 of 3 attacks" in found.evidence


@pytest.mark.parametrize("value", [2.0, np.nan])
def test_a_figure_without_an_interval(healthy, value):
    assert not check("every_figure_has_an_interval")(changed(healthy, "metrics", "lower", 3, value)).passed


def test_a_threat_model_without_a_reason(healthy):
    threats = {name: threat.model_copy(update={"why": " "}) for name, threat in healthy.suite.threats.items()}
    silent = dataclasses.replace(healthy, suite=healthy.suite.model_copy(update={"threats": threats}))
    found = check("threat_models_stated")(silent)
    assert not found.passed
    assert "0 of 3 attacks" in found.evidence


def test_a_masked_twin_of_a_deep_score_is_caught_by_a_search_without_gradients(context_of):
    """A slope that points nowhere: no gradient is zero, and every white-box attack is led astray."""
    pattern = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    def masked(score, images):
        return torch.floor(score * 3000) / 3000 + 1e-9 * (images * pattern).flatten(1).sum(1)

    found = check("white_box_beats_black_box")(context_of(Wrapped(masked)))
    assert not found.passed
    assert found.value > 0.5


def with_figure(context: Context, **changes: Any) -> Context:
    """The context with one more row of metrics: that of the worst case at the headline, but for some changes."""
    figures = context.metrics
    rows = (figures["attack"] == "worst") & (figures["metric"] == "auroc") & (figures["defect"] == "all")
    rows &= (figures["regime"] == "both") & np.isclose(figures["epsilon"], context.suite.headline.epsilon)
    [at] = np.flatnonzero(rows & (figures["norm"] == context.suite.headline.norm))[:1]
    added = {
        name: np.append(column, [changes.get(name, column[at])]).astype(column.dtype)
        for name, column in figures.items()
    }
    return dataclasses.replace(context, metrics=added)


@pytest.mark.parametrize("name", ["unbounded", "half_range"])
def test_where_a_proof_brackets_the_headline_a_weak_attack_far_outside_is_advice(healthy, name):
    context = dataclasses.replace(healthy, detector=toy_audit.Detector("masked"))
    assert check(name)(context).required
    proven = check(name)(with_figure(context, attack="certified"))
    assert not proven.passed
    assert not proven.required
    assert "the proof brackets the headline" in proven.evidence
    loose = with_figure(context, attack="certified", value=-1.0)
    assert check(name)(loose).required, "a proof far below leaves the attacks to decide"


def test_a_weak_detector_on_few_images_does_not_point_the_wrong_way(healthy):
    figures = healthy.metrics
    clean = (figures["attack"] == "clean") & (figures["metric"] == "auroc") & (figures["defect"] == "all")
    weak = changed(healthy, "metrics", "upper", clean, 0.68)
    assert check("score_order")(changed(weak, "metrics", "lower", clean, 0.31)).passed
    assert not check("score_order")(changed(weak, "metrics", "upper", clean, 0.49)).passed
