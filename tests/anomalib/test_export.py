"""A model that the trainable `anomalib` trained is exported in every format, and its file is the detector."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import toy_anomalib
import toy_export

import assay
from assay.store.store import Store


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, own_cache: None) -> tuple[Store, str]:
    """A store and the hash of a Padim in it."""
    logging.disable(logging.WARNING)
    folder = tmp_path_factory.mktemp("anomalib")
    item = toy_export.pictures(folder / "images")
    store, model = Store(folder / "store"), {"padim": {"n_features": 20}}
    given: dict[str, Any] = {"model": model, "weights": "random", "batch_size": toy_anomalib.BATCH, "input_size": 64}
    return store, toy_export.write_model(store, item, "anomalib", **given)


@pytest.mark.parametrize("form", ["onnx", "pt2", "openvino"])
def test_the_file_gives_the_scores_and_decisions_of_the_detector(
    trained: tuple[Store, str], form: str, tmp_path: Path
) -> None:
    store, model = trained
    made = assay.export(model, form, output=tmp_path, store=store)
    assert made.parity.equal
    assert made.parity.images == 12
    assert made.parity.sizes > 5
