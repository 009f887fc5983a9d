"""`assay audit` on the command line: what it prints, what it leaves, and what it says when it cannot."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest
import toy_audit
import toy_runs
import yaml
from click.testing import CliRunner

from assay.cli import main
from assay.config import reader
from assay.models import model_folder
from assay.reports import page
from assay.reports.sections.checks import checks as checks_section
from assay.runtime.threads import one_thread
from assay.store import references
from assay.store.audit_reader import Audit


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture
def name(store):
    return store.names("models")[0]


@pytest.fixture
def tiny(pristine_store):
    return str(pristine_store.parent / "tiny.yaml")


@pytest.fixture
def run(store):
    def run(*words: str, code: int = 0, root=None):
        arguments = ["audit", "--no-wandb", "--workers", "1", "--store", str(root or store.root), *words]
        result = CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return run


def test_it_prints_figures_checks_and_what_to_do_next(run, store, name, tiny):
    [audit] = store.names("audits")
    result = run(name, "--suite", tiny)
    assert "  3/47 apgd-l2" in result.stdout
    assert re.search(r"47/47 check \w+", result.stdout)
    words = " ".join(result.stdout.split())
    [count] = re.findall(r"\d+ of \d+ checks passed; \d+ had nothing to look at in this audit", words)
    assert count in checks_section(Audit(store.path(f"audits/{audit}"))).html, "the report says the same"
    assert "FAILED" not in result.stdout
    assert "advice: diverse_attacks" in result.stdout
    assert f"audit {audit}: {store.path(f'audits/{audit}')}" in result.stdout
    assert f"assay approve {audit}" in result.stdout
    rows = [line for line in result.stdout.splitlines() if "both" in line]
    assert any("linf" in line and "2/255" in line for line in rows)
    assert any("l2" in line and "0.3" in line for line in rows)
    assert store.names("audits") == [audit], "the same audit is not made twice"


def test_a_failed_check_is_shouted_and_no_error(run, store, tiny, pristine_store):
    images = toy_audit.pictures(store.path("images"))
    masked = toy_audit.write_model(store, images, flaw="masked")
    result = run(masked, "--suite", tiny)
    assert "FAILED gradients: 24 of 24 clean images" in " ".join(result.stdout.split())


def test_the_beginning_of_a_hash_is_enough(run, name, tiny):
    assert f"audit {name[:12]}-tiny" in run(name[:6], "--suite", tiny, "--limit", "2").stdout


def test_an_ambiguous_hash(run, store, name, tiny):
    store.write(f"models/{name[:8]}-twin/manifest.json", b"{}")
    result = run(name[:8], "--suite", tiny, code=2)
    assert result.stderr.startswith(f"Error: model '{name[:8]}' is ambiguous: ")
    assert "more digits" in result.stderr


def test_an_unknown_model_names_those_there_are(run, name, tiny):
    wrong = name[:-1] + ("0" if name[-1] != "0" else "1")
    assert f"did you mean '{name}'?" in run(wrong, "--suite", tiny, code=2).stderr
    assert f"available: {name[:12]}\n" in run("zzzz", "--suite", tiny, code=2).stderr


def test_a_store_without_models(run, tmp_path, tiny):
    told = run("abcdef", "--suite", tiny, code=2, root=tmp_path / "empty").stderr
    assert "empty has none; --store or ASSAY_STORE names another" in told


def test_an_unknown_suite_names_the_nearest(run, name):
    assert "did you mean 'quick'?" in run(name, "--suite", "quik", code=2).stderr


def test_every_fault_of_a_suite_file(run, name, tmp_path):
    file = toy_audit.write_suite(tmp_path / "bad.yaml", version=0, headline={"epsilon": 2})
    stderr = run(name, "--suite", file, code=2).stderr
    assert "2 faults" in stderr
    assert "did you mean 2/255?" in stderr


@pytest.mark.parametrize(
    "words", [["--limit", "0"], ["--workers", "0"], ["--seed", "-1"], ["--device", "tpu"], ["more"]]
)
def test_usage(run, name, tiny, words):
    assert "Usage:" in run(name, "--suite", tiny, *words, code=2).stderr


def test_sweep_best_and_pareto(run, name, tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(references, "_of_sweep", lambda store, text: asked.append(text) or [name])
    for text in ("demo:best", "demo:pareto"):
        assert f"audit {name[:12]}-tiny" in run(text, "--suite", tiny, "--limit", "2").stdout
    assert asked == ["demo:best", "demo:pareto"]


def test_a_pareto_front_is_audited_model_by_model(run, store, name, tiny, monkeypatch):
    other = toy_audit.write_model(store, toy_audit.pictures(store.path("images")))
    monkeypatch.setattr(references, "_of_sweep", lambda *_: [name, other])
    stdout = run("demo:pareto", "--suite", tiny, "--limit", "2").stdout
    assert all(f"assay approve {one[:12]}-tiny" in stdout for one in (name, other))


def test_an_unknown_sweep(run, store, tiny):
    store.write("sweeps/demo/spec.yaml", b"")
    assert "did you mean 'demo'?" in run("demp:best", "--suite", tiny, code=2).stderr
    assert "best, pareto or the number of a trial" in run("demo:bset", "--suite", tiny, code=2).stderr


@pytest.mark.parametrize("which", ["best", "pareto"])
def test_a_sweep_without_a_complete_trial(run, store, tmp_path, tiny, which):
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(toy_runs.search_space(tmp_path)))
    begun = reader.read(tmp_path / "toy.yaml")
    store.write("sweeps/toy/spec.yaml", yaml.safe_dump(begun.plain()).encode())
    assert "no complete trial" in run(f"toy:{which}", "--suite", tiny, code=1).stderr


def test_a_damaged_model(run, store, name, tiny):
    store.path(f"models/{name}/model.safetensors").write_bytes(b"")
    assert "damaged or was changed" in run(name, "--suite", tiny, code=1).stderr


def test_a_damaged_part(run, store, name, tiny):
    part = next(store.path("audits").glob("*/scores/pgd-linf/*.parquet"))
    part.write_bytes(b"")
    assert f"{part} is damaged" in run(name, "--suite", tiny, code=1).stderr


def test_a_detector_whose_score_is_no_number(run, store, name, tiny, monkeypatch):
    monkeypatch.setattr(toy_audit.Detector, "forward", lambda self, images: images.flatten(1).sum(1) * float("nan"))
    model_folder.loaded.cache_clear()
    try:
        assert "not finite" in run(name, "--suite", tiny, "--limit", "3", code=1).stderr
    finally:
        model_folder.loaded.cache_clear()


@pytest.fixture
def policy(tmp_path, monkeypatch):
    """A function: limit of the clean AUROC, more keys -> the path of a policy. No report is drawn."""

    def write(folder):
        folder.write("report.html", b"page")
        return folder.place("report.html")

    monkeypatch.setattr(page, "write", write)

    def policy(limit: float, **more) -> str:
        gate = {"name": "clean", "metric": "auroc", "attack": "clean", "at_least": limit, "why": "w"}
        samples = {"normals": 5, "anomalies": 5}
        values = {"name": "mine", "version": 1, "why": "w", "minimum_samples": samples, "gates": [gate], **more}
        path = tmp_path / "policy.yaml"
        path.write_text(yaml.safe_dump(values))
        return str(path)

    return policy


@pytest.mark.parametrize(
    ("limit", "more", "code", "word"),
    [
        (0.5, {}, 0, "PASS"),
        (1.0, {"gates": [{"metric": "auroc", "epsilon": "8/255", "at_least": 0.99, "why": "w"}]}, 3, "FAIL"),
        (0.5, {"required_checks": ["transfer_made"]}, 2, ""),
        (0.5, {"minimum_samples": {"normals": 500, "anomalies": 5}}, 5, "INCONCLUSIVE"),
    ],
)
def test_one_call_audits_and_decides(run, store, name, tiny, policy, tmp_path, limit, more, code, word):
    files = ["--junit", str(tmp_path / "j.xml"), "--summary", str(tmp_path / "s.md")]
    result = run(name, "--suite", tiny, "--policy", policy(limit, **more), *files, code=code)
    [audit] = store.names("audits")
    if code == 2:
        assert "no such check" in result.stderr
        assert not (tmp_path / "j.xml").exists()
        return
    assert f"verdict: {word} under policy mine version 1" in result.stdout
    assert "decide with" not in result.stdout
    assert json.loads(store.read(f"audits/{audit}/verdict.json"))["verdict"] == word
    assert store.exists(f"audits/{audit}/report.html")
    assert len(list(ElementTree.parse(tmp_path / "j.xml").getroot())) == 1
    assert (tmp_path / "s.md").read_text().startswith(f"## Assay: {word}\n")


def test_of_several_models_the_worst_verdict_counts(run, store, name, tiny, policy, tmp_path, monkeypatch):
    masked = toy_audit.write_model(store, toy_audit.pictures(store.path("images")), flaw="masked")
    monkeypatch.setattr(references, "_of_sweep", lambda *_: [masked, name])
    words = ["--suite", tiny, "--policy", policy(0.5), "--junit", str(tmp_path / "j.xml")]
    result = run("demo:pareto", *words, code=4)
    assert "verdict: INVALID" in result.stdout
    assert "verdict: PASS" in result.stdout
    suites = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert [int(suite.attrib["errors"]) > 0 for suite in suites] == [True, False]


def test_nothing_is_attacked_for_a_policy_that_judges_other_suites(run, store, name, tiny, policy):
    stderr = run(name, "--suite", tiny, "--limit", "2", "--policy", policy(0.5, suites=["standard"]), code=2).stderr
    assert "judges audits by the suite standard, and this audit is by tiny" in stderr
    assert "give --suite standard" in stderr
    assert len(store.names("audits")) == 1


def test_files_without_a_policy_are_a_usage_error(run, name, tiny, tmp_path):
    assert "give --policy, too" in run(name, "--suite", tiny, "--junit", str(tmp_path / "j.xml"), code=2).stderr


def test_a_gate_that_the_suite_cannot_decide_is_told_before_the_first_attack(run, name, tiny, policy):
    def gate(number: int, **more) -> dict:
        return {"name": str(number), "metric": "auroc", "at_least": 0.1, "why": "w", **more}

    natural = {"norm": "corruption", "regime": "natural", "attack": "fog", "epsilon": 3}
    gates = [
        gate(0, epsilon="2/255"),
        gate(1, epsilon="3/255"),
        gate(2, attack="square", epsilon="2/255"),
        gate(3, **natural),
        gate(4, epsilon="8/255", metric="curve_area"),
        gate(5, epsilon="2/255", metric="curve_area"),
        gate(6, attack="clean"),
        gate(7, attack="pgd-linf", epsilon="8/255"),
        gate(8, norm="l1", epsilon=1),
    ]
    stderr = run(name, "--suite", tiny, "--policy", policy(0.5, gates=gates), code=5).stderr
    told = re.findall(r"note: this will be INCONCLUSIVE: gate (\d): (.*)", stderr)
    assert [number for number, _ in told] == ["1", "2", "3", "5", "8"]
    assert told[0][1] == "suite tiny has no figure for worst linf 3/255; there is: 1/255, 2/255, 8/255"
