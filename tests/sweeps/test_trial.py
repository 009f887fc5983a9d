"""One trial: interrupted or not it ends the same, it keeps its best epoch, and its failures have a kind."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import toy_runs

from assay.data import splits
from assay.errors import DataError, DivergedError, InputError, ModelError, StoreError
from assay.models import model_folder, scoring
from assay.runtime import retry
from assay.store.store import Store
from assay.sweeps import trial
from assay.sweeps.evaluation import Measured
from assay.sweeps.trial import Trial, TrialConfig

SMALL = {
    "epochs": 2,
    "batch_size": 8,
    "backbone": {"name": "small_resnet", "width": 4},
    "adversary": {"epsilon": 2 / 255, "steps": 1},
    "warm_up": 0.2,
    "views": {"jitter": 0.1},
}
BOTH = {"clean_auroc": "max", "robust_auroc": "max"}
TRAINABLES = {
    "toy": ("toy_runs:Runs", {"epochs": 4, "learning_rate": 0.05}),
    "cobra": ("cobra", SMALL),
    "cobra-pairs": ("cobra", {**SMALL, "loss": {"classification": 0, "contrastive": 1, "opposite": 0.5}}),
    "cobra-all": ("cobra", {**SMALL, "pseudo_anomaly": "rotation", "loss": {"contrastive": 1, "opposite": 0.5}}),
    "neighbours": ("neighbours", {"backbone": {"name": "small_resnet", "width": 4}}),
}


@pytest.fixture(scope="module")
def training(tmp_path_factory, own_cache):
    folder = tmp_path_factory.mktemp("squares")
    return splits.training_data(toy_runs.squares(root=str(folder)))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def order(name="toy", **changes) -> TrialConfig:
    trainable, config = TRAINABLES[name]
    whole = {
        "sweep": "toy",
        "number": 0,
        "seed": 7,
        "trainable": trainable,
        "dataset": {"name": "toy_runs:squares"},
        "config": config,
        "evaluation": {
            "attack": "fgsm",
            "norm": "linf",
            "epsilon": 1 / 255,
            "every": 1,
            "false_alarm_rate": 0.1,
        },
        "objectives": BOTH,
    }
    return TrialConfig(**{**whole, **changes})


def finish(running: Trial) -> list[dict]:
    reports = []
    while not reports or not reports[-1]["done"]:
        reports.append(running.step())
    return reports


def lasting(report: dict) -> dict:
    """What of a report may not depend on how often the trial was begun."""
    return {key: value for key, value in report.items() if key not in ("seconds", "attempts")}


@pytest.mark.parametrize("name", TRAINABLES)
def test_a_trial_interrupted_anywhere_ends_as_one_that_was_not(name, training, tmp_path):
    whole = finish(Trial(order(name), training, Store(tmp_path / "whole")))
    for point in range(1, len(whole)):
        store = Store(tmp_path / f"cut-{point}")
        first = Trial(order(name), training, store)
        before = [first.step() for _ in range(point)]
        second = Trial(order(name), training, store)
        after = finish(second)
        assert after[0] == before[-1]
        assert [lasting(report) for report in before + after[1:]] == [lasting(report) for report in whole]
        assert after[-1]["attempts"] == 2
        assert store.read(f"models/{whole[-1]['model']}/model.safetensors") == Store(tmp_path / "whole").read(
            f"models/{whole[-1]['model']}/model.safetensors"
        )


def test_a_trial_interrupted_after_every_step_ends_as_one_that_was_not(training, tmp_path):
    whole = finish(Trial(order(), training, Store(tmp_path / "whole")))
    store, reports = Store(tmp_path / "cut"), []
    reports.append(Trial(order(), training, store).step())
    while not reports[-1]["done"]:
        again = Trial(order(), training, store)
        assert again.step() == reports[-1]
        reports.append(again.step())
    assert [lasting(report) for report in reports] == [lasting(report) for report in whole]
    assert [report["attempts"] for report in reports] == [1, 2, 3, 4]


def test_a_trial_that_was_done_repeats_that_it_is(training, store):
    whole = finish(Trial(order(), training, store))
    store.remove(f"models/{whole[-1]['model']}/manifest.json")
    assert Trial(order(), training, store).step() == whole[-1]


def test_a_trial_started_anew_without_its_state_ends_the_same(training, store):
    whole = finish(Trial(order(), training, store))
    store.remove(order().checkpoint)
    assert [lasting(r) for r in finish(Trial(order(), training, store))] == [lasting(r) for r in whole]


def test_another_seed_is_another_run(training, tmp_path):
    one, other = (finish(Trial(order(seed=seed), training, Store(tmp_path / str(seed))))[-1] for seed in (1, 2))
    assert one["losses"] != other["losses"]
    assert one["model"] != other["model"]


def test_global_randomness_is_neither_used_nor_touched(training, tmp_path):
    first = finish(Trial(order("cobra-all"), training, Store(tmp_path / "a")))
    torch.rand(3)
    state = torch.random.get_rng_state()
    second = finish(Trial(order("cobra-all"), training, Store(tmp_path / "b")))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert lasting(first[-1]) == lasting(second[-1])


def test_evaluations_come_every_so_many_epochs_and_at_the_end(training, store):
    settings = {**order().evaluation, "every": 3}
    reports = finish(Trial(order(evaluation=settings), training, store))
    assert [(report["epoch"], report["epochs"], report["done"]) for report in reports] == [(3, 4, False), (4, 4, True)]
    assert [report["model"] != "" for report in reports] == [False, True]


def scripted(monkeypatch, figures):
    """Evaluations that come out as (clean, robust) in this order."""
    left = iter(figures)

    def evaluate(detector, images, *_):
        scores = np.zeros(len(images))
        return Measured(dict(zip(("clean_auroc", "robust_auroc"), next(left), strict=True)), scores, scores)

    monkeypatch.setattr(trial, "evaluate", evaluate)


@pytest.mark.parametrize(
    ("objectives", "epoch"),
    [(BOTH, 2), ({"clean_auroc": "max"}, 1), ({"robust_auroc": "max"}, 3), ({"clean_auroc": "min"}, 3)],
)
def test_the_epoch_that_is_kept_has_the_best_mean_of_the_objectives(monkeypatch, training, store, objectives, epoch):
    scripted(monkeypatch, [(0.9, 0.1), (0.8, 0.7), (0.5, 0.8), (0.6, 0.6)])
    running = Trial(order(objectives=objectives), training, store)
    detectors, reports = [], []
    for _ in range(4):
        reports.append(running.step())
        detectors.append(running.run.detector())
    kept = reports[-1]["kept"]
    assert kept["epoch"] == epoch
    assert {name: kept[name] for name in objectives} == {
        name: reports[epoch - 1]["values"][name] for name in objectives
    }
    found = model_folder.load(store, reports[-1]["model"])
    assert found.detector.seen.tolist() == [1.0] * epoch
    for name, tensor in detectors[epoch - 1].state_dict().items():
        assert torch.equal(found.detector.state_dict()[name], tensor)
    assert found.manifest["sweep"] == {"name": "toy", "trial": 0, "epoch": epoch}


def test_the_first_of_equally_good_epochs_is_kept(monkeypatch, training, store):
    scripted(monkeypatch, [(0.5, 0.5), (0.6, 0.6), (0.6, 0.6), (0.7, 0.5)])
    assert finish(Trial(order(), training, store))[-1]["kept"]["epoch"] == 2


def test_the_model_says_where_it_comes_from_and_flags_few_normals(training, store):
    report = finish(Trial(order(), training, store))[-1]
    found = model_folder.load(store, report["model"])
    scores = scoring.clean_scores(found.detector, training.validation)
    flagged = (scores > found.threshold)[training.validation.labels == 0]
    assert flagged.mean() <= 0.1
    assert found.manifest["threshold"]["count"] == 12
    assert found.manifest["dataset"]["hash"] == training.description["hash"]
    assert found.manifest["figures"]["clean_auroc"] == report["kept"]["clean_auroc"]
    assert found.manifest["documentation"] == ""
    assert (found.manifest["seed"], found.manifest["parameters"]) == (7, TRAINABLES["toy"][1])


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        ("nan_loss", "diverged", "a loss is not finite at epoch 2"),
        ("nan_score", "diverged", "score is not finite .* for 24 of 24 images"),
        ("error", "bug", "the wheel"),
    ],
)
def test_what_ends_a_trial_has_a_kind(training, store, trouble, kind, words):
    running = Trial(order(config={"trouble": trouble}), training, store)
    running.step()
    with pytest.raises(Exception, match=words) as caught:
        running.step()
    assert retry.kind(caught.value) == kind
    assert kind in retry.KINDS


def test_a_score_that_breaks_only_under_attack_is_divergence(training, store, monkeypatch):
    clean = toy_runs.Net.forward
    monkeypatch.setattr(toy_runs.Net, "forward", lambda net, x: clean(net, x) / (not x.requires_grad))
    with pytest.raises(DivergedError, match="not finite"):
        Trial(order(), training, store).step()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DivergedError("x"), "diverged"),
        (DataError("x"), "dataset"),
        (StoreError("x"), "store"),
        (InputError("x"), "configuration"),
        (torch.cuda.OutOfMemoryError("x"), "gpu_memory"),
        (MemoryError(), "host_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "host_memory"),
        (RuntimeError("x"), "bug"),
        (ModelError("x"), "bug"),
    ],
)
def test_kinds(error, kind):
    assert retry.kind(error) == kind
    assert kind in retry.KINDS


def test_only_kinds_that_are_known_lie_with_the_machine():
    assert retry.KINDS.keys() > retry.OUTSIDE


def test_a_trainable_that_cannot_be_built_is_a_fault_of_the_configuration(training, store):
    nothing = {"loss": {"classification": 0}}
    for trainable, config in (("cobra", nothing), ("nowhere:Runs", {}), ("toy_runs:Runs", {"epochs": 0})):
        with pytest.raises((InputError, ValueError)) as caught:
            Trial(order(trainable=trainable, config=config), training, store)
        assert retry.kind(caught.value) == "configuration"


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "other file"])
def test_a_damaged_state_is_found_and_said_what_to_do_about(training, store, damage):
    first = Trial(order(), training, store)
    first.step()
    whole = store.read(order().checkpoint)
    middle = len(whole) // 2
    broken = {
        "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "cut": whole[:-1],
        "empty": b"",
        "other file": b"x" * 1000,
    }
    store.write(order().checkpoint, broken[damage])
    with pytest.raises(StoreError, match=r"trial-00000\.pt is damaged; delete it and resume the sweep"):
        Trial(order(), training, store)
    store.remove(order().checkpoint)
    assert Trial(order(), training, store).step()["epoch"] == 1


def test_a_state_of_another_configuration_under_the_same_number_is_not_gone_on_with(training, store):
    """What is left when a power cut takes the end of the log and not the state."""
    Trial(order(seed=1), training, store).step()
    again, alone = Trial(order(), training, store), Trial(order(), training, Store(store.path("alone")))
    assert again.epoch == 0
    assert lasting(again.step()) == lasting(alone.step())


def test_trials_do_not_share_their_state(training, store):
    first = finish(Trial(order(), training, store))
    second = finish(Trial(dataclasses.replace(order(), number=1), training, store))
    assert [report["losses"] for report in first] == [report["losses"] for report in second]
    assert [report["attempts"] for report in second] == [1] * 4


def test_the_manifest_says_what_the_model_is_for_on_what_it_was_made_and_which_normals_it_remembers(training, store):
    purpose = {"intended_use": "squares of line 3"}
    manifest = model_folder.read_manifest(
        store, finish(Trial(order("neighbours", purpose=purpose), training, store))[-1]["model"]
    )
    assert manifest["intended_use"] == "squares of line 3"
    assert "materiality" not in manifest
    assert manifest["environment"]["hardware"]["cores"] >= 1
    other = model_folder.read_manifest(
        store, finish(Trial(order("neighbours", number=1, seed=8), training, store))[-1]["model"]
    )
    assert len(manifest["bank_sha256"]) == 64
    assert manifest["bank_sha256"] != other["bank_sha256"]  # another seed: other random weights, other features
    assert "bank_sha256" not in model_folder.read_manifest(
        store, finish(Trial(order(number=2), training, store))[-1]["model"]
    )


def test_the_same_detector_has_the_same_figures_in_every_trial_of_a_sweep(training):
    """A random start belongs to the image and the sweep, whatever the trial, its seed or the batches are."""
    from assay.data.reduced import take
    from assay.sweeps.evaluation import attacked_scores

    net = toy_runs.Net().eval()
    evaluation = {"attack": "noise", "norm": "linf", "epsilon": 8 / 255, "draws": 2}
    images = training.validation
    whole = attacked_scores(net, images, evaluation, 3)
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = attacked_scores(net, take(images, order), evaluation, 3)
    np.testing.assert_allclose(shuffled, whole[order], atol=1e-6)
    assert not np.allclose(attacked_scores(net, images, evaluation, 4), whole)


class Brightest(torch.nn.Module):
    """The brightest pixel; what it claims is given."""

    def __init__(self, claim):
        super().__init__()
        if claim:
            self.MONOTONE = claim

    def forward(self, images):
        return images.flatten(1).amax(1)


def test_the_certified_figure_is_the_proof_and_below_every_attack(training):
    from assay.sweeps.evaluation import evaluate

    epsilon, labels = 2 / 255, torch.from_numpy(training.validation.labels)
    evaluation = {"attack": "pgd", "norm": "linf", "epsilon": epsilon, "steps": 3}
    wanted = ("clean_auroc", "robust_auroc", "certified_auroc")
    proven = evaluate(Brightest("rising"), training.validation, evaluation, 0, "cpu", wanted).figures
    assert 0 < proven["certified_auroc"] <= proven["robust_auroc"] <= proven["clean_auroc"]
    brightest = (torch.from_numpy(training.validation.pixels).float() / 255).flatten(1).amax(1)
    worst = (brightest + (1 - 2 * labels) * epsilon).clamp(0, 1)
    gaps = worst[labels == 1][:, None] - worst[labels == 0][None]
    ties = int((gaps.abs() < 1e-6).sum())
    assert proven["certified_auroc"] == pytest.approx(
        float((gaps > 1e-6).float().mean()), abs=(ties + 1) / gaps.numel()
    )
    assert evaluate(Brightest(None), training.validation, evaluation, 0, "cpu", wanted).figures["certified_auroc"] == 0
    in_l2 = {**evaluation, "norm": "l2"}
    assert evaluate(Brightest("rising"), training.validation, in_l2, 0, "cpu", wanted).figures["certified_auroc"] == 0
    assert "certified_auroc" not in evaluate(Brightest("rising"), training.validation, evaluation, 0).figures


def test_what_is_proven_can_be_an_objective(training, store):
    wanted = {**BOTH, "certified_auroc": "max"}
    report = finish(Trial(order("neighbours", objectives=wanted), training, store))[-1]
    assert set(report["values"]) == set(wanted)
    assert model_folder.read_manifest(store, report["model"])["figures"]["certified_auroc"] == 0
