"""Every trainable of the shelf can be exported as ONNX, and its file is the detector."""

from __future__ import annotations

import pytest
import toy_export

import assay
from assay import shelves
from assay.store.store import Store

NAMES = sorted(set(shelves.names("trainables")) - toy_export.ELSEWHERE)
CASES = [
    *((name, {}) for name in NAMES),
    ("patchcore", {"reweight": 3}),  # distances within the bank
    ("cobra", {"score": {"form": "as_released", "k": 1, "views": 3, "pixels": 1.0}}),  # views, which draw numbers
]


@pytest.mark.parametrize(
    ("name", "parameters"), CASES, ids=lambda value: value if isinstance(value, str) else "-".join(value)
)
def test_the_file_gives_the_scores_and_decisions_of_the_detector(name, parameters, item, tmp_path):
    store = Store(tmp_path / "store")
    model = toy_export.write_model(store, item, name, **parameters)
    made = assay.export(model, "onnx", output=tmp_path, store=store)
    assert made.file == tmp_path / f"{model[:12]}.onnx"
    assert made.parity.equal
    assert made.parity.images == 12
    assert made.parity.sizes > 5
