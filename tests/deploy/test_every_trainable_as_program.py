"""Every trainable of the shelf can be exported as an exported program, and its file is the detector."""

from __future__ import annotations

import pytest
import toy_export

import assay
from assay import shelves
from assay.store.store import Store

NAMES = sorted(set(shelves.names("trainables")) - toy_export.ELSEWHERE)


@pytest.mark.parametrize("name", NAMES)
def test_the_file_gives_the_scores_and_decisions_of_the_detector(name, item, tmp_path):
    store = Store(tmp_path / "store")
    model = toy_export.write_model(store, item, name)
    made = assay.export(model, "pt2", output=tmp_path, store=store)
    assert made.file == tmp_path / f"{model[:12]}.pt2"
    assert made.parity.equal
    assert made.parity.images == 12
    assert made.parity.sizes > 5
