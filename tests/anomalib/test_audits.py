"""Seven models of anomalib, as checkpoint, ONNX and OpenVINO file as anomalib writes them, audited to the end."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import toy_anomalib

import assay

FORMATS = {"checkpoint": ".ckpt", "onnx": ".onnx", "openvino": ".xml"}
CARD = {
    "checkpoint": {"threshold": "model"},
    "onnx": {"threshold": 0.5, "output": "pred_score"},
    "openvino": {"threshold": 0.5, "output": "pred_score"},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logging.disable(logging.WARNING)
    return toy_anomalib.write_images(tmp_path_factory.mktemp("anomalib") / "images")


@pytest.fixture(scope="module", params=toy_anomalib.MODELS)
def files(request: pytest.FixtureRequest, images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Format -> the file of one model."""
    folder = tmp_path_factory.mktemp(request.param)
    model, engine, checkpoint = toy_anomalib.trained(request.param, images, folder)
    made = {"checkpoint": checkpoint}
    for kind in ("onnx", "openvino"):
        made[kind] = Path(engine.export(model, export_type=kind, export_root=folder / kind))
    return made


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_as_anomalib_writes_it_is_audited_to_the_end(
    files: dict[str, Path], images: Path, tmp_path: Path, kind: str
) -> None:
    assert files[kind].suffix == FORMATS[kind]
    card = toy_anomalib.write_card(files[kind], images, **CARD[kind])
    audit = assay.audit(card, suite="quick", limit=6, store=tmp_path)
    knowledge = {entry["knowledge"] for entry in audit.reader.attacks()}
    assert ("white-box" in knowledge) == (kind == "checkpoint")
    assert audit.reader.figures
