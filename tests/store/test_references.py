"""What a person types for a model: a sweep's best, one of its trials, a hash; and what is answered to a wrong name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from assay.api.arguments import one_model
from assay.errors import InputError, UnknownName
from assay.store import references
from assay.store.store import Store

KEPT, GONE = "a1" * 32, "b2" * 32


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    """A sweep of three trials, of which one has a model in the store."""
    found = Store(tmp_path / "store")
    found.write("sweeps/toy/spec.yaml", b"")
    found.write(f"models/{KEPT}/manifest.json", b"{}")
    records = {
        0: SimpleNamespace(reports=[{"model": GONE}, {"model": KEPT}], state="complete"),
        1: SimpleNamespace(reports=[{"model": GONE}], state="pruned"),
        2: SimpleNamespace(reports=[], state="failed"),
    }
    monkeypatch.setattr(references.trials_table, "load", lambda *_: (None, records))
    return found


def test_a_trial_is_named_by_its_number(store):
    assert references.models(store, "toy:0") == [KEPT]
    assert one_model(store, "toy:0", "score") == KEPT


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("toy:1", "trial 1 of sweep 'toy' is pruned and has no model in the store"),
        ("toy:2", "trial 2 of sweep 'toy' is failed and has no model in the store"),
        ("toy:7", "sweep 'toy' has no trial 7; `assay trials toy` lists them"),
        ("toy:x", "after the colon write best, pareto or the number of a trial, such as toy:best"),
        ("toy", "'toy' is a sweep; name one of its models: toy:best, or toy:NUMBER of a trial"),
    ],
)
def test_what_names_no_model_is_told(store, text, why):
    with pytest.raises(InputError) as caught:
        references.models(store, text)
    assert why in str(caught.value)


def test_an_unknown_model_is_answered_by_hashes_as_people_type_them(store):
    with pytest.raises(UnknownName, match=f"available: {KEPT[:12]}$"):
        references.models(store, "line-9")


def test_an_unknown_audit_is_named_where_there_is_none(store):
    with pytest.raises(InputError, match=r"audit 'latst' is not known: the store .* holds no audit"):
        references.audit(store, "latst")


def test_a_file_that_is_not_there_is_no_file_of_another_kind(store):
    with pytest.raises(InputError, match=r"^there is no file gone\.onnx$"):
        one_model(store, "gone.onnx", "score")
