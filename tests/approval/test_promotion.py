"""Promotion against somebody who can write to the store: two readings, older states, foreign keys, edited words."""

from __future__ import annotations

import datetime

import pytest
import yaml
from click.testing import CliRunner
from signed_store import write_keys

from assay.approval import records, registry, signature
from assay.cli import main
from assay.reports import page
from assay.store.audit_reader import Audit

GATE = {"name": "clean", "metric": "auroc", "attack": "clean", "at_least": 0.6, "why": "because"}
HARD = {"name": "falls", "metric": "auroc", "epsilon": "8/255", "at_least": 0.9, "why": "because"}
PEOPLE = ("--reviewer", "Jane Doe", "--author", "Max Roe")
TODAY = datetime.datetime.now(datetime.UTC).date()


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    return write_keys(tmp_path_factory.mktemp("keys"), "signer")


@pytest.fixture(autouse=True)
def plain_page(monkeypatch):
    """The report's figures take a second to draw; no test here needs them."""
    monkeypatch.setattr(page, "write", lambda folder, output=None: folder.place("report.html"))


@pytest.fixture
def run(store):
    """A function: words, exit code -> everything that was printed."""

    def run(*words, code=0, env=None):
        result = CliRunner().invoke(main, [*map(str, words), "--store", str(store.root)], env=env)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.output

    return run


@pytest.fixture
def audit(store):
    return store.names("audits")[0]


@pytest.fixture
def model(store, audit):
    return str(Audit(store.path(f"audits/{audit}")).info["model"])


@pytest.fixture
def decide(run, audit, tmp_path):
    """A function: gate, more words, exit code; decides by a policy of that one gate."""

    def decide(gate=GATE, *more, code=0, of=audit, **values):
        samples = {"normals": 5, "anomalies": 5}
        plain = {"name": "mine", "version": 1, "why": "a test", "minimum_samples": samples, "gates": [gate]}
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump({**plain, **values}))
        return run("approve", of, "--policy", tmp_path / "policy.yaml", *more, code=code)

    return decide


@pytest.fixture
def sign(decide, keys):
    """A function as `decide`, which signs."""
    return lambda gate=GATE, *more, **values: decide(gate, "--key", keys[0], *(more or PEOPLE), **values)


def between(monkeypatch, before=lambda: None, after=lambda: None):
    """Do something to a store before its files are hashed, and something else afterwards."""
    hashes = signature.digests

    def digests(folder):
        before()
        found = hashes(folder)
        after()
        return found

    monkeypatch.setattr(signature, "digests", digests)


def test_a_verdict_that_is_put_back_before_it_is_hashed(sign, run, store, audit, model, keys, monkeypatch):
    sign(HARD, code=3)
    path = store.path(f"audits/{audit}/verdict.json")
    signed = path.read_text()
    path.write_text(signed.replace('"verdict": "FAIL"', '"verdict": "PASS"'))
    assert registry.standings(store, TODAY)[0].verdict.startswith("PASS"), "what a first reading sees"
    between(monkeypatch, before=lambda: path.write_text(signed))
    assert "says FAIL" in run("promote", model, "--key", keys[1], code=3)
    assert records.promotions(store) == []


@pytest.mark.parametrize("words", [("promote",), ("verify",)])
def test_a_verdict_that_is_changed_after_it_was_hashed(sign, run, store, audit, model, keys, monkeypatch, words):
    sign()
    path = store.path(f"audits/{audit}/verdict.json")
    changed = path.read_text().replace('"PASS"', '"FAIL"')
    between(monkeypatch, after=lambda: path.write_text(changed))
    told = run(*words, model if words == ("promote",) else audit, "--key", keys[1], code=3)
    assert "verdict.json was changed while it was being verified" in told
    assert records.promotions(store) == []
