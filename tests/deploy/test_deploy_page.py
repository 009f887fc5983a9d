"""The commands and programs of docs/deploy.md, run in their order on a small model in service."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import toy_export
from click.testing import CliRunner

import assay
from assay.approval import records
from assay.cli import main
from assay.store.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
COMMANDS = [command for command in re.findall(r"^assay (.*)", PAGE, re.MULTILINE) if not command.startswith("promote")]


def program(name: str) -> str:
    """The block of Python that has this text in it."""
    [block] = [one for one in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if name in one]
    return block


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, own_cache: None) -> Path:
    """A folder with images of today, a store and a model in service as line-9."""
    folder = tmp_path_factory.mktemp("line")
    store = Store(folder / "assay-store")
    item = toy_export.pictures(folder / "today")
    model = toy_export.write_model(store, item, "patchcore")
    records.promoted(store, model=model, name="line-9", audit="a-1", dataset=None, by="Ann Lee", key=None)
    return folder


@pytest.fixture(scope="module")
def exported(place: Path) -> Path:
    """The same folder after every command of the page."""
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is an extra")
    pytest.importorskip("openvino", reason="OpenVINO is an extra")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        for command in COMMANDS:
            done = CliRunner().invoke(main, command.split())
            assert done.exit_code == 0, f"{command}: {done.output}"
    return place


def test_every_command_of_the_page_runs_in_its_order(exported: Path) -> None:
    assert len(COMMANDS) == 7
    there = {path.name for path in exported.iterdir()}
    assert {"today.csv", "maps", "line-9.onnx", "line-9.pt2", "line-9.xml", "line-9.bin", "line-9.yaml"} <= there


def test_the_server_answers_with_score_and_decision(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="FastAPI is no part of Assay")
    from fastapi.testclient import TestClient

    monkeypatch.chdir(place)
    names: dict[str, object] = {"__name__": "serve"}
    exec(compile(program("# serve.py"), "serve.py", "exec", dont_inherit=True), names)
    client = TestClient(names["app"])
    picture = min((place / "today").rglob("*.png"))
    [expected] = assay.load("line-9").score(picture).scored
    answer = client.post("/score", content=picture.read_bytes())
    assert answer.json() == {
        "score": expected.score, "anomalous": expected.anomalous, "p_value": expected.p_value
    }  # fmt: skip
    assert client.post("/score", content=b"no image").status_code == 422


def test_the_device_scores_as_the_detector_does(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(exported)
    names: dict[str, object] = {}
    exec(compile(program("# device.py"), "device.py", "exec", dont_inherit=True), names)
    pictures = sorted((exported / "today").rglob("*.png"))[:5]
    for one in assay.load("line-9").score(pictures).scored:
        score, anomalous = names["score"](one.path)
        assert score == pytest.approx(one.score, rel=1e-4)
        assert anomalous == one.anomalous


def test_the_loop_of_the_page_names_every_image(place: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(place)
    exec(compile(program("for one in"), "page", "exec", dont_inherit=True), {})
    assert len(capsys.readouterr().out.splitlines()) == len(list((place / "today").rglob("*.png")))
