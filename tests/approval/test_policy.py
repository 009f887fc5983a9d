"""Policies: reading them with all their faults, and the verdict on an audit."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assay.approval import decision, policy
from assay.approval.gate import Gate
from assay.approval.verdict import Verdict
from assay.config import yaml_file
from assay.errors import DataError, InputError, SpecError, UnknownName
from assay.store.figures import read
from assay.store.schemas import CHECKS, METRICS

GATE = {"metric": "auroc", "epsilon": "2/255", "at_least": 0.6, "why": "because"}
CLEAN = {"metric": "auroc", "attack": "clean", "at_least": 0.8, "why": "because"}


def of(*gates: dict[str, Any], **more: Any) -> policy.Policy:
    base = {"name": "p", "version": 1, "why": "w", "minimum_samples": {"normals": 20, "anomalies": 30}}
    return policy.Policy.of({**base, "gates": list(gates) or [GATE], **more}, "p.yaml")


def figures(*rows: dict[str, Any]) -> pa.Table:
    base = {"attack": "worst", "norm": "linf", "epsilon": 2 / 255, "regime": "both", "defect": "all", "metric": "auroc"}
    base |= {"value": 0.7, "lower": 0.65, "upper": 0.75, "confidence": 0.95, "normals": 50, "anomalies": 50}
    clean = {"attack": "clean", "norm": "", "epsilon": 0.0, "regime": "", "value": 0.9, "lower": 0.85, "upper": 0.95}
    return pa.Table.from_pylist([base | row for row in rows] + [base | clean], schema=METRICS)


def checks(**passed: bool | None) -> pa.Table:
    rows = [{"check": name, "passed": ok, "required": True, "evidence": f"saw {ok}"} for name, ok in passed.items()]
    return pa.Table.from_pylist([*rows, {"check": "adaptive", "passed": False, "required": False}], schema=CHECKS)


GOOD = checks(clean_scores=True, in_ball=True)
TODAY = datetime.date(2026, 6, 15)


def at(table: pa.Table):
    """Figures whose bounds are the same at every confidence."""
    return lambda confidence: [row._replace(confidence=confidence) for row in read(table)]


def decide(rules: policy.Policy, table: pa.Table, found: pa.Table, today: datetime.date = TODAY) -> Verdict:
    return decision.decide(rules, at(table), found, today)


def decided(gate: dict[str, Any], *rows: dict[str, Any], **more: Any) -> tuple[str, str]:
    """(decision, why) of one gate, which is then also the verdict."""
    verdict = decide(of(gate, **more), figures(*rows), GOOD)
    [entry] = verdict.gates
    assert verdict.verdict == entry.decision
    return entry.decision, entry.why


@pytest.mark.parametrize(
    ("lower", "upper", "decision"),
    [
        (0.60, 0.75, "PASS"),  # the bound itself keeps the limit
        (0.59, 0.75, "INCONCLUSIVE"),
        (0.50, 0.60, "INCONCLUSIVE"),  # the favourable bound does not violate it
        (0.50, 0.59, "FAIL"),
    ],
)
def test_at_least_acts_on_the_lower_bound(lower: float, upper: float, decision: str):
    assert decided(GATE, {"value": 0.595, "lower": lower, "upper": upper})[0] == decision


@pytest.mark.parametrize(
    ("lower", "upper", "decision"),
    [(0.1, 0.3, "PASS"), (0.2, 0.31, "INCONCLUSIVE"), (0.3, 0.4, "INCONCLUSIVE"), (0.31, 0.4, "FAIL")],
)
def test_at_most_acts_on_the_upper_bound(lower: float, upper: float, decision: str):
    gate = {"metric": "miss_rate", "epsilon": "2/255", "regime": "evasion", "at_most": 0.3, "why": "because"}
    row = {"metric": "miss_rate", "regime": "evasion", "value": 0.3, "lower": lower, "upper": upper}
    assert decided(gate, row)[0] == decision


@pytest.mark.parametrize(("kind", "count"), [("normals", 19), ("anomalies", 29)])
@pytest.mark.parametrize("bounds", [{"lower": 0.9, "upper": 1.0}, {"lower": 0.1, "upper": 0.2}])
def test_too_few_samples_decide_nothing(kind: str, count: int, bounds: dict[str, float]):
    decision, why = decided(GATE, bounds | {kind: count})
    assert decision == "INCONCLUSIVE"
    assert f"{count} {kind} were tested" in why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"epsilon": "3/255"}, "no figure for epsilon 3/255; there is: 1/255, 2/255"),
        ({"attack": "square"}, "no figure for attack square; there is: clean, worst"),
        ({"norm": "l2"}, "no figure for norm l2; there is: linf"),
        ({"regime": "evasion"}, "no figure for regime evasion; there is: both"),
        ({"defect": "crack"}, "no figure for defect crack; there is: all"),
        ({"metric": "curve_area"}, "no figure for metric curve_area; there is: auroc"),
    ],
)
def test_a_figure_that_the_audit_lacks_is_named_with_what_there_is(change: dict[str, Any], why: str):
    decision, told = decided(GATE | change, {}, {"epsilon": 1 / 255})
    assert decision == "INCONCLUSIVE"
    assert why in told


def test_a_figure_that_is_not_a_number_decides_nothing_and_two_are_an_error():
    assert decided(GATE, {"lower": float("nan")}) == ("INCONCLUSIVE", "the audit's figure is not a number")
    with pytest.raises(DataError, match="hold 2 figures"):
        decide(of(), figures({}, {}), GOOD)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([{"lower": 0.7}, {"epsilon": 1 / 255}], "PASS"),
        ([{"lower": 0.5}, {"epsilon": 1 / 255}], "INCONCLUSIVE"),
        ([{"lower": 0.5}, {"epsilon": 1 / 255, "lower": 0.1, "upper": 0.2}], "FAIL"),  # before INCONCLUSIVE
    ],
)
def test_the_worst_gate_makes_the_verdict(rows: list[dict[str, Any]], verdict: str):
    found = decide(of(GATE, GATE | {"epsilon": "1/255"}, CLEAN), figures(*rows), GOOD)
    assert found.verdict == verdict
    told = [reason.split(":")[0] for reason in found.reasons]
    bad = [gate.decision for gate in found.gates if gate.decision != "PASS"]
    assert told == (bad or ["All 3 gates and all 2 required checks hold."])


def test_the_verdict_is_json_with_everything_a_report_needs():
    verdict = decide(of(GATE, CLEAN | {"name": "clean ranking"}), figures({}), GOOD)
    found = verdict.to_json()
    assert Verdict.from_json(found) == verdict
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    robust, clean = found["gates"]
    assert robust == {
        "name": "robust AUROC, worst case, both regimes, linf 2/255 at least 0.60",
        "text": "robust AUROC, worst case, both regimes, linf 2/255 at least 0.60",
        "value": 0.7,
        "lower": 0.65,
        "upper": 0.75,
        "normals": 50,
        "anomalies": 50,
        "confidence": 0.975,
        "bound": "lower",
        "limit": 0.6,
        "figure": {
            "attack": "worst",
            "norm": "linf",
            "epsilon": 2 / 255,
            "regime": "both",
            "defect": "all",
            "metric": "auroc",
        },
        "breaks_at": None,
        "holds_to": 2 / 255,
        "decision": "PASS",
        "why": "the lower bound 0.650 at 97.5 % confidence keeps the limit 0.60",
        "waiver": None,
        "purpose": "because",
    }
    assert (clean["name"], clean["text"]) == ("clean ranking", "clean AUROC at least 0.80")
    names = ["clean_scores", "in_ball"]
    assert found["checks"] == {"passed": names, "failed": [], "missing": [], "waived": [], "evidence": {}}
    assert (found["confidence"], found["multiplicity"], found["waivers"]) == (0.95, "holm", [])
    assert found["policy"] == {
        "name": "p",
        "version": 1,
        "hash": of(GATE, CLEAN | {"name": "clean ranking"}).hash,
        "why": "w",
        "approves": True,
        "values": of(GATE, CLEAN | {"name": "clean ranking"}).model_dump(mode="json", exclude_unset=True),
    }


def reached(gate: dict[str, Any], *rows: dict[str, Any]) -> tuple[float | None, float | None]:
    """(breaks_at, holds_to) of one gate."""
    [entry] = decide(of(gate), figures(*rows), GOOD).gates
    return entry.breaks_at, entry.holds_to


@pytest.mark.parametrize(
    ("lowers", "expected"),  # at 1/255, 2/255, 4/255, 8/255; the limit is 0.60
    [
        ((0.8, 0.7, 0.6, 0.59), (8, 4)),
        ((0.8, 0.59, 0.5, 0.4), (2, 1)),
        ((0.5, 0.4, 0.3, 0.2), (1, None)),
        ((0.9, 0.8, 0.7, 0.6), (None, 8)),
        ((0.8, 0.5, 0.7, 0.5), (2, 1)),  # what holds again beyond a break is no reach
    ],
)
def test_a_gate_says_at_which_epsilon_it_breaks_and_up_to_which_it_holds(lowers: Any, expected: Any):
    rows = [{"epsilon": n / 255, "lower": low} for n, low in zip((1, 2, 4, 8), lowers, strict=True)]
    others = [{"epsilon": 3 / 255, "lower": 0.0, key: value} for key, value in (
        ("attack", "pgd"), ("norm", "l2"), ("regime", "evasion"), ("defect", "crack"), ("metric", "fpr95"),
    )]  # fmt: skip
    assert reached(GATE, *rows[::-1], *others) == tuple(n and n / 255 for n in expected)


def test_the_bound_that_decides_is_the_upper_one_where_little_is_wanted():
    gate = {"metric": "miss_rate", "epsilon": "2/255", "regime": "evasion", "at_most": 0.3, "why": "because"}
    rows = [
        {"metric": "miss_rate", "regime": "evasion", "epsilon": n / 255, "lower": 0.0, "upper": upper}
        for n, upper in ((1, 0.2), (2, 0.3), (4, 0.31))
    ]
    assert reached(gate, *rows) == (4 / 255, 2 / 255)
    assert reached(gate, *rows, rows[0] | {"epsilon": 0.5 / 255, "upper": float("nan")}) == (0.5 / 255, None)


def test_what_is_not_of_one_epsilon_breaks_at_none():
    assert reached(CLEAN) == (None, None)
    area = {"metric": "curve_area", "epsilon": "8/255", "at_least": 0.6, "why": "because"}
    assert reached(area, {"metric": "curve_area", "epsilon": 8 / 255, "lower": 0.5}) == (None, None)


@pytest.mark.parametrize(
    ("gate", "row", "text"),
    [
        (
            {"metric": "curve_area", "epsilon": "8/255"},
            {"metric": "curve_area", "epsilon": 8 / 255},
            "area under the AUROC curve under attack, worst case, both regimes, linf up to 8/255",
        ),
        (
            {"attack": "certified", "norm": "l2", "epsilon": 0.25},
            {"attack": "certified", "norm": "l2", "epsilon": 0.25},
            "robust AUROC, certified floor, both regimes, l2 0.25",
        ),
        ({"norm": "l1", "epsilon": 12}, {"norm": "l1", "epsilon": 12.0}, "worst case, both regimes, l1 12"),
        ({"norm": "patch", "epsilon": 0.02}, {"norm": "patch", "epsilon": 0.02}, "both regimes, patch 2 %"),
        (
            {"norm": "spatial", "epsilon": 1, "defect": "worst_kind"},
            {"norm": "spatial", "epsilon": 1.0, "defect": "worst_kind"},
            "both regimes, spatial 100 %, worst kind of defect",
        ),
        (
            {"attack": "fog", "norm": "corruption", "regime": "natural", "epsilon": 3},
            {"attack": "fog", "norm": "corruption", "regime": "natural", "epsilon": 3.0},
            "AUROC under corruption, fog, severity 3 at least 0.60",
        ),
    ],
)
def test_gates_may_be_on_any_figure_of_an_audit(gate: dict[str, Any], row: dict[str, Any], text: str):
    assert decided({**GATE, **gate}, row)[0] == "PASS"
    assert decided({**GATE, **gate}, row | {"lower": 0.4, "upper": 0.5})[0] == "FAIL"
    assert decided({**GATE, **gate})[0] == "INCONCLUSIVE"
    assert text in of({**GATE, **gate}).gates[0].text


@pytest.mark.parametrize(
    ("gate", "fault"),
    [
        ({"norm": "corruption", "epsilon": 3}, "norm corruption and regime natural go together"),
        ({"regime": "natural"}, "norm corruption and regime natural go together"),
        ({"norm": "corruption", "regime": "natural", "epsilon": 6}, "severity: 1, 2, 3, 4 or 5"),
        ({"norm": "corruption", "regime": "natural", "epsilon": 2.5}, "severity: 1, 2, 3, 4 or 5"),
        ({"norm": "patch", "epsilon": 2}, "did you mean 0.02?"),
        ({"metric": "curve_area", "attack": "pgd"}, "curve_area is of attack worst or certified"),
        ({"norm": "l2", "epsilon": float("inf")}, "must be a finite number"),
        ({"at_least": None, "at_most": 0.6}, "auroc is the better the higher it is; give at_least"),
        ({"attack": "clean", "metric": "false_alarm_rate"}, "the better the lower it is; give at_most"),
    ],
)
def test_a_gate_on_a_figure_that_cannot_be_is_a_fault(gate: dict[str, Any], fault: str):
    with pytest.raises(SpecError) as caught:
        of({**GATE, **gate})
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "regime", "right"),
    [("miss_rate", "false_alarm", "evasion"), ("false_alarm_rate", "evasion", "false_alarm")],
)
def test_a_gate_on_errors_that_its_attack_cannot_cause_is_a_fault(metric: str, regime: str, right: str):
    gate = {"metric": metric, "epsilon": "2/255", "at_most": 0.3, "why": "because"}
    with pytest.raises(SpecError, match=f"no attack of regime {regime} changes {metric}; give regime {right} or both"):
        of({**gate, "regime": regime})
    of({**gate, "regime": right}, {**gate, "regime": "both"})


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("confidence", 0.05, "must be at least 0.5"),  # the error, written for the confidence
        ("confidence", 1 - 1e-13, "must be at most 0.9999"),
        ("valid_days", 10**12, "must be at most 36500"),
    ],
)
def test_numbers_that_make_no_sense_are_faults(key: str, value: float, fault: str):
    with pytest.raises(SpecError, match=fault):
        of(**{key: value})


def test_a_check_that_is_there_twice_is_an_error():
    with pytest.raises(DataError, match=r"checks hold .* more than once"):
        decide(of(), figures({}), pa.concat_tables([checks(in_ball=False), checks(in_ball=True)]))


@pytest.mark.parametrize(
    ("table", "required", "outcome", "reason"),
    [
        (
            checks(gradients=True, unbounded=False),
            "all",
            {"passed": ["gradients"], "failed": ["unbounded"]},
            "unbounded failed: saw False",
        ),
        (
            checks(gradients=True, unbounded=None),
            "all",
            {"passed": ["gradients"], "missing": ["unbounded"]},
            "unbounded is required and was not",
        ),
        (
            checks(gradients=True),
            ["gradients", "half_range"],
            {"passed": ["gradients"], "missing": ["half_range"]},
            "half_range is required and was not",
        ),
        (checks(gradients=True), ["adaptive"], {"failed": ["adaptive"]}, "adaptive failed"),
        (checks(), "all", {"missing": ["any required check"]}, "ran no required check"),
    ],
)
@pytest.mark.parametrize("upper", [0.75, 0.2])
def test_an_audit_that_fails_its_own_checks_is_invalid_whatever_the_gates_say(
    table: pa.Table, required: Any, outcome: dict[str, list[str]], reason: str, upper: float
):
    found = decide(of(required_checks=required), figures({"lower": upper - 0.1, "upper": upper}), table)
    assert found.verdict == "INVALID"
    told = {state: names for state, names in found.to_json()["checks"].items() if names and state != "evidence"}
    assert told == outcome
    assert reason in found.reasons[0]
    # Weak attacks that broke it broke it: only a failure stands beside INVALID.
    stands = upper == 0.2 and "failed" in outcome
    assert {gate.decision for gate in found.gates} == {"FAIL" if stands else "NOT RUN"}


def test_a_failed_check_that_the_policy_does_not_require_is_told():
    found = decide(of(required_checks=["gradients"]), figures({}), checks(gradients=True, unbounded=False))
    assert found.verdict == "PASS"
    assert found.reasons[-1] == "Check unbounded did not pass; this policy does not require it."


def test_exit_codes_tell_the_verdicts_apart():
    assert policy.EXIT_CODES == {"PASS": 0, "PASS WITH WAIVERS": 0, "FAIL": 3, "INVALID": 4, "INCONCLUSIVE": 5}


def test_the_hash_follows_the_meaning_and_not_the_spelling():
    assert of(GATE).hash == of(GATE | {"epsilon": 2 / 255, "regime": "both", "attack": "worst"}).hash
    assert of(GATE).hash != of(GATE | {"at_least": 0.61}).hash
    assert of(GATE).hash != of(GATE, confidence=0.99).hash


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"metric": "fpr95", "regime": "evasion", "at_least": None, "at_most": 0.3},
            "FPR95 under attack, worst case, evasion (anomalies attacked)",
        ),
        (
            {"attack": "pgd", "norm": "l2", "defect": "crack"},
            "robust AUROC, pgd, both regimes, l2 0.007843, defect crack",
        ),
        ({"at_least": 0.605}, "linf 2/255 at least 0.605"),
    ],
)
def test_a_gate_reads_as_a_sentence(change: dict[str, Any], text: str):
    assert text in of(GATE | change).gates[0].text


FAULTY = """
name: p
verzion: 1
why: w
confidence: 95
minimum_samples: {normals: 0}
required_checks: some
gates:
  - {metric: aurok, epsilon: 2, at_least: 0.5, why: w}
  - {metric: auroc, epsilon: 2/255, at_least: 0.5, at_most: 0.6, why: w}
  - {metric: auroc, attack: clean, epsilon: 2/255, norm: l2, why: w}
  - {metric: auroc, at_least: 50, wy: w}
"""


def test_every_fault_of_a_policy_is_told_at_once(tmp_path: Path):
    (tmp_path / "p.yaml").write_text(FAULTY)
    with pytest.raises(SpecError) as caught:
        policy.read(tmp_path / "p.yaml")
    told = {fault.key: str(fault) for fault in caught.value.faults}
    assert set(told) == {
        "verzion", "version", "confidence", "minimum_samples.normals", "minimum_samples.anomalies", "required_checks",
        "gates.0.metric", "gates.0.epsilon", "gates.1", "gates.2", "gates.3.at_least", "gates.3.why", "gates.3.wy",
    }  # fmt: skip
    assert "did you mean 'version'" in told["verzion"]
    assert "must be at most 0.9999" in told["confidence"]
    assert "must be one of 'all', or a list" in told["required_checks"]
    assert "did you mean 2/255?" in told["gates.0.epsilon"]
    assert "exactly one of at_least and at_most" in told["gates.1"]
    assert "exactly one of at_least and at_most; attack clean takes no epsilon or norm" in told["gates.2"]
    assert "did you mean 'why'" in told["gates.3.wy"]


def test_rules_between_keys_are_faults_too():
    with pytest.raises(SpecError, match="epsilon is required, such as 2/255"):
        of({"metric": "auroc", "at_least": 0.5, "why": "w"})
    with pytest.raises(SpecError, match=r"gates\.1: .*is the name of another gate"):
        of(GATE, GATE)
    with pytest.raises(SpecError, match=r"gates: .*must have at least 1"):
        of(gates=[])
    with pytest.raises(SpecError, match=r"version: found 1\.5"):
        of(version=1.5)


def test_packaged_policies_are_found_by_name_and_files_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert {"default", "demo"} <= set(policy.names())
    assert all(policy.read(name).name == name for name in policy.names())
    source = Path(policy.__file__).parent / "policies" / "demo.yaml"
    (tmp_path / "demo").write_text(source.read_text().replace("name: demo", "name: mine"))
    monkeypatch.chdir(tmp_path)
    assert policy.read("demo").name == "demo"
    assert policy.read("./demo").name == "mine"
    assert policy.read(Path("demo")).name == "mine"


@pytest.mark.parametrize("name", ["default", " Default"])
def test_other_limits_need_another_name(tmp_path: Path, name: str):
    source = (Path(policy.__file__).parent / "policies" / "default.yaml").read_text()
    (tmp_path / "p.yaml").write_text(source)
    assert policy.read(tmp_path / "p.yaml") == policy.read("default"), "the same limits may be in a file, too"
    weaker = source.replace("at_least: 0.80", "at_least: 0.50").replace("name: default", f"name: '{name}'")
    (tmp_path / "p.yaml").write_text(weaker)
    with pytest.raises(SpecError, match="give another `name`: this one is kept for the policy that comes with Assay"):
        policy.read(tmp_path / "p.yaml")


def test_a_policy_that_is_not_there_says_what_there_is(tmp_path: Path):
    with pytest.raises(UnknownName, match=r"policy 'defualt' is not known \(did you mean 'default'\?\)"):
        policy.read("defualt")
    with pytest.raises(InputError, match="no such file"):
        policy.read(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize("name", policy.names())
def test_packaged_policies_say_how_to_use_them_and_why(name: str):
    text = (Path(policy.__file__).parent / "policies" / f"{name}.yaml").read_text()
    assert f"assay approve AUDIT --policy {name}" in text
    assert all(gate.why and gate.name for gate in policy.read(name).gates)


PAGE = (Path(__file__).parents[2] / "docs" / "approve-a-model.md").read_text(encoding="utf-8")


def test_the_page_about_policies_has_a_valid_one_with_a_waiver_and_tells_every_key():
    [example] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert policy.Policy.of(yaml_file.parse(example, "page"), "page").waivers
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
    assert {*policy.Policy.model_fields, *Gate.model_fields} <= told
    assert len(PAGE.splitlines()) <= 150


def test_the_page_about_policies_tells_every_verdict_with_its_exit_code():
    for verdict, number in policy.EXIT_CODES.items():
        assert re.search(rf"^\| {verdict} \| {number} \|", PAGE, re.MULTILINE)


PRECISION = {"name": "precise", "metric": "average_precision", "attack": "clean", "at_least": 0.3, "why": "w"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "gates.0.metric: found average_precision; depends on the share of anomalies: write `prevalence:`"),
        ({"prevalence": 0}, "prevalence: found 0"),
        ({"prevalence": 1}, "prevalence: found 1"),
    ],
)
def test_a_gate_on_average_precision_needs_a_prevalence(changes, words):
    with pytest.raises(SpecError) as raised:
        of(PRECISION, **changes)
    assert words in str(raised.value)


def test_average_precision_is_decided_at_the_prevalence_of_the_policy():
    """The same scores, all of them or as many of each class: the prevalence of the samples decides nothing."""
    from assay.metrics import bootstrap

    rng = np.random.default_rng(11)
    normals, anomalies = rng.normal(0, 1, 4000), rng.normal(1.2, 1, 240)
    few = rng.choice(normals, 240, replace=False)
    by_samples = [bootstrap.ranking(n, anomalies)["average_precision"][0] for n in (normals, few)]
    at_one = [bootstrap.ranking(n, anomalies, prevalence=0.05)["average_precision"][0] for n in (normals, few)]
    assert by_samples[1] - by_samples[0] > 0.3
    assert abs(at_one[1] - at_one[0]) < 0.08
    own = len(anomalies) / (len(anomalies) + len(normals))
    assert bootstrap.ranking(normals, anomalies, prevalence=own)["average_precision"][0] == pytest.approx(by_samples[0])
