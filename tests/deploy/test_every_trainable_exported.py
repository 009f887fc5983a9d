"""Every trainable of the shelf can be exported in every format, and each file is the detector.

Exporters take seconds each, so the graph and the ONNX file of a model are made once, and other formats made of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import toy_export

import assay
from assay import shelves
from assay.deploy import program
from assay.deploy.export import FORMATS
from assay.deploy.formats import onnx
from assay.store.store import Store

NAMES = sorted(set(shelves.names("trainables")) - toy_export.ELSEWHERE)
CASES = [
    *((name, {}) for name in NAMES),
    ("patchcore", {"reweight": 3}),  # distances within the bank
    ("cobra", {"score": {"form": "as_released", "k": 1, "views": 3, "pixels": 1.0}}),  # views, which draw numbers
]


@pytest.fixture
def made_once(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the exporters made in this test, of its only model."""
    made: dict[str, object] = {}
    graph, write = program.graph, onnx.write

    def graph_once(*given: object) -> object:
        if "graph" not in made:
            made["graph"] = graph(*given)
        return made["graph"]

    def write_once(graph: object, path: Path, *given: object) -> None:
        if "onnx" not in made:
            write(graph, path, *given)
            made["onnx"] = path.read_bytes()
        path.write_bytes(made["onnx"])

    monkeypatch.setattr(program, "graph", graph_once)
    monkeypatch.setattr(onnx, "write", write_once)
    return made


@pytest.mark.parametrize(
    ("name", "parameters"), CASES, ids=lambda value: value if isinstance(value, str) else "-".join(value)
)
def test_the_files_give_the_scores_and_decisions_of_the_detector(name, parameters, item, tmp_path, made_once):
    store = Store(tmp_path / "store")
    model = toy_export.write_model(store, item, name, **parameters)
    for kind, format in FORMATS.items():
        folder = tmp_path / kind
        folder.mkdir()
        made = assay.export(model, kind, output=folder, store=store)
        assert made.file == folder / f"{model[:12]}{format.SUFFIX}"
        assert all(made.file.with_suffix(side).is_file() for side in format.SIDES)
        assert made.parity.equal
        assert made.parity.images == 12
        assert made.parity.sizes > 5
    assert set(made_once) == {"graph", "onnx"}
