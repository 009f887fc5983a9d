"""A small suite, and the model that the audit of the ready-made store is of."""

from __future__ import annotations

import pytest

from assay.audits import suite


@pytest.fixture
def tiny(pristine_store):
    return suite.read(str(pristine_store.parent / "tiny.yaml"))


@pytest.fixture
def name(store):
    return store.names("models")[0]
