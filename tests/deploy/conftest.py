"""The dataset that models of every trainable are trained on, to be exported."""

from __future__ import annotations

import pytest
import toy_export


@pytest.fixture(scope="module")
def item(tmp_path_factory, own_cache):
    return toy_export.pictures(tmp_path_factory.mktemp("images") / "toy")
