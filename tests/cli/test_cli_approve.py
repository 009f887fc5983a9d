"""`assay approve` and `assay report`: the verdict, its exit code, and the files they leave."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from xml.etree import ElementTree

import pytest
import toy_audit
import yaml
from click.testing import CliRunner

from assay.cli import main
from assay.store import references

GATE = {"name": "clean", "metric": "auroc", "attack": "clean", "at_least": 0.6, "why": "because"}
ROBUST = {"name": "robust", "metric": "auroc", "epsilon": "2/255", "at_least": 0.5, "why": "because"}
FALLS = {"name": "falls", "metric": "auroc", "epsilon": "8/255", "at_least": 0.9, "why": "because"}


@pytest.fixture
def name(store):
    return store.names("audits")[0]


@pytest.fixture
def policy(tmp_path):
    """A function: gates, more keys -> the path of a policy."""

    def policy(*gates, **more):
        values = {
            "name": "mine [red]",
            "version": 3,
            "why": "a test",
            "minimum_samples": {"normals": 5, "anomalies": 5},
        }
        path = tmp_path / "policy.yaml"
        path.write_text(yaml.safe_dump({**values, "gates": list(gates), **more}))
        return str(path)

    return policy


@pytest.fixture
def run(whole, plain_page):
    return whole


@pytest.fixture
def whole(store):
    """A function: (verb, words, exit code) -> the result of the command."""

    def run(verb: str, *words: str, code: int, root=None):
        result = CliRunner().invoke(main, [verb, *words, "--store", str(root or store.root)])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def verdict(store, name):
    return lambda: store.read_json(f"audits/{name}/verdict.json")


def test_pass(run, name, policy, verdict, store):
    result = run("approve", name, "--policy", policy(GATE, ROBUST), code=0)
    assert "verdict: PASS under policy mine [red] version 3" in result.stdout
    found = verdict()
    assert found["verdict"] == "PASS"
    assert found["audit"] == name
    assert found["model"] == store.names("models")[0]
    assert found["policy"]["version"] == 3
    assert [gate["decision"] for gate in found["gates"]] == ["PASS", "PASS"]
    assert len(found["checks"]["passed"]) > 20
    assert found["checks"]["failed"] == found["checks"]["missing"] == []
    assert found["checks"]["failed"] == found["checks"]["missing"] == []
    assert found["created"].endswith("+00:00")


def test_fail(run, name, policy, verdict):
    result = run("approve", name, "--policy", policy(GATE, FALLS), code=3)
    assert "FAIL" in result.stdout
    assert verdict()["verdict"] == "FAIL"
    assert any("falls" in reason for reason in verdict()["reasons"])


def test_inconclusive(run, name, policy, verdict):
    many = {"minimum_samples": {"normals": 500, "anomalies": 5}}
    run("approve", name, "--policy", policy(GATE, **many), code=5)
    assert verdict()["verdict"] == "INCONCLUSIVE"
    absent = ROBUST | {"epsilon": "3/255"}
    run("approve", name, "--policy", policy(GATE, absent), code=5)
    assert "3/255" in verdict()["gates"][1]["why"]


def test_invalid(run, store, policy, tmp_path, pristine_store):
    tiny = str(pristine_store.parent / "tiny.yaml")
    masked = toy_audit.write_model(store, toy_audit.pictures(tmp_path / "images"), flaw="masked")
    words = ["audit", masked, "--suite", tiny, "--no-wandb", "--workers", "1"]
    run(*words, code=0)
    result = run("approve", masked[:6], "--policy", policy(GATE), code=4)
    assert "Check gradients failed: 24 of 24" in result.stdout
    assert "verdict: INVALID" in result.stdout
    [audit] = [name for name in store.names("audits") if name.startswith(masked[:6])]
    found = store.read_json(f"audits/{audit}/verdict.json")
    assert "gradients" in found["checks"]["failed"]
    assert {gate["decision"] for gate in found["gates"]} == {"NOT RUN"}, "its figures look robust, and decide nothing"


def test_json_is_the_verdict(run, name, policy, verdict):
    assert json.loads(run("approve", name, "--policy", policy(GATE), "--json", code=0).stdout) == verdict()


def test_the_report_is_renewed(whole, store, name, policy):
    page = store.path(f"audits/{name}/report.html")
    assert f"report: {page}" in whole("report", name, code=0).stdout
    before = page.read_text()
    assert "mine [red]" not in before
    whole("approve", name, "--policy", policy(GATE, ROBUST), code=0)
    passed = page.read_text()
    assert "mine [red]" in passed
    whole("approve", name, "--policy", policy(GATE, FALLS), code=3)
    assert "FAIL" in page.read_text()
    assert page.read_text() != passed


@pytest.fixture
def newer(store, name):
    """A second audit, newer than the first, whose id begins alike."""
    other = f"{name[:-1]}-"  # sorts before the first
    shutil.copytree(store.path(f"audits/{name}"), store.path(f"audits/{other}"))
    about = store.path(f"audits/{other}/audit.yaml")
    about.write_text(about.read_text().replace(name, other))
    for one, at in ((name, 1_000_000), (other, 2_000_000)):
        os.utime(store.path(f"audits/{one}/audit.yaml"), (at, at))
    return other


def decided(store) -> list[str]:
    return [one for one in store.names("audits") if store.exists(f"audits/{one}/verdict.json")]


def test_latest(run, store, name, newer, policy):
    run("approve", "latest", "--policy", policy(GATE), code=0)
    assert decided(store) == [newer]


def test_the_beginning_of_an_id(run, store, name, newer, policy):
    assert "is ambiguous" in run("approve", name[:8], "--policy", policy(GATE), code=2).stderr
    run("approve", name, "--policy", policy(GATE), code=0)
    assert decided(store) == [name]
    shutil.rmtree(store.path(f"audits/{newer}"))
    run("report", name[:8], code=0)


def test_an_unfinished_audit_does_not_count(run, store, name, newer, policy):
    store.path(f"audits/{newer}/audit.yaml").unlink()
    run("approve", "latest", "--policy", policy(GATE), code=0)
    assert decided(store) == [name]
    store.path(f"audits/{name}/audit.yaml").unlink()
    stderr = run("approve", "latest", "--policy", policy(GATE), code=2).stderr
    assert "no audit in the store" in stderr
    assert "was finished" in stderr


def test_sweep_best_and_pareto(run, store, name, newer, policy, monkeypatch):
    model = store.names("models")[0]
    monkeypatch.setattr(references, "_of_sweep", lambda *_: [model])
    run("approve", "demo:best", "--policy", policy(GATE), code=0)
    assert decided(store) == [newer], "the newest audit of that model"
    monkeypatch.setattr(references, "_of_sweep", lambda *_: ["another"])
    assert "assay audit demo:best" in run("approve", "demo:best", "--policy", policy(GATE), code=2).stderr
    monkeypatch.setattr(references, "_of_sweep", lambda *_: [model, "another"])
    assert "names 2 models" in run("approve", "demo:pareto", "--policy", policy(GATE), code=2).stderr


@pytest.mark.parametrize("verb", ["approve", "report"])
def test_unknown_names(run, store, name, verb, policy, tmp_path):
    more = ["--policy", policy(GATE)] if verb == "approve" else []
    assert f"did you mean '{name}'?" in run(verb, f"x{name}", *more, code=2).stderr
    assert "sweep 'demo' is not known" in run(verb, "demo:best", *more, code=2).stderr
    assert "holds no audit" in run(verb, "latest", *more, code=2, root=tmp_path / "empty").stderr


def test_unknown_and_faulty_policies(run, name, policy, store):
    assert "did you mean 'default'?" in run("approve", name, "--policy", "defualt", code=2).stderr
    assert "no such file" in run("approve", name, "--policy", "nowhere/p.yaml", code=2).stderr
    faulty = policy(GATE | {"at_most": 0.5}, {"metric": "auorc"})
    assert "auorc" in run("approve", name, "--policy", faulty, code=2).stderr
    assert "Missing option '--policy'" in run("approve", name, code=2).stderr
    assert decided(store) == []


@pytest.mark.parametrize("table", ["metrics", "checks"])
def test_a_damaged_audit(run, store, name, policy, table):
    store.path(f"audits/{name}/{table}.parquet").write_bytes(b"PAR1")
    assert f"{table}.parquet is damaged" in run("approve", name, "--policy", policy(GATE), code=1).stderr
    assert decided(store) == []


def test_a_policy_judges_only_audits_by_its_suites(run, name, policy, store):
    message = run("approve", name, "--policy", policy(GATE, suites=["standard"]), code=2).stderr
    assert "judges audits by the suite standard" in message
    assert "--suite standard" in message
    assert decided(store) == []
    suite = name.split("-")[1]
    run("approve", name, "--policy", policy(GATE, suites=["standard", suite]), code=0)


def test_a_verdict_names_the_tables_it_judged_by_their_hash(run, name, policy, verdict):
    run("approve", name, "--policy", policy(GATE), code=0)
    assert {table: len(sha256) for table, sha256 in verdict()["judged"].items()} == {"metrics": 64, "checks": 64}


def test_what_each_gate_was_decided_at_is_told(run, name, policy, verdict):
    result = run("approve", name, "--policy", policy(GATE, ROBUST), code=0)
    assert "PASS         clean: clean AUROC at least 0.60; " in result.stdout
    assert " at 97.5 %" in result.stdout
    assert [gate["confidence"] for gate in verdict()["gates"]] == [0.975, 0.975]
    run("approve", name, "--policy", policy(GATE, ROBUST, confidence=0.8, multiplicity="none"), code=0)
    assert [gate["confidence"] for gate in verdict()["gates"]] == [0.8, 0.8]


def test_a_waiver(whole, store, name, policy, verdict):
    day = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1)
    waiver = {"gate": "falls", "granted_by": "Jane <i>Doe</i>", "reason": "line 3 & 4", "expires": day.isoformat()}
    result = whole("approve", name, "--policy", policy(GATE, FALLS, waivers=[waiver]), code=0)
    assert "  WAIVED       falls: " in result.stdout
    assert f"  WAIVED by Jane <i>Doe</i> until {day}, gate falls: line 3 & 4. Without the waiver: FAIL" in result.stdout
    page = store.path(f"audits/{name}/report.html").read_text()
    assert "Jane &lt;i&gt;Doe&lt;/i&gt;" in page
    assert "<i>Doe" not in page
    assert str(day) in page
    assert "exceptions that a person granted by name" in page
    assert "97.5 %" in page
    expired = {**waiver, "expires": "2026-01-31"}
    result = whole("approve", name, "--policy", policy(GATE, FALLS, waivers=[expired]), code=3)
    assert "The waiver of gate falls by Jane <i>Doe</i> expired on 2026-01-31 and does not count." in result.stdout
    assert "expired, does not count" in store.path(f"audits/{name}/report.html").read_text()


def test_files_for_a_ci_server(run, name, policy, tmp_path):
    junit, summary = tmp_path / "new" / "verdict.xml", tmp_path / "summary.md"
    summary.write_text("before\n")
    for _ in range(2):
        words = ["--policy", policy(GATE, FALLS), "--junit", str(junit), "--summary", str(summary)]
        run("approve", name, *words, code=3)
    root = ElementTree.parse(junit).getroot()
    assert (root.tag, root.attrib["failures"], root.attrib["errors"]) == ("testsuites", "1", "0")
    text = summary.read_text()
    assert text.startswith("before\n## Assay: FAIL\n")
    assert text.count("## Assay: FAIL") == 2, "a summary is appended to, JUnit is written anew"
    assert "policy mine \\[red\\] version 3" in text
    assert f"audits/{name}/report.html" in text


def test_json_stays_json_with_files_for_a_ci_server(run, name, policy, tmp_path):
    words = ["--policy", policy(GATE), "--json", "--junit", str(tmp_path / "j.xml")]
    assert json.loads(run("approve", name, *words, code=0).stdout)["verdict"] == "PASS"
