"""Two people who act on one model, or on one name, in the same moment: one of them is refused in words."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from signed_store import add_sibling

from assay.api import approve, promote
from assay.approval import records
from assay.approval.trust import exclusive, register_chain
from assay.errors import StoreError
from assay.store.audit_reader import Audit
from assay.store.store import Store
from assay.tracking.sent import Published

GATE = {"name": "clean", "metric": "auroc", "attack": "clean", "at_least": 0.6, "why": "because"}
HARD = {"name": "falls", "metric": "auroc", "epsilon": "8/255", "at_least": 0.9, "why": "because"}
POLICY = {
    "name": "mine",
    "version": 1,
    "why": "x",
    "minimum_samples": {"normals": 5, "anomalies": 5},
    "gates": [GATE],
}

pytestmark = pytest.mark.usefixtures("plain_page")


@pytest.fixture
def decide(store: Store, keys) -> Callable[..., Any]:
    """A function: an audit -> decides on it and signs."""

    def decide(audit: str = "latest", gate: dict[str, Any] = GATE) -> Any:
        about = {"reviewer": "Ann Lee", "author": "Max Roe", "because": "measured again"}
        return approve.approve(audit, {**POLICY, "gates": [gate]}, key=keys[0], store=store, **about)

    return decide


def model_of(store: Store, audit: str) -> str:
    return str(Audit(store.below(f"audits/{audit}")).info["model"])


def test_while_one_decides_nobody_else_decides_or_promotes(store, decide, keys, monkeypatch):
    [audit] = store.names("audits")
    decide()
    before, model = register_chain.hashes(store), model_of(store, audit)
    refused = []
    digests = approve.judgement.decide

    def meanwhile(*told: Any, **more: Any) -> Any:
        for act in (decide, lambda: promote.promote(model, key=keys[1], store=store)):
            with pytest.raises(StoreError, match=rf"a decision on model {model[:12]}, or its promotion, is running in"):
                act()
            refused.append(act)
        return digests(*told, **more)

    monkeypatch.setattr(approve.judgement, "decide", meanwhile)
    decide()
    assert len(refused) == 2
    assert len(register_chain.hashes(store)) == len(before) + 1


def test_two_models_are_not_promoted_to_one_name_at_once(store, decide, keys):
    [audit] = store.names("audits")
    sibling = add_sibling(store)
    for one in (audit, sibling):
        decide(one)
    with (
        exclusive.service(store, "line 3/ä"),
        pytest.raises(StoreError, match=r"a promotion to line 3/ä is running in .*; wait until it ends, or stop it"),
    ):
        promote.promote(model_of(store, audit), service="line 3/ä", key=keys[1], store=store)
    assert promote.promote(model_of(store, audit), service="line 3/ä", key=keys[1], store=store).former is None
    second = promote.promote(model_of(store, sibling), service="line 3/ä", key=keys[1], store=store)
    assert second.former.model == model_of(store, audit)


class Behind(datetime.datetime):
    """A clock that is ten minutes slow."""

    @classmethod
    def now(cls, zone: datetime.tzinfo | None = None) -> datetime.datetime:
        return super().now(zone) - datetime.timedelta(minutes=10)


def test_a_slow_clock_changes_no_order(store, decide, keys, monkeypatch):
    """What one machine does after another is later, whatever their clocks say."""
    [audit] = store.names("audits")
    sibling = add_sibling(store)
    for one in (audit, sibling):
        decide(one)
    models = [model_of(store, one) for one in (audit, sibling)]
    promote.promote(models[0], service="line-3", key=keys[1], store=store)
    slow = SimpleNamespace(**{**vars(datetime), "datetime": Behind})
    monkeypatch.setattr(records, "datetime", slow)
    assert promote.promote(models[1], service="line-3", key=keys[1], store=store).former.model == models[0]
    promoted = records.promotions(store)
    assert [one.model for one in promoted] == models, "the one that was promoted last serves"
    decide(audit, HARD)
    last = records.decisions(store)[-1]
    assert (last.audit, last.verdict) == (audit, "FAIL")
    assert last.decided >= promoted[-1].time
    assert records.gaps(store) == []


def test_a_name_that_no_clock_has_given_stops_nobody(store):
    for name in ("99991231T235959.999999Z-decided-x.json", "zzz.json"):
        store.write(f"{records.FOLDER}/{name}", json.dumps({}).encode())
        assert abs(records.now(store) - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)


def test_what_another_process_has_published_meanwhile_stays_noted(store):
    class Project:
        server, path = "https://wandb.example.org", "team/project"

    first, second = (Published(store, "sweeps/toy", Project()) for _ in range(2))  # neither has seen the other's
    for published, run in ((first, "a"), (second, "b")):
        with published.locked():
            published.note({run: "x"})
    assert Published(store, "sweeps/toy", Project()).sent == {"a": "x", "b": "x"}
