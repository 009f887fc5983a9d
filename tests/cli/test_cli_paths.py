"""A store whose path has brackets, blanks, umlauts or colons in it: every verb shows the path as it is."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
import toy_audit
import yaml
from click.testing import CliRunner

from assay.cli import main
from assay.runtime.threads import one_thread

OLD = Path(__file__).parents[1] / "stores" / "format-1"


@pytest.fixture(params=["a [b] ü c", "out [final]", "[/old]/s", ":warning: [red]x"])
def folder(request, tmp_path, monkeypatch, own_cache) -> str:
    """The path of a store that is not there yet, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASSAY_STORE", raising=False)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    return str(request.param)


def run(folder: str, *words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, [*words, "--store", folder], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


def test_audit_approve_and_verify(folder, pristine_store):
    shutil.copytree(pristine_store, folder)
    [model] = (Path(folder) / "models").iterdir()
    [audit] = (Path(folder) / "audits").iterdir()
    suite, option = str(pristine_store.parent / "tiny.yaml"), f"--store {shlex.quote(folder)}"
    with one_thread():
        told = run(folder, "audit", model.name, "--suite", suite, "--workers", "1", "--no-wandb")
    lines = told.splitlines()
    assert f"audit {audit.name}: {audit.resolve()}" in lines
    assert f"decide with: assay approve {audit.name} --policy FILE {option}" in lines
    policy = {"name": "mine", "version": 1, "why": "a test", "minimum_samples": {"normals": 5, "anomalies": 5}}
    gate = {"name": "clean", "metric": "auroc", "attack": "clean", "at_least": 0.1, "why": "a test"}
    Path("mine.yaml").write_text(yaml.safe_dump({**policy, "gates": [gate]}))
    told = run(folder, "approve", audit.name, "--policy", "mine.yaml")
    assert f"report: {audit.resolve()}/report.html" in told.splitlines()
    (audit / "metrics.parquet").unlink()
    assert f"{audit.resolve()}/metrics.parquet" in run(folder, "verify", audit.name, code=3)


def test_sweep_and_trials(folder):
    shutil.copytree(OLD / "store", folder)
    toy_audit.pictures(Path("images"), 120, 60)
    option = f"--store {shlex.quote(folder)}"
    told = run(folder, "sweep", "--resume", "small").splitlines()
    assert f"best: trial 1; audit it with: assay audit small:best {option}" in told
    shutil.copy(OLD / "space.yaml", "space.yaml")
    assert f"sweep 'small' exists in {Path(folder).resolve()};" in run(folder, "sweep", "space.yaml", code=1)
    assert "7464b25771b0" in run(folder, "trials", "small")
    log = Path(folder) / "sweeps" / "small" / "log" / "0000.jsonl"
    log.write_bytes(b"{\n" + log.read_bytes())
    assert f"{log.resolve()} line 1 is damaged" in run(folder, "trials", "small", code=1)
