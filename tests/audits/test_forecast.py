"""What an audit will take: passes counted on a stand-in are those of the detector; times, resuming, the command."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import pytest
import torch
import toy_audit
from click.testing import CliRunner
from torch import nn

from assay.audits import audit, forecast, forecast_text, self_checks, suite
from assay.audits.checks._context import Context
from assay.audits.plan import Plan
from assay.audits.stand_in import StandIn
from assay.audits.tables import columns
from assay.cli import main
from assay.store import parquet, schemas
from assay.store.store import Store

ENTRIES = [
    *toy_audit.SUITE["attacks"],
    {"name": "square", "attack": {"square": {"queries": 9}}, "threat": "linf", "epsilons": ["2/255"]},
    {"name": "boundary", "attack": {"boundary": {"steps": 2, "probes": 3}}, "threat": "linf", "epsilons": ["2/255"]},
]


class Counting(nn.Module):
    """A detector, and how many images have passed through it, and gradients back."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector, self.forwards, self.backwards = detector, 0, 0

    def forward(self, images):
        self.forwards += len(images)
        if images.requires_grad:
            images.register_hook(self._back)
        return self.detector(images)

    def _back(self, gradient):
        self.backwards += len(gradient)


@pytest.fixture
def planned(store, tmp_path):
    """A function: changes of the suite -> the plan of an audit of the toy that is not in the store."""

    def make(**changes) -> Plan:
        asked = suite.read(toy_audit.write_suite(tmp_path / "ahead.yaml", name="ahead", **changes))
        return audit.prepare(store, store.names("models")[0], asked).plan

    return make


def foreseen(store: Store, plan: Plan) -> dict[str, forecast.Piece]:
    return {piece.work: piece for piece in forecast.of(store, plan, 1, "cpu").pieces}


def test_passes_of_jobs_are_those_that_the_detector_makes(store, planned):
    kinds = {"kinds": ["brightness", "fog"], "severities": [1, 2]}
    plan = planned(attacks=ENTRIES, corruptions=kinds, minimal_epsilon=True)
    ahead = foreseen(store, plan)
    for job in plan.jobs:
        counting = Counting(plan.model.detector)
        job.compute(job.images, counting)
        piece = ahead[job.label]
        searches = job.label in ("boundary", "minimal-linf", "minimal-l2")  # what these do depends on the scores
        near = 0.5 if searches else 0.05  # an attack saves a pass where the last one was enough
        assert piece.forwards == pytest.approx(counting.forwards, rel=near), job.label
        assert piece.backwards == pytest.approx(counting.backwards, rel=near), job.label


def test_passes_of_checks_are_about_those_that_the_detector_makes(store, planned):
    plan, passed = planned(), []
    ahead = foreseen(store, plan)
    [done] = store.names("audits")
    scores = [parquet.load(store, job.key, schemas.SCORES) for job in replace(plan, audit=done).attacks]
    counting = Counting(plan.model.detector)
    metrics = parquet.load(store, f"audits/{done}/metrics.parquet", schemas.METRICS)
    context = Context(
        counting, plan.images, plan.suite, *map(columns, (parquet.pa.concat_tables(scores), metrics)),
        threshold=plan.model.threshold, facts=plan.facts,
    )  # fmt: skip
    self_checks.table(context, lambda *_: passed.append(counting.forwards + counting.backwards))
    found = [piece for piece in ahead.values() if piece.work.startswith("check ")]
    assert len(found) > 10
    assert sum(piece.forwards + piece.backwards for piece in found) == pytest.approx(passed[-1], rel=0.4)


def test_seconds_are_passes_at_the_measured_rate(store, planned):
    class Slow(nn.Module):
        def forward(self, images):
            time.sleep(0.02 * len(images))
            return images.mean((1, 2, 3))

    plan = planned()
    measured = forecast.rate(Slow(), plan.images, "cpu", gradient=True)
    assert 0.02 <= measured.forward < 0.1
    slow = replace(plan, model=replace(plan.model, detector=Slow()))
    ahead = forecast.of(store, slow, 2, "cpu")
    for piece in ahead.pieces:
        assert piece.seconds == pytest.approx(piece.forwards * ahead.forward + piece.backwards * ahead.backward)
    whole = 0.0
    for part in (ahead.jobs, ahead.checks):
        whole += max(sum(piece.seconds for piece in part) / 2, *(piece.seconds for piece in part))
    assert ahead.seconds == pytest.approx(whole)
    assert ahead.seconds > 10


def test_a_black_box_has_no_gradients(store, planned):
    plan = planned(attacks=ENTRIES)
    facts = replace(plan.facts, differentiable=False)
    only = [entry for entry in plan.suite.attacks if entry.knowledge != "white-box"]
    ahead = foreseen(store, replace(plan, facts=facts, suite=plan.suite.only(only)))
    assert {"noise-linf", "square", "boundary"} < ahead.keys()
    assert not any(piece.backwards for piece in ahead.values())


def test_what_is_done_is_not_foreseen_again(store, planned):
    plan = planned()
    plan.attacks[0].run(str(store.root))
    assert plan.attacks[0].label not in foreseen(store, plan)
    assert plan.attacks[-1].label in foreseen(store, plan)


def particular(score, images, direction, threat, random, *, start=None):
    """An attack that only its own detector serves."""
    return score.weight


def test_an_attack_that_fails_on_the_stand_in_is_named_and_stops_nothing(store, planned, monkeypatch):
    monkeypatch.setattr(toy_audit, "particular", particular, raising=False)
    own = {"name": "own", "attack": "toy_audit:particular", "threat": "l2"}
    ahead = forecast.of(store, planned(attacks=[*toy_audit.SUITE["attacks"], own]), 1, "cpu")
    assert forecast_text.line(ahead).endswith("; not foreseen: own")
    assert any(piece.work.startswith("check ") for piece in ahead.checks)


def test_a_check_that_fails_on_the_stand_in_stops_nothing(store, planned, monkeypatch):
    outcome = self_checks.outcome

    def broken(name, context):
        if name == "unbounded":
            raise RuntimeError("not this detector")
        return outcome(name, context)

    monkeypatch.setattr(self_checks, "outcome", broken)
    ahead = forecast.of(store, planned(), 1, "cpu")
    assert forecast_text.line(ahead).endswith("; not foreseen: the other checks")
    assert "check gradients" in {piece.work for piece in ahead.checks}


def test_a_stand_in_counts_what_passes_and_comes_back():
    normals, images = torch.rand(4, 1, 16, 16), torch.rand(3, 1, 20, 20).requires_grad_()
    stand_in = StandIn(normals)
    (gradient,) = torch.autograd.grad(stand_in(images).sum(), images)
    assert (stand_in.forwards, stand_in.backwards) == (3, 3)
    assert (gradient != 0).any()
    assert not StandIn(normals, gradient=False)(images).requires_grad


def test_durations_are_words():
    words = {None: "unknown", 0.2: "under 1 s", 85: "85 s", 700: "12 minutes", 11_500: "3.2 hours"}
    assert {seconds: forecast_text.duration(seconds) for seconds in words} == words


@pytest.fixture
def command(store, pristine_store):
    def run(*words: str) -> str:
        tiny = str(pristine_store.parent / "tiny.yaml")
        arguments = ["audit", store.names("models")[0], "--suite", tiny, "--no-wandb", "--workers", "1", "--seed", "3"]
        result = CliRunner().invoke(main, [*arguments, "--store", str(store.root), *words], env={"COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_a_dry_run_prints_every_piece_and_attacks_nothing(command, store):
    before = store.names("audits")
    shown = command("--dry-run")
    assert re.search(r"pgd-linf +\d+ +360 ", shown), "24 images, 5 steps, 3 epsilons"
    assert "check unbounded" in shown
    assert re.match(r"forecast: (about \d+|under 1) s", shown.splitlines()[-1])
    assert store.names("audits") == before
    assert json.loads(command("--dry-run", "--json"))["jobs"][0]["work"] == "noise-linf"


def test_an_audit_begins_with_its_forecast(command):
    assert command("--limit", "2").startswith("forecast: ")
