"""What a policy asks for that cannot be had from the samples at hand, said before anything runs."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from click.testing import CliRunner

from assay.approval import decision, policy
from assay.approval.out_of_reach import Samples, before, out_of_reach, shortfall
from assay.cli import main
from assay.metrics import detection
from assay.store.figures import Figure

CLEAN = {"attack": "clean", "why": "w"}
GATES = {
    "ranking": {"metric": "auroc", "at_least": 0.9},
    "precision": {"metric": "average_precision", "at_least": 0.9},
    "tail": {"metric": "fpr95", "at_most": 0.5},
    "misses": {"metric": "miss_rate", "at_most": 0.1},
    "alarms": {"metric": "false_alarm_rate", "at_most": 0.1},
}


def of(*names: str, **more) -> policy.Policy:
    base = {"name": "p", "version": 1, "why": "w", "minimum_samples": {"normals": 5, "anomalies": 5}, "prevalence": 0.5}
    gates = [{"name": name, **GATES[name], **CLEAN} for name in names]
    return policy.Policy.of({**base, "gates": gates, **more}, "p.yaml")


@pytest.mark.parametrize("name", GATES)
def test_the_number_that_would_do_is_the_fewest_with_which_a_figure_without_error_passes(name):
    rules = of(name)
    [gate] = rules.gates
    words = shortfall(gate, Samples(10, 10), 0.95, 0.5)
    enough = int(words.rpartition("; ")[2].split()[0])

    def passes(count: int) -> bool:
        scores = np.repeat([0.0, 1.0], count)
        made = detection.figures(np.repeat([0, 1], count), scores, threshold=0.5, replicates=50)[gate.metric]
        figure = Figure("clean", "", 0.0, "", "all", gate.metric, *made, 0.95, count, count)
        return gate.holds(figure)

    assert passes(enough)
    assert not passes(enough - 1)
    assert shortfall(gate, Samples(enough, enough), 0.95, 0.5) == ""


def test_the_sentence_says_what_is_there_and_what_would_do():
    assert list(out_of_reach(of("alarms"), Samples(20, 5))) == [
        "gate alarms: with 20 normals not even a figure without error keeps the limit 0.1 (its upper bound is 0.168 at "
        "95 % confidence); 36 would do"
    ]
    [tail] = out_of_reach(of("tail"), Samples(300, 20, grouped=True))
    assert tail.startswith("gate tail: with 300 groups of normals and 20 groups of anomalies not even")
    assert tail.endswith("; 86 of each would do")
    assert list(out_of_reach(of("ranking"), Samples(4, 50))) == [
        "minimum_samples: there are 4 normals, the policy needs at least 5",
        *out_of_reach(of("ranking", minimum_samples={"normals": 1, "anomalies": 1}), Samples(4, 50)),
    ]
    perfect = of(gates=[{"name": "x", "metric": "auroc", "at_least": 1, **CLEAN}])
    [never] = out_of_reach(perfect, Samples(1000, 1000))
    assert never.endswith("; no number would do")


def test_a_correction_that_never_ends_at_the_full_error_counts_and_a_gate_without_claim_does_not():
    both = Samples(36, 36)
    assert list(out_of_reach(of("misses", "alarms"), both)) == []
    assert len(list(out_of_reach(of("misses", "alarms", multiplicity="bonferroni"), both))) == 2
    value = {"name": "v", "metric": "miss_rate", "at_most": 0.01, "bound": "value", **CLEAN}
    assert list(out_of_reach(of(gates=[value]), both)) == []


def test_a_waiver_for_every_gate_is_named():
    waiver = {"gate": "misses", "granted_by": "Jane", "reason": "r", "expires": "2099-01-01"}
    assert list(out_of_reach(of("misses", waivers=[waiver]), Samples(99, 99))) == [
        "every gate is waived, so nothing can be shown: no audit passes while the waivers last"
    ]
    assert list(out_of_reach(of("misses", "alarms", waivers=[waiver]), Samples(99, 99))) == []
    [line] = out_of_reach(of("misses", "alarms", waivers=[waiver]), Samples(9, 9))
    assert line.startswith("gate alarms"), "the other is waived, and its verdict does not hang on samples"
    later = datetime.date(2099, 1, 1)
    assert list(out_of_reach(of("misses", waivers=[waiver]), Samples(99, 99), later)) == [], "it has expired by then"


def test_what_a_screen_cannot_decide_is_named_before_it_is_made(store):
    [model] = store.names("models")
    told = before(store, model, of("precision", "alarms"), 4)
    assert told[0].startswith("policy p lets no screen (--limit) pass")
    assert told[1] == "gate precision: a screen (--limit) decides no average precision"
    assert any("with 4 normals not even" in line for line in told)
    assert "screen" not in "".join(before(store, model, of("precision", "alarms"), None))
    assert "lets no screen" not in "".join(before(store, model, of("alarms", screens="allowed"), 4))


def test_validate_holds_the_minimum_of_a_policy_against_its_gates(tmp_path):
    text = "name: p\nversion: 1\nwhy: w\nminimum_samples: {normals: 20, anomalies: 20}\ngates:\n"
    gate = "  - {{name: a, metric: false_alarm_rate, attack: clean, at_most: {}, why: w}}\n"
    for limit, note in ((0.1, "; note: gate a: with 20 normals not even"), (0.3, "1 gate)\n")):
        (tmp_path / "p.yaml").write_text(text + gate.format(limit))
        result = CliRunner().invoke(main, ["validate", str(tmp_path / "p.yaml")])
        assert result.exit_code == 0
        assert note in result.output


@pytest.mark.parametrize(
    ("gate", "judged", "note"),
    [
        ("attack: pgd-linff, epsilon: 2/255", "", "none measures pgd-linff linf 2/255 (did you mean 'pgd-linf'?)"),
        ("attack: pgd-linf, epsilon: 3/255", "suites: [quick]", "suites quick none measures pgd-linf linf 3/255"),
        (
            "attack: fogg, norm: corruption, epsilon: 3, regime: natural",
            "",
            "none measures fogg at severity 3 (did you mean 'fog'?)",
        ),
        ("attack: pgd-linf, epsilon: 2/255", "suites: [quick]", ""),
        ("attack: corner-own, epsilon: 2/255", "suites: [own]", ""),
        ("attack: clean", "", ""),
    ],
)
def test_validate_names_a_gate_that_no_known_suite_measures(tmp_path, gate, judged, note):
    head = f"name: p\nversion: 1\nwhy: w\n{judged}\nminimum_samples: {{normals: 90, anomalies: 90}}\ngates:\n"
    (tmp_path / "p.yaml").write_text(f"{head}  - {{name: a, metric: auroc, {gate}, at_least: 0.5, why: w}}\n")
    result = CliRunner().invoke(main, ["validate", str(tmp_path / "p.yaml")])
    assert result.exit_code == 0, result.output
    assert note in result.output
    assert ("note" in result.output) == bool(note)


def test_what_a_manifest_says_of_the_test_images():
    counts = {"test": {"normal": 60, "anomalous": 40}}
    assert Samples.of_test_images({"counts": counts}, None) == (60, 40, False)
    assert Samples.of_test_images({"counts": counts}, 50) == (50, 40, False)
    grouped = {"counts": counts, "groups": {"test": {"normal": 10, "anomalous": 40}}}
    assert Samples.of_test_images(grouped, None) == (10, 40, True)
    assert Samples.of_test_images({}, None) is None


def test_an_undecided_gate_says_how_many_would_do_and_minimum_samples_counts_groups():
    rules = of("alarms")

    def verdict(groups: tuple[int, int], normals: int = 120):
        bounds = detection.intervals.rate(0, normals, 0.95, groups[0])
        figure = Figure("clean", "", 0.0, "", "all", "false_alarm_rate", 0.0, *bounds, 0.95, normals, 30, *groups)
        today = datetime.date(2026, 1, 1)
        checks = decision.pa.table({"check": ["c"], "passed": [True], "required": [True], "evidence": [""]})
        return decision.decide(rules, lambda _: [figure], checks, today)

    assert verdict((120, 30)).verdict == "PASS"
    few = verdict((20, 30))
    assert few.verdict == "INCONCLUSIVE"
    assert "with 20 groups of normals not even a figure without error keeps the limit 0.1" in few.gates[0].why
    assert few.gates[0].why.endswith("36 would do")
    assert verdict((4, 30)).gates[0].why == "4 groups of normals were tested, the policy needs at least 5"


def test_an_undecided_gate_asks_for_no_more_samples_where_none_would_do():
    perfect = of(gates=[{"name": "none", "metric": "miss_rate", "at_most": 0, **CLEAN}])
    checks = decision.pa.table({"check": ["c"], "passed": [True], "required": [True], "evidence": [""]})
    figure = Figure("clean", "", 0.0, "", "all", "miss_rate", 0.0, 0.0, 0.1, 0.95, 30, 30)
    [gate] = decision.decide(perfect, lambda _: [figure], checks, datetime.date(2026, 1, 1)).gates
    assert gate.why.endswith("no number would do")
    assert "more test samples" not in gate.why
