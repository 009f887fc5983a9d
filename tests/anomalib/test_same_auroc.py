"""A model that the trainable trains has the AUROC of anomalib's own engine on the same images.

What draws more than features, and so differs by chance, is compared over seeds in `benchmarks/anomalib_auroc.py`.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import toy_anomalib_auroc


def test_padim_equals_its_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logging.disable(logging.WARNING)
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    data, test = toy_anomalib_auroc.data_of(toy_anomalib_auroc.photographs(tmp_path / "images"))
    same = ({"Padim": {"n_features": 40}}, data, test, toy_anomalib_auroc.weights_in(tmp_path / "weights.pth"))
    found = toy_anomalib_auroc.ours(*same, seed=3, epochs=1)
    assert found == pytest.approx(toy_anomalib_auroc.theirs(*same, seed=3, epochs=1, place=tmp_path), abs=1e-5)
    assert 0.55 < found < 0.95, "images on which a difference would show"
