"""Stores that earlier versions wrote, as they lie in `tests/stores/`: every later version must read them.

A folder there is never changed. When a format gets a new version, a store of that version is put beside the old ones.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy_audit
import yaml
from click.testing import CliRunner

from assay.cli import main
from assay.errors import DataError
from assay.hashing import canonical, digest
from assay.models import model_folder
from assay.store import formats, trials_table
from assay.store.audit_reader import Audit
from assay.store.store import Store
from assay.tracking.sent import Published

STORES = Path(__file__).parents[1] / "stores"
MODEL = "7464b25771b08a1ce4eae0a9"
AUDIT = "7464b25771b0-small-94a5cf7f"
POLICY = {
    "name": "mine",
    "version": 1,
    "why": "a test",
    "minimum_samples": {"normals": 10, "anomalies": 10},
    "gates": [{"name": "clean", "metric": "auroc", "attack": "clean", "at_least": 0.2, "why": "a test"}],
}


@pytest.fixture(params=[folder.name for folder in sorted(STORES.iterdir())])
def old(request, tmp_path, monkeypatch, own_cache) -> Store:
    """A copy of an old store, in the working directory, beside the images that it is about."""
    shutil.copytree(STORES / request.param, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    toy_audit.pictures(Path("images"), 120, 60)
    Path("policy.yaml").write_text(yaml.safe_dump(POLICY))
    return Store("store")


@pytest.fixture
def run(old):
    """A function: words, exit code -> everything that was printed."""

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, [*words, "--store", "store"], env={"COLUMNS": "200"})
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_its_trials(run):
    assert "1 │ complete *" in run("trials", "small")
    assert [trial["model"][:12] for trial in json.loads(run("trials", "small", "--json", "--pareto"))] == [
        "7464b25771b0",
        "20b2c4ea70f5",
    ]


def test_a_spec_with_a_share_of_the_memory_of_a_gpu(old):
    spec = yaml.safe_load(old.read("sweeps/small/spec.yaml"))
    spec["resources"]["gpu_memory_gb"] = 10.0
    old.write("sweeps/small/spec.yaml", yaml.safe_dump(spec).encode())
    assert trials_table.stored_spec(old, "small").resources.gpu == 1


def test_its_models_and_who_serves(run):
    [model] = json.loads(run("models", "--json"))["models"]
    about = {"model": MODEL, "state": "approved", "by": "Jane Doe", "serves": ["line-1"], "audit": AUDIT}
    assert {name: model[name] for name in about} == about


def test_its_models_can_be_loaded(old):
    for name in old.names("models"):
        assert model_folder.load(old, name).made_by == "neighbours"


def test_its_signature_is_valid(run):
    told = run("verify", AUDIT, "--key", "public.pem")
    assert f"audit {AUDIT}: 26 files, unchanged since they were signed" in told
    assert f"model {MODEL}: 2 files, unchanged since they were signed" in told
    assert "says: PASS by Jane Doe (approver) on 2026-11-28" in told


def test_its_report(run, tmp_path):
    run("report", AUDIT, "--output", ".")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Jane Doe" in page
    assert "pgd-linf" in page


def test_its_approved_model_can_be_promoted(run):
    assert "serves as line-2 now" in run("promote", MODEL, "--as", "line-2", "--key", "public.pem")
    assert json.loads(run("models", "--json"))["models"][0]["serves"] == ["line-1", "line-2"]


def test_its_audit_can_be_decided_again(run, old):
    people = ("--reviewer", "Ann Lee", "--author", "Max Roe")
    told = run("approve", AUDIT, "--policy", "policy.yaml", *people, "--because", "its first policy was for show")
    assert "verdict: PASS under policy mine version 1" in told
    folder = old.below(f"audits/{AUDIT}")
    for file, kind in (("verdict.json", "verdict"), ("review.json", "review")):
        assert folder.read_json(file)["format"] == formats.written(kind)
    assert "says: PASS by Ann Lee (approver)" in run("verify", AUDIT)
    register = [old.read_json(f"register/{name}") for name in old.names("register")]
    assert [one.get("format") for one in register] == [None, None, None, formats.written("register")]


def test_its_audit_can_be_compared(run, old):
    twin = f"{AUDIT[:-1]}0"
    shutil.copytree(old.path(f"audits/{AUDIT}"), old.path(f"audits/{twin}"))
    about = old.read(f"audits/{twin}/audit.yaml").replace(AUDIT.encode(), twin.encode())
    old.write(f"audits/{twin}/audit.yaml", about)
    assert "no regression" in run("compare", AUDIT, twin)
    assert Audit(old.below(f"audits/{twin}")).comparison["format"] == formats.written("comparison")


def test_its_sweep_has_nothing_left_to_do(run, monkeypatch):
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    assert "3 complete" in run("sweep", "--resume", "small")


def test_pandas_reads_every_table(old):
    for file in old.path().rglob("*.parquet"):
        assert len(pd.read_parquet(file, partitioning=None).columns) > 2
    scores = pd.read_parquet(old.path(f"audits/{AUDIT}/scores"), partitioning=None)
    assert set(scores["attack"]) == {"noise-linf", "pgd-linf", "apgd-l2"}


def newer(store: Store, key: str) -> None:
    """Make the JSON, YAML or Parquet file of that key one of format 99."""
    path = store.path(key)
    if path.suffix == ".parquet":
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
        pq.write_table(table.replace_schema_metadata({formats.TABLE_FIELD: "99"}), path)
    elif path.suffix == ".jsonl":
        path.write_text(path.read_text().replace("{", '{"format": 99, ', 1))
    else:
        path.write_text(json.dumps({**yaml.safe_load(path.read_text()), "format": 99}, default=str))


FOLDER = f"audits/{AUDIT}"
VERIFIED = ("verify", AUDIT)
REPORT = ("report", AUDIT, "--output", ".")
APPROVE = ("approve", AUDIT, "--policy", "policy.yaml", "--because", "its first policy was for show")


@pytest.mark.parametrize(
    ("key", "words", "code"),
    [
        ("sweeps/small/log/0000.jsonl", ("trials", "small"), 1),
        (f"{FOLDER}/audit.yaml", ("models",), 1),
        (f"{FOLDER}/audit.yaml", REPORT, 1),
        (f"{FOLDER}/audit.yaml", APPROVE, 1),
        (f"{FOLDER}/audit.yaml", VERIFIED, 3),
        (f"{FOLDER}/manifest.json", REPORT, 1),
        (f"{FOLDER}/verdict.json", REPORT, 1),
        (f"{FOLDER}/verdict.json", VERIFIED, 3),
        (f"{FOLDER}/review.json", REPORT, 1),
        (f"{FOLDER}/review.json", VERIFIED, 3),
        (f"{FOLDER}/trials.parquet", REPORT, 1),
        (f"{FOLDER}/metrics.parquet", REPORT, 1),
        (f"{FOLDER}/metrics.parquet", APPROVE, 1),
        (f"{FOLDER}/worst_case.parquet", REPORT, 1),
        (f"{FOLDER}/explanations.parquet", REPORT, 1),
        (f"{FOLDER}/scores/attack=apgd-l2/part-2d4e2e3983303098.parquet", APPROVE, 1),
        ("register/20261128T233528.755429Z-promoted-7464b25771b0.json", ("models",), 1),
        ("register/20261128T233528.755429Z-promoted-7464b25771b0.json", APPROVE, 1),
    ],
)
def test_a_newer_format_is_refused_in_one_line(run, old, key, words, code):
    newer(old, key)
    [line] = [line for line in run(*words, code=code).splitlines() if "format 99" in line]
    assert f"{key} has format 99; this version of Assay (" in line
    assert line.endswith(") reads format 1: install a newer Assay")


def test_a_comparison_of_a_newer_format_is_refused(run, old):
    old.write(f"{FOLDER}/comparison.json", b'{"format": 99, "sides": 2}')
    assert f"{FOLDER}/comparison.json has format 99; this version of Assay" in run(*REPORT, code=1)


def test_the_damaged_version_of_a_format_is_called_damage(run, old):
    old.write(f"{FOLDER}/comparison.json", b'{"format": "one"}')
    told = run(*REPORT, code=1)
    assert "comparison.json is damaged: it has format 'one', and this version of Assay" in told
    assert "restore it from a copy" in told


@pytest.mark.parametrize("words", [("verify", MODEL), ("audit", MODEL, "--suite", "tiny.yaml", "--no-wandb")])
def test_a_model_of_a_newer_format_is_refused_in_one_line(run, old, words):
    manifest = canonical({**old.read_json(f"models/{MODEL}/manifest.json"), "format": 99})
    named = digest(manifest)[: model_folder.HASH_LENGTH]
    old.path(f"models/{MODEL}").rename(old.path(f"models/{named}"))
    old.write(f"models/{named}/manifest.json", manifest)
    told = run(*(named if word == MODEL else word for word in words), code=1)
    [line] = told.strip().splitlines()
    assert f"models/{named}/manifest.json has format 99; this version of Assay (" in line


def test_what_was_published_in_a_newer_format_is_refused(old):
    old.write("published/sweeps/small.json", b'{"format": 99, "server/me/assay": 1}')
    with pytest.raises(DataError, match=r"published/sweeps/small\.json has format 99; this version of Assay"):
        Published(old, "sweeps/small", SimpleNamespace(server="server", path="me/assay"))


def test_what_is_published_says_its_format(old):
    known = {"server/me/assay": {"run": "hash"}}
    old.write("published/sweeps/small.json", json.dumps(known).encode())
    published = Published(old, "sweeps/small", SimpleNamespace(server="server", path="me/assay"))
    assert published.sent == {"run": "hash"}
    published.note({"other": "hash"})
    noted = {"server/me/assay": {"run": "hash", "other": "hash"}, "format": formats.written("published")}
    assert old.read_json("published/sweeps/small.json") == noted
