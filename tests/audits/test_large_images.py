"""What is spared on large images, and that an audit says so; ties among scores; progress of the checks."""

from __future__ import annotations

import dataclasses
import re
import shutil

import numpy as np
import pytest
import torch
import toy_audit
import yaml
from torch import nn

from assay.audits import audit, self_checks, suite
from assay.audits.checks._context import Context
from assay.contracts import Images
from assay.models import model_folder, preflight
from assay.store.store import Store

LARGE = {"above": 8, "most": 3, "steps": 4, "samples": 2}


@pytest.fixture
def quick() -> suite.Suite:
    return suite.read("quick")


def test_small_images_are_spared_nothing(quick):
    assert quick.spared(128, 128) is quick
    assert quick.spared(64, 256) is quick
    assert suite.read("standard").spared(1024, 1024) == suite.read("standard")


def test_on_large_images_every_count_is_capped_and_nothing_else(quick):
    spared = quick.spared(256, 256)
    before, after = ({entry.name: entry for entry in one.attacks} for one in (quick, spared))
    assert before.keys() == after.keys()
    for name, entry in after.items():
        assert (entry.norm, entry.epsilons, entry.knowledge) == (
            before[name].norm,
            before[name].epsilons,
            before[name].knowledge,
        )
    assert after["apgd-linf"].attack.arguments()["steps"] == 7
    assert after["boundary-linf"].attack.arguments()["probes"] == 7
    assert after["boundary-linf"].attack.arguments()["steps"] == 3
    assert after["pgd-l2"].attack.arguments()["random_start"] is False
    assert after["eot-linf"].attack.arguments()["draws"] == 7
    assert (spared.unbounded.steps, spared.unbounded.samples, spared.unbounded.most) == (10, 4, 4)
    assert spared.plain() != quick.plain()


def test_a_suite_that_spares_nothing_is_described_as_before(quick):
    assert "large_images" in quick.plain()
    assert "large_images" not in suite.read("standard").plain()


def test_an_audit_says_what_it_spared_and_how_its_checks_get_on(pristine_store, tmp_path, own_cache):
    store, seen = Store(shutil.copytree(pristine_store, tmp_path / "store")), []
    path = toy_audit.write_suite(tmp_path / "tiny.yaml", name="coarse", large_images=LARGE)
    [model] = store.names("models")
    done = audit.run(store, model, suite.read(path), limit=6, on_progress=seen.append)
    about = yaml.safe_load(store.read(f"audits/{done}/audit.yaml"))
    [note] = [note for note in about["notes"] if "large for the suite" in note]
    assert "16 x 16 pixels" in note
    assert "at most 3 steps, draws or queries" in note
    assert [one.work for one in seen[-len(self_checks.names()) :]] == [f"check {name}" for name in self_checks.names()]
    assert [one.done for one in seen] == list(range(1, seen[-1].total + 1))
    assert about["suite"]["unbounded"]["samples"] == 2


class Score(nn.Module):
    """Any function of the mean of an image."""

    def __init__(self, of) -> None:
        super().__init__()
        self.of = of

    def forward(self, images):
        return self.of(images.mean((1, 2, 3)))


def context_of(of, repeated: int = 1) -> Context:
    """Images whose means lie evenly in (0, 1), each `repeated` times."""
    light = np.repeat(np.linspace(2, 253, 60).round().astype(np.uint8), repeated)
    random = np.random.default_rng(0)
    pixels = np.clip(light[:, None, None, None] + random.integers(-2, 3, (len(light), 1, 8, 8)), 0, 255).astype(
        np.uint8
    )
    if repeated > 1:
        pixels = np.repeat(pixels[::repeated], repeated, axis=0)
    names = tuple(map(str, range(len(light))))
    hashes = tuple(pixel.tobytes().hex() for pixel in pixels)
    images = Images(pixels, (np.arange(len(light)) % 2).astype(np.int64), names, names, hashes)
    return Context(model_folder.freeze(Score(of)), images, suite.read("quick"), {}, {})


def test_scores_of_their_own_pass_and_repeated_images_count_once():
    for repeated in (1, 3):
        found = self_checks.outcome("scores_differ", context_of(lambda mean: mean, repeated))
        assert found.passed, found.evidence
        assert (found.value, found.samples) == (0, 60)


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (lambda mean: ((mean - 0.3) / 0.3).clamp(0, 1), "have the highest of all, .* have the lowest of all"),
        (lambda mean: (mean * 10).round() / 10, "11 different scores"),
        (lambda mean: torch.sigmoid(600 * (mean - 0.2)), "have the highest of all"),
    ],
    ids=["cut", "rounded", "saturated"],
)
@pytest.mark.parametrize("differentiable", [True, False])
def test_scores_on_a_plateau_fail_with_or_without_a_gradient(of, words, differentiable):
    context = context_of(of)
    context = dataclasses.replace(context, facts=preflight.Unexamined(differentiable=differentiable))
    found = self_checks.outcome("scores_differ", context)
    assert found.required
    assert not found.passed
    assert re.search(words, found.evidence), found.evidence


def test_scores_that_hardly_vary_ask_about_the_range_of_pixels():
    context = context_of(lambda mean: mean)

    def names(of) -> set[str]:
        facts = preflight.inspect(model_folder.freeze(Score(of)), context.images, None)
        return {finding.name for finding in facts.findings}

    assert "scores_alike" not in names(lambda mean: mean)
    assert "scores_alike" in names(lambda mean: 100 + 0.1 * mean)
