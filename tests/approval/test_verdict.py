"""Verdicts and the records of the register as files: old ones are read, damaged ones are refused."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from assay.approval import records
from assay.approval.review import Review
from assay.approval.verdict import Verdict
from assay.errors import DataError
from assay.store.audit_reader import Audit
from assay.store.store import Store

STORES = Path(__file__).parents[1] / "stores"
WRITTEN = sorted(STORES.glob("*/store/audits/*/verdict.json"))


def content(**changed: Any) -> dict[str, Any]:
    """A verdict.json of the first versions, which had fewer keys."""
    gate = {"name": "g", "text": "t", "value": 0.7, "lower": 0.6, "upper": 0.8, "limit": 0.5, "why": "w"}
    return {
        "verdict": "PASS", "policy": {"name": "p", "version": 3, "hash": "h"},
        "gates": [gate | {"decision": "PASS"}], "checks": {"passed": ["a"], "failed": [], "missing": []},
        "reasons": [], "audit": "a-1", "model": "m", "created": "2026-02-03T09:30:00+00:00",
    } | changed  # fmt: skip


@pytest.mark.parametrize("file", WRITTEN, ids=lambda file: file.parts[-5])
def test_a_verdict_that_a_released_format_wrote_is_read_and_written_the_same(file: Path):
    kept = json.loads(file.read_text())
    again = Verdict.from_json(kept).to_json()
    again["format"] = kept.setdefault("format", 1)  # which the first verdicts did not state
    again, kept = ({"format": one.pop("format"), **one} for one in (again, kept))
    assert json.dumps(again, indent=2) == json.dumps(kept, indent=2)


def test_there_is_a_written_verdict():
    assert WRITTEN


def test_a_verdict_with_fewer_keys_is_read():
    verdict = Verdict.from_json(content())
    assert (verdict.policy.version, verdict.policy.approves, verdict.waivers) == (3, True, ())
    assert verdict.gates[0].confidence is None
    assert verdict.checks.waived == ()
    assert Verdict.from_json(verdict.to_json()) == verdict


@pytest.mark.parametrize(
    ("changed", "place"),
    [({"verdict": "MAYBE"}, "verdict"), ({"gates": [{"name": "g"}]}, r"gates\.0\.\w+"), ({"policy": None}, "policy")],
)
def test_a_damaged_verdict_is_refused_with_the_place(changed: dict[str, Any], place: str):
    with pytest.raises(DataError, match=rf"verdict\.json is damaged \({place}: .*`assay approve` writes a new one"):
        Verdict.from_json(content(**changed))


def test_there_is_no_verdict_until_somebody_decides(audit_folder: Path, verdict_of: Any):
    from assay.approval import verdict

    assert verdict.verdict_of(Audit(audit_folder)) is None
    (audit_folder / "verdict.json").write_text(json.dumps(verdict_of("FAIL")))
    decided = verdict.verdict_of(Audit(audit_folder))
    assert decided is not None
    assert (decided.verdict, [gate.decision for gate in decided.gates]) == ("FAIL", ["PASS", "FAIL"])


def test_the_register_gives_back_what_was_recorded(tmp_path: Path):
    store, day = Store(tmp_path), datetime.date(2026, 6, 15)
    review = Review(reviewer="Jane Doe", role="approver", author="Max Roe", date=day, expires=None, key="k")
    verdict = Verdict.from_json(content())
    store.write(f"audits/{verdict.audit}/verdict.json", json.dumps(verdict.to_json()).encode())
    records.decided(store, verdict, review)
    records.promoted(store, model="m", name="line-3", audit="a-1", dataset="d", by="Ann Lee", key=None)
    [decision], [promotion] = records.decisions(store), records.promotions(store)
    assert (decision.verdict, decision.policy.name, decision.reviewer, decision.date) == ("PASS", "p", "Jane Doe", day)
    assert (promotion.name, promotion.by, promotion.key, promotion.time[:2]) == ("line-3", "Ann Lee", None, "20")


def test_a_damaged_record_is_named(tmp_path: Path):
    store = Store(tmp_path)
    records.promoted(store, model="m", name="line-3", audit="a-1", dataset="d", by="-", key=None)
    [file] = (tmp_path / "register").iterdir()
    file.write_text(json.dumps({**json.loads(file.read_text()), "name": None}))
    assert records.promotions(store) == []
    assert records.gaps(store) == [records.Gap(file.name, "damaged")]
