"""The jobs of an audit: which there are, and on which images."""

from __future__ import annotations

import numpy as np
import pytest
import toy_audit
from torch import nn

from assay.audits import suite
from assay.audits.plan import Plan
from assay.contracts import Images
from assay.models.model_folder import Model
from assay.models.preflight import Facts
from assay.models.scoring import BATCH


class Certifying(nn.Flatten):
    """A detector that says which norms it can certify."""

    def __init__(self, *norms: str) -> None:
        super().__init__()
        self.CERTIFIES = norms


class Banked(nn.Flatten):
    """A detector that says it has a bank."""

    def with_bank(self, share):
        """Itself."""
        return self


def images(count: int) -> Images:
    names = tuple(f"cell{number}" for number in range(count))
    return Images(np.zeros((count, 1, 4, 4), np.uint8), np.arange(count) % 2, names, ("x",) * count, names)


@pytest.fixture
def plan(tmp_path):
    """A function (detector, changes of the suite) -> the plan of an audit of 70 images."""

    def make(detector=None, differentiable=True, device="cpu", **changes):
        found = suite.read(toy_audit.write_suite(tmp_path / "tiny.yaml", **changes))
        model = Model("m" * 24, {"threshold": {"value": 0.5}}, detector or nn.Flatten())
        facts = Facts(differentiable, False, (), False, ())
        return Plan("a", model, "d", found, facts, images(70), 0, device, None)

    return make


def test_a_gpu_gets_larger_slices(plan):
    assert [len(one) for one in plan(device="cuda").slices] == [70]


def test_every_attack_and_every_corruption_on_every_slice(plan):
    made = plan(corruptions={"kinds": ["brightness", "fog"], "severities": [1, 2]})
    assert [len(one) for one in made.slices] == [BATCH, 70 - BATCH]
    names = [entry["name"] for entry in toy_audit.SUITE["attacks"]]
    assert [(job.label, len(job.images)) for job in made.attacks] == [(n, size) for n in names for size in (64, 6)]
    assert [(job.label, len(job.images)) for job in made.corruptions] == [
        (name, size) for name in ("brightness", "fog") for size in (64, 6)
    ]
    assert made.corruptions[0].severities == (1, 2)
    assert len({job.key for job in made.jobs}) == len(made.jobs)
    assert plan().corruptions == []


def test_a_detector_certifies_what_it_says_at_the_budgets_it_is_attacked_at(plan):
    assert plan().certifications == plan(Certifying("l1")).certifications == []
    found = plan(Certifying("l2")).certifications
    assert [(job.norm, job.radii, len(job.images), job.among) for job in found] == [
        ("l2", (0.1, 0.3), 64, 70),
        ("l2", (0.1, 0.3), 6, 70),
    ]
    both = plan(Certifying("linf", "l2")).certifications
    assert {job.among for job in both} == {140}, "every norm brings bounds of every image"


def test_minimal_epsilons_are_sought_in_the_norms_of_the_attack_where_there_is_a_gradient(plan):
    threats = toy_audit.SUITE["threats"] | {"turn": {"norm": "spatial", "epsilons": [0.5], "why": "it happens"}}
    entries = [*toy_audit.SUITE["attacks"], {"name": "turn", "attack": "spatial", "threat": "turn"}]
    asked = {"minimal_epsilon": True, "threats": threats, "attacks": entries}
    found = plan(**asked).minimal_epsilons
    assert [(job.norm, len(job.images)) for job in found] == [(n, size) for n in ("linf", "l2") for size in (64, 6)]
    assert found[0].epsilons == (1 / 255, 2 / 255, 8 / 255)
    assert plan().minimal_epsilons == plan(differentiable=False, **asked).minimal_epsilons == []


def test_bank_sizes_of_a_detector_with_a_bank(plan):
    asked = {"bank_sizes": {"shares": [0.5, 1.0], "samples": 4, "steps": 2}}
    assert plan(**asked).bank_sizes == plan(Banked()).bank_sizes == []
    assert [(job.share, len(job.images), job.steps) for job in plan(Banked(), **asked).bank_sizes] == [
        (0.5, 8, 2),
        (1.0, 8, 2),
    ]
    assert {job.steps for job in plan(Banked(), differentiable=False, **asked).bank_sizes} == {0}
