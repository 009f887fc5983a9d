"""The scripts and the notebook in `examples/` run as they are, in an empty folder."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
ENVIRONMENT = {**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One working folder, as the third script reads what the others wrote."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def run(folder):
    """A function: the name of a script -> what it printed."""

    def run(name: str) -> str:
        done = subprocess.run(
            [sys.executable, EXAMPLES / name], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


def test_the_scripts_run_one_after_the_other(run, folder):
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == [
        "audit_your_own_module.py",
        "read_the_parquet.py",
        "sweep_and_audit.py",
    ]
    swept = run("sweep_and_audit.py")
    assert swept.count("euclidean") + swept.count("cosine") == 4, swept
    audited = run("audit_your_own_module.py")
    assert "worst" in audited
    assert (
        Path(audited.split("report: ")[1].strip()).is_absolute()
        or (folder / audited.split("report: ")[1].strip()).is_file()
    )
    assert "scores.png" in run("read_the_parquet.py")
    assert (folder / "scores.png").stat().st_size > 5000


def cells(name: str) -> list[str]:
    notebook = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "kept without outputs"
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_runs_and_its_results_show_themselves(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    names: dict = {}
    shown = []
    for source in cells("tour.ipynb"):
        *statements, last = ast.parse(source).body
        exec(compile(ast.Module(statements, []), "tour", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "tour", "eval"), names)
            shown.append(getattr(value, "_repr_html_", lambda value=value: repr(value))())
        else:
            exec(compile(ast.Module([last], []), "tour", "exec"), names)
    assert "2 faults" in capsys.readouterr().out
    sweep, table, audit, verdict, scores = shown
    assert "<svg" in sweep
    assert "<table" in table
    assert "<svg" in audit
    assert any(word in verdict for word in ("PASS", "FAIL", "INVALID", "INCONCLUSIVE"))
    assert scores.startswith("tensor(")
