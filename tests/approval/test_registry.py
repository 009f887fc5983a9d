"""The register: states of models, promotion, and the comparison with the model that is replaced."""

from __future__ import annotations

import datetime
import json

import pytest
import yaml
from signed_store import add_sibling, flip, write_keys

from assay import shelves
from assay.approval import predecessor, records, registry
from assay.approval.gate import Gate
from assay.approval.trust import promotion
from assay.approval.trust.hashed import hashed
from assay.store.audit_reader import Audit

GATE = {"name": "clean", "metric": "auroc", "attack": "clean", "at_least": 0.6, "why": "because"}
HARD = {"name": "falls", "metric": "auroc", "epsilon": "8/255", "at_least": 0.9, "why": "because"}
PEOPLE = ("--reviewer", "Jane Doe", "--author", "Max Roe")
TODAY = datetime.datetime.now(datetime.UTC).date()

pytestmark = pytest.mark.usefixtures("plain_page")


@pytest.fixture
def decide(run, tmp_path):
    """A function: audit, gate, more words, exit code; decides by a policy of that one gate."""

    def decide(audit, gate=GATE, *more, code=0, **keys):
        samples = {"normals": 5, "anomalies": 5}
        values = {"name": "mine", "version": 1, "why": "a test", "minimum_samples": samples, "gates": [gate], **keys}
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump(values))
        again = () if "--because" in more else ("--because", "the limits were set again")
        return run("approve", audit, "--policy", tmp_path / "policy.yaml", *again, *more, code=code)

    return decide


@pytest.fixture
def first(store):
    return store.names("audits")[0]


@pytest.fixture
def second(store, first):
    return add_sibling(store)


def model_of(store, audit) -> str:
    return str(Audit(store.path(f"audits/{audit}")).info["model"])


def state(store, audit, today=TODAY) -> registry.Standing:
    [found] = [one for one in registry.standings(store, today) if one.model == model_of(store, audit)]
    return found


def test_states_from_audit_to_decision(store, first, decide):
    assert state(store, first).state == "audited"
    decide(first, HARD, code=3)
    assert state(store, first).state == "rejected"
    decide(first, GATE, "--reviewer", "Jane Doe")
    found = state(store, first)
    assert (found.state, found.by, found.since) == ("approved", "Jane Doe", str(TODAY))
    assert found.verdict == "PASS (mine 1)"
    decide(first, {**HARD, "epsilon": "3/255"}, code=5)
    assert state(store, first).state == "audited", "INCONCLUSIVE is no decision"


def test_the_register_keeps_every_decision(store, first, decide):
    decide(first, HARD, code=3)
    before = {name: store.read(f"register/{name}") for name in store.names("register")}
    decide(first)
    after = {name: store.read(f"register/{name}") for name in store.names("register")}
    assert before.items() < after.items(), "what was written is never changed"
    assert [one.verdict for one in records.decisions(store)] == ["FAIL", "PASS"]


def test_an_approval_expires(store, first, decide, run):
    decide(first, GATE, "--expires", "2099-01-31")
    assert state(store, first, datetime.date(2099, 1, 30)).state == "approved"
    expired = state(store, first, datetime.date(2099, 1, 31))
    assert (expired.state, expired.since) == ("expired", "2099-01-31")
    with hashed(store.below(f"audits/{first}")) as folder:
        assert "expired on 2099-01-31" in promotion.refusal(store, folder, expired, promotion.Trust())


def test_only_a_pass_is_promoted(store, first, decide, run):
    model = model_of(store, first)
    assert "no verdict" in run("promote", model, code=3)
    decide(first, HARD, code=3)
    assert "says FAIL" in run("promote", model, code=3)
    assert state(store, first).serves == ()
    decide(first)
    said = run("promote", "--unsigned", model, "--by", "Ann Lee")
    assert f"serves as images now, by audit {first}: PASS (mine 1)" in said, "by which policy it passed is told"
    assert state(store, first).serves == ("images",), "by default the name of its dataset"
    assert "already serves as images" in run("promote", "--unsigned", model, code=2)


def test_a_model_without_an_audit_is_not_promoted(store, first, run):
    model = model_of(store, first)
    store.path(f"audits/{first}/audit.yaml").unlink()
    assert "no finished audit" in run("promote", model, code=3)
    assert "1 model without an audit" in run("models")
    assert model[:12] in run("models", "--all")


def test_a_promotion_supersedes_and_can_be_taken_back(store, first, second, decide, run):
    for audit in (first, second):
        decide(audit)
    run("promote", "--unsigned", model_of(store, first), "--as", "line-3", "--by", "Ann Lee")
    said = run("promote", "--unsigned", model_of(store, second), "--as", "line-3", "--by", "Bob Ray")
    assert f"it supersedes no-sweep:0 ({model_of(store, first)[:12]})" in said
    former = state(store, first)
    assert (former.state, former.by) == ("superseded", "Bob Ray")
    assert state(store, second).serves == ("line-3",)
    run("promote", "--unsigned", model_of(store, first), "--as", "line-3")
    assert state(store, first).state == "approved"
    assert state(store, second).state == "superseded"


def test_another_name_supersedes_nothing(store, first, second, decide, run):
    for audit, name in ((first, "line-3"), (second, "line-4")):
        decide(audit)
        assert "supersedes" not in run("promote", "--unsigned", model_of(store, audit), "--as", name)
    run("promote", "--unsigned", model_of(store, second), "--as", "line-3")
    assert state(store, second).serves == ("line-3", "line-4")
    assert state(store, first).state == "superseded"


def test_a_signed_approval_is_promoted_with_its_key_alone(store, first, second, decide, run, keys, tmp_path):
    decide(first, GATE, "--key", keys[0], *PEOPLE)
    model = model_of(store, first)
    assert "give --key" in run("promote", model, code=3)
    other = write_keys(tmp_path, "other")[1]
    assert "signed with another key" in run("promote", model, "--key", other, code=3)
    run("promote", model, "--key", keys[1])
    decide(second)
    unsigned = model_of(store, second)
    assert "give --key" in run("promote", unsigned, code=3), "once one is signed, all must be"
    assert "not signed" in run("promote", unsigned, "--key", keys[1], code=3)


@pytest.mark.parametrize("kind", ["audit", "model"])
def test_a_changed_file_stops_a_promotion(store, first, decide, run, keys, kind):
    decide(first, GATE, "--key", keys[0], *PEOPLE)
    model = model_of(store, first)
    files = {"audit": f"audits/{first}/worst.parquet", "model": f"models/{model}/model.safetensors"}
    flip(store.path(files[kind]), 8)
    assert "changed: " in run("promote", model, "--key", keys[1], code=3)
    assert records.promotions(store) == []


def test_a_verdict_that_was_written_by_hand_stops_at_the_signature(store, first, decide, run, keys):
    decide(first, HARD, "--key", keys[0], *PEOPLE, code=3)
    path = store.path(f"audits/{first}/verdict.json")
    path.write_text(path.read_text().replace('"FAIL"', '"PASS"'))
    assert "changed: verdict.json" in run("promote", model_of(store, first), "--key", keys[1], code=3)


def test_models_lists_what_serves_first(store, first, second, decide, run):
    decide(second)
    run("promote", "--unsigned", model_of(store, second))
    lines = run("models").splitlines()
    assert lines[0].split()[:4] == ["name", "model", "dataset", "state"]
    assert second in lines[1]
    assert first in lines[2]
    listed = json.loads(run("models", "--json"))["models"]
    assert [one["state"] for one in listed] == ["approved", "audited"]
    assert listed[0]["serves"] == ["images"]


def test_a_damaged_verdict_is_listed_and_not_promoted(store, first, decide, run):
    decide(first)
    store.path(f"audits/{first}/verdict.json").write_text("{")
    assert "cannot be read" in run("models")
    assert "not promoted" in run("promote", model_of(store, first), code=3)


def test_the_candidate_is_compared_with_the_approved_model_unasked(store, first, second, decide, run):
    decide(first)
    run("promote", "--unsigned", model_of(store, first), "--as", "line-3")
    assert not store.exists(f"audits/{first}/comparison.json"), "it has no predecessor"
    run("report", second)
    found = store.read_json(f"audits/{second}/comparison.json")
    assert (found["approved_as"], found["a"]["audit"], found["regression"]) == ("line-3", first, False)
    decide(second)
    assert "regression" not in run("promote", "--unsigned", model_of(store, second))
    store.write(f"audits/{second}/comparison.json", json.dumps({**found, "regression": True}).encode())
    assert f"regression against audit {first}" in run(
        "promote", "--unsigned", model_of(store, second), "--as", "line-3"
    )


def test_a_comparison_that_somebody_made_is_left(store, first, second, decide, run):
    run("compare", first, second, "--margin", "0.5")
    decide(first)
    run("promote", "--unsigned", model_of(store, first))
    run("report", second)
    assert store.read_json(f"audits/{second}/comparison.json")["margin"] == 0.5


def test_what_cannot_be_compared_says_why_in_the_report(store, first, second, decide, run):
    decide(first)
    run("promote", "--unsigned", model_of(store, first))
    for part in store.path(f"audits/{first}/scores").rglob("*.parquet"):
        part.unlink()
    run("report", second)
    found = store.read_json(f"audits/{second}/comparison.json")
    assert "part-*.parquet" in found["not_compared"]
    html = shelves.load("sections", "comparison")(Audit(store.path(f"audits/{second}"))).html
    assert "could not be compared" in " ".join(str(html).split())


def test_a_signed_audit_is_not_touched_by_a_later_promotion(store, first, second, decide, run, keys):
    for audit in (first, second):
        decide(audit, GATE, "--key", keys[0], *PEOPLE)
    run("promote", model_of(store, first), "--key", keys[1])
    predecessor.comparison(store, second)
    run("verify", second, "--key", keys[1])


def test_a_policy_that_approves_nothing_puts_nothing_into_service(run, decide, store, first):
    decide(first, approves=False)
    assert json.loads(run("models", "--json"))["models"][0]["state"] == "audited"
    assert "by a policy that approves nothing: PASS (mine 1)" in run("promote", model_of(store, first), code=3)
    decide(first)
    run("promote", "--unsigned", model_of(store, first))


def test_a_failure_stands_until_a_later_verdict_says_why_it_no_longer_does(store, first, run, decide, tmp_path):
    decide(first, HARD, code=3)
    policy = tmp_path / "softer.yaml"
    values = {"name": "softer", "version": 1, "why": "a test", "minimum_samples": {"normals": 5, "anomalies": 5}}
    policy.write_text(yaml.safe_dump({**values, "gates": [GATE]}))
    refused = run("approve", first, "--policy", policy, code=2)
    assert "was decided FAIL by policy mine 1" in refused
    assert "add --because REASON; nothing was written" in refused
    assert json.loads(store.read(f"audits/{first}/verdict.json"))["verdict"] == "FAIL"
    run("approve", first, "--policy", policy, "--because", "the limit was a typing mistake")
    history = json.loads(store.read(f"audits/{first}/verdict.json"))["history"]
    [earlier] = history["decisions"]
    assert (earlier["verdict"], earlier["answered"]) == ("FAIL", "the limit was a typing mistake")
    assert earlier["limits"] == [Gate(**HARD).text], "of the policy that it failed"
    assert history["models"] >= 1
    assert first in history["audits"]
    run("approve", first, "--policy", policy)  # it has its answer now
    [_, second] = json.loads(store.read(f"audits/{first}/verdict.json"))["history"]["decisions"]
    assert second["verdict"] == "PASS"
