"""What several gates at once, waivers and a gate's own bound do to a verdict."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assay.approval import decision, multiplicity, policy
from assay.approval.gate import Gate
from assay.approval.verdict import Verdict
from assay.errors import SpecError
from assay.store.figures import Figure
from assay.store.schemas import CHECKS

TODAY = datetime.date(2026, 6, 15)
EPSILONS = tuple(f"{n}/255" for n in range(1, 11))
WAIVER = {"gate": "a", "granted_by": "Jane Doe", "reason": "no network in line 3", "expires": "2026-12-31"}


def gate(name: str, epsilon: str = "1/255", **more: Any) -> dict[str, Any]:
    return {"name": name, "metric": "auroc", "epsilon": epsilon, "at_least": 0.6, "why": "w", **more}


def of(*gates: dict[str, Any], **more: Any) -> policy.Policy:
    base = {"name": "p", "version": 1, "why": "w", "minimum_samples": {"normals": 5, "anomalies": 5}}
    return policy.Policy.of({**base, "gates": list(gates), **more}, "p.yaml")


def around(*figures: tuple[float, float]):
    """Of (value, standard error) at 1/255, 2/255 ..., rows whose intervals grow with the confidence as normal ones."""
    from statistics import NormalDist

    base = {"attack": "worst", "norm": "linf", "regime": "both", "defect": "all", "metric": "auroc"}

    def rows(confidence: float) -> list[Figure]:
        z = NormalDist().inv_cdf((1 + confidence) / 2)
        counts = {"confidence": confidence, "normals": 50, "anomalies": 50}
        return [
            Figure(**base, **counts, epsilon=n / 255, value=value, lower=value - z * error, upper=value + z * error)
            for n, (value, error) in enumerate(figures, 1)
        ]

    return rows


def checks(**passed: bool | None) -> pa.Table:
    rows = [{"check": name, "passed": ok, "required": True, "evidence": f"saw {ok}"} for name, ok in passed.items()]
    return pa.Table.from_pylist(rows, schema=CHECKS)


GOOD = checks(gradients=True, unbounded=True)


def decide(rules: policy.Policy, figures: Any, found: pa.Table = GOOD, today: datetime.date = TODAY) -> Verdict:
    return decision.decide(rules, figures, found, today)


def words(verdict: Verdict) -> list[str]:
    return [gate.decision for gate in verdict.gates]


TWO = (gate("a"), gate("b", "2/255"))
# 2.1 standard errors above the limit are enough at 95 % (1.96), and not at 97.5 % (2.24).
CLEAR, JUST = (0.7, 0.01), (0.621, 0.01)


@pytest.mark.parametrize(
    ("correction", "decisions", "confidences"),
    [
        ("holm", ["PASS", "PASS"], [0.975, 0.95]),  # the clear one makes room for the other
        ("bonferroni", ["PASS", "INCONCLUSIVE"], [0.975, 0.975]),
        ("none", ["PASS", "PASS"], [0.95, 0.95]),
    ],
)
def test_several_gates_are_corrected(correction: str, decisions: list[str], confidences: list[float]):
    found = decide(of(*TWO, multiplicity=correction), around(CLEAR, JUST))
    assert words(found) == decisions
    assert [gate.confidence for gate in found.gates] == confidences
    assert found.multiplicity == correction


def test_holm_begins_with_the_surest_and_needs_one():
    assert words(decide(of(*TWO), around(JUST, JUST))) == ["INCONCLUSIVE", "INCONCLUSIVE"]
    assert words(decide(of(*TWO), around(JUST, CLEAR))) == ["PASS", "PASS"]


def test_that_a_gate_is_broken_is_a_claim_of_its_own():
    below = (0.579, 0.01)
    found = decide(of(*TWO), around(below, CLEAR))
    assert words(found) == ["INCONCLUSIVE", "PASS"], "a gate that holds makes no room for one that is broken"
    straddling = found.gates[0]
    assert straddling.lower < 0.6 < straddling.upper, "the interval that is shown is the one that was undecided"
    assert words(decide(of(*TWO), around(below, (0.5, 0.01)))) == ["FAIL", "FAIL"]


def test_the_default_is_holm_and_one_gate_needs_no_correction():
    found = decide(of(gate("a")), around(JUST))
    assert (found.multiplicity, words(found), found.gates[0].confidence) == ("holm", ["PASS"], 0.95)


@pytest.mark.parametrize("truth", [0.6 - 1e-9, 0.6 + 1e-9])
def test_the_chance_of_any_wrong_decision_is_what_the_policy_says(truth: float):
    """Ten gates at the limit: each decision one way is wrong, and in one audit of ten there may be any."""
    gates = [Gate.model_validate(gate(str(n), epsilon)) for n, epsilon in enumerate(EPSILONS)]
    draws = np.random.default_rng(0).normal(truth, 0.01, (600, len(gates)))
    wrong = {}
    for correction in ("holm", "none"):

        def any_wrong(values: np.ndarray, correction: Any = correction) -> bool:
            figures = around(*((value, 0.01) for value in values))

            def figure(one: Gate, confidence: float) -> Figure:
                return figures(confidence)[gates.index(one)]

            found = multiplicity.rule(gates, 0.9, correction, figure)
            return ("PASS" if truth < 0.6 else "FAIL") in {ruling.decision for ruling in found}

        wrong[correction] = float(np.mean([any_wrong(values) for values in draws]))
    assert wrong["holm"] <= 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5
    assert wrong["none"] > 0.3


@pytest.mark.parametrize(
    ("bound", "value", "decision"),
    [
        (None, 0.601, "INCONCLUSIVE"),
        ("lower", 0.601, "INCONCLUSIVE"),  # the bad end is what acts by default
        ("value", 0.601, "PASS"),
        ("value", 0.599, "FAIL"),
        ("upper", 0.599, "PASS"),
        ("upper", 0.570, "FAIL"),
    ],
)
def test_a_gate_may_say_which_bound_decides(bound: str | None, value: float, decision: str):
    found = decide(of(gate("a", bound=bound)), around((value, 0.01)))
    assert words(found) == [decision]
    assert found.gates[0].bound == (bound or "lower")
    said = {"value": "at least 0.60 by the figure itself", "upper": "at least 0.60 by the upper bound"}
    assert found.gates[0].text.endswith(said.get(str(bound), "at least 0.60"))


def test_a_gate_on_the_figure_itself_makes_no_claim_and_costs_the_others_nothing():
    found = decide(of(gate("a"), gate("b", "2/255", bound="value")), around(JUST, CLEAR))
    assert words(found) == ["PASS", "PASS"]
    assert found.gates[0].confidence == 0.95


BROKEN = (0.5, 0.01)


@pytest.mark.parametrize(("figure", "instead"), [(BROKEN, "FAIL"), ((0.6, 0.01), "INCONCLUSIVE")])
def test_a_waived_gate_is_shown_as_waived_and_told_first(figure: tuple[float, float], instead: str):
    found = decide(of(*TWO, waivers=[WAIVER]), around(figure, CLEAR))
    assert found.verdict == "PASS WITH WAIVERS"
    assert found.passed
    assert words(found) == ["WAIVED", "PASS"]
    told = {key: WAIVER[key] for key in ("granted_by", "reason", "expires")}
    written = found.to_json()
    assert written["gates"][0]["waiver"] == {**told, "instead_of": instead}
    assert written["waivers"] == [{"of": "gate a", **told, "state": "used"}]
    first = f"WAIVED by Jane Doe until 2026-12-31, gate a: no network in line 3. Without the waiver: {instead}: a: "
    assert found.reasons[0].startswith(first)
    assert found.reasons[1] == "All other 1 gates and all 2 required checks hold."


def test_a_waiver_of_one_gate_saves_no_other():
    found = decide(of(*TWO, waivers=[WAIVER]), around(BROKEN, BROKEN))
    assert (found.verdict, words(found)) == ("FAIL", ["WAIVED", "FAIL"])


def test_a_waiver_that_is_not_needed_changes_nothing():
    found = decide(of(gate("a"), waivers=[WAIVER]), around(CLEAR))
    assert (found.verdict, words(found), found.waivers[0].state) == ("PASS", ["PASS"], "not used")
    assert found.reasons == ("All 1 gates and all 2 required checks hold.",)


def test_where_every_gate_is_waived_nothing_was_shown():
    found = decide(of(gate("a"), waivers=[WAIVER]), around(BROKEN))
    assert (found.verdict, words(found)) == ("INCONCLUSIVE", ["WAIVED"])
    assert "No gate holds: every one is waived, so nothing was shown." in found.reasons


@pytest.mark.parametrize(("screens", "verdict"), [("refused", "INCONCLUSIVE"), ("allowed", "PASS")])
def test_a_screen_passes_only_where_the_policy_says_so(screens: str, verdict: str):
    rules = of(gate("a"), screens=screens)
    found = decision.decide(rules, around(CLEAR), GOOD, TODAY, screen=True)
    assert (found.verdict, words(found)) == (verdict, ["PASS"])
    assert any("lets no screen pass" in reason for reason in found.reasons) == (screens == "refused")


@pytest.mark.parametrize("bounds", [CLEAR, BROKEN])
def test_a_screen_decides_no_average_precision(bounds: Any):
    """It depends on the share of anomalies, which --limit changes."""
    gates = gate("a"), gate("p", "2/255", metric="average_precision")
    rules = of(*gates, screens="allowed", prevalence=0.5)
    figures = around(CLEAR, bounds)(0.95)
    both = [figures[0], figures[1]._replace(metric="average_precision")]
    for screen in (True, False):
        found = decision.decide(rules, lambda _: both, GOOD, TODAY, screen=screen)
        decided = "INCONCLUSIVE" if screen else "PASS" if bounds == CLEAR else "FAIL"
        assert (words(found)[1], "decides no average precision" in found.gates[1].why) == (decided, screen)
        assert ("at the policy's prevalence 0.5" in found.gates[1].why) != screen


def test_a_screen_fails_all_the_same():
    found = decision.decide(
        of(gate("a")), around(BROKEN), checks(gradients=True), datetime.date(2026, 6, 15), screen=True
    )
    assert found.verdict == "FAIL"


@pytest.mark.parametrize(
    ("failing", "decisions"),
    [
        ({"unbounded": False}, ["FAIL", "NOT RUN"]),
        ({"unbounded": False, "converged_in_steps": False}, ["FAIL", "NOT RUN"]),
        ({"unbounded": False, "inside_ball": False}, ["NOT RUN", "NOT RUN"]),
        ({"unbounded": None}, ["NOT RUN", "NOT RUN"]),
    ],
)
def test_what_weak_attacks_found_stands_beside_invalid(failing: dict[str, Any], decisions: list[str]):
    found = decide(of(*TWO), around(BROKEN, CLEAR), checks(gradients=True, **failing))
    assert (found.verdict, words(found)) == ("INVALID", decisions)
    assert any(reason.startswith("Found all the same") for reason in found.reasons) == ("FAIL" in decisions)


@pytest.mark.parametrize(("bound", "claims"), [(None, True), ("lower", True), ("value", False), ("upper", False)])
def test_a_gate_that_does_not_act_on_its_bad_end_makes_no_claim(bound: str | None, claims: bool):
    rules = of(gate("a", **({"bound": bound} if bound else {})))
    found = decide(rules, around(CLEAR))
    assert found.gates[0].claim == claims
    assert any(reason.startswith("No claim: ") for reason in found.reasons) == (not claims)


@pytest.mark.parametrize(("today", "verdict"), [((2026, 12, 30), "PASS WITH WAIVERS"), ((2026, 12, 31), "FAIL")])
def test_a_waiver_counts_until_the_day_it_expires(today: tuple[int, int, int], verdict: str):
    found = decide(of(*TWO, waivers=[WAIVER]), around(BROKEN, CLEAR), today=datetime.date(*today))
    assert found.verdict == verdict
    expired = "The waiver of gate a by Jane Doe expired on 2026-12-31 and does not count."
    assert (expired in found.reasons) == (verdict == "FAIL")
    assert found.waivers[0].state == ("expired" if verdict == "FAIL" else "used")


CHECK = {"check": "gradients", "granted_by": "Jane Doe", "reason": "known", "expires": "2026-12-31"}


@pytest.mark.parametrize("passed", [False, None])
@pytest.mark.parametrize("required", ["all", ["gradients", "unbounded"]])
def test_a_waived_check_leaves_the_audit_valid(passed: bool | None, required: Any):
    found = decide(
        of(gate("a"), required_checks=required, waivers=[CHECK]),
        around(CLEAR),
        checks(gradients=passed, unbounded=True),
    )
    assert found.verdict == "PASS WITH WAIVERS"
    assert (found.checks.waived, found.checks.failed) == (("gradients",), ())
    assert found.reasons[0].startswith("WAIVED by Jane Doe until 2026-12-31, check gradients: known. Without")
    assert found.reasons[0].endswith(found.checks.evidence["gradients"])


def test_a_waiver_of_one_check_saves_no_other_and_of_a_gate_no_check():
    failing = checks(gradients=False, unbounded=False)
    found = decide(of(gate("a"), waivers=[CHECK]), around(CLEAR), failing)
    assert (found.verdict, found.checks.failed) == ("INVALID", ("unbounded",))
    assert words(found) == ["NOT RUN"]
    found = decide(of(gate("a"), waivers=[WAIVER]), around(CLEAR), failing)
    assert (found.verdict, words(found), found.waivers[0].state) == ("INVALID", ["NOT RUN"], "not used")
    expired = [{**CHECK, "expires": "2026-06-15"}]
    found = decide(of(gate("a"), waivers=expired), around(CLEAR), checks(gradients=False))
    assert (found.verdict, found.waivers[0].state) == ("INVALID", "expired")


@pytest.mark.parametrize(
    ("waiver", "key", "told"),
    [
        ({"gate": "robust"}, "waivers.0.gate", "no such gate that this policy requires"),
        ({"gate": "rankin"}, "waivers.0.gate", "did you mean 'ranking'?"),
        ({"check": "gradient"}, "waivers.0.check", "did you mean 'gradients'?"),
        ({"check": "all"}, "waivers.0.check", "no such check that this policy requires"),
        ({"gate": "ranking", "check": "gradients"}, "waivers.0", "exactly one of gate and check"),
        ({}, "waivers.0", "exactly one of gate and check"),
        ({"gate": "ranking", "expires": "31.12.2026"}, "waivers.0.expires", "must be a date such as 2027-01-31"),
        ({"gate": "ranking", "expires": "2026-02-30"}, "waivers.0.expires", "must be a date such as 2027-01-31"),
        ({"gate": "ranking", "expires": 20261231}, "waivers.0.expires", "must be a date such as 2027-01-31"),
        ({"gate": "ranking", "granted_by": " "}, "waivers.0.granted_by", "text of at least 1"),
        ({"gate": "ranking", "reason": None}, "waivers.0.reason", "must be text"),
        ({"gate": "ranking", "expires": None}, "waivers.0.expires", "must be a date"),
    ],
)
def test_a_waiver_that_says_too_little_is_a_fault(waiver: dict[str, Any], key: str, told: str):
    base = {"granted_by": "Jane Doe", "reason": "r", "expires": "2026-12-31"}
    with pytest.raises(SpecError) as caught:
        of(gate("ranking"), waivers=[{**base, **waiver}])
    [fault] = caught.value.faults
    assert fault.key == key
    assert told in fault.allowed


def test_names_that_are_there_twice_or_not_at_all_are_faults_beside_the_others():
    with pytest.raises(SpecError) as caught:
        of(
            gate("a"),
            gate("a", "2/255", metric="aurok"),
            required_checks=["gradients", "gradients", "unbound"],
            waivers=[WAIVER, WAIVER, CHECK | {"check": "inside_ball"}],
            multiplicity="hochberg",
        )
    told = {fault.key: fault.allowed for fault in caught.value.faults}
    assert set(told) == {
        "gates.1.metric", "gates.1", "required_checks.1", "required_checks.2", "waivers.1.gate", "waivers.2.check",
        "multiplicity",
    }  # fmt: skip
    assert "did you mean 'unbounded'" in told["required_checks.2"]
    assert "waived already" in told["waivers.1.gate"]
    assert "must be one of 'holm', 'bonferroni' or 'none'" in told["multiplicity"]


def test_the_hash_of_a_policy_covers_its_waivers():
    hashes = {of(gate("a")).hash, of(gate("a"), waivers=[WAIVER]).hash}
    hashes.add(of(gate("a"), waivers=[WAIVER | {"expires": "2027-12-31"}]).hash)
    assert len(hashes) == 3
