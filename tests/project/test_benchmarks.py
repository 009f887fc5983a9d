"""Benchmarks run by hand and take long: what they import must be there when somebody runs one."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_imports_of_the_project_is_there(file):
    missing = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in ("assay", "trainables"):
            module = importlib.import_module(str(node.module))
            for name in (one.name for one in node.names if not hasattr(module, one.name)):
                try:
                    importlib.import_module(f"{node.module}.{name}")
                except ModuleNotFoundError:
                    missing.append(f"{node.module}.{name}")
    assert missing == []
