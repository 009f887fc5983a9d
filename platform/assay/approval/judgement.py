"""An audit held against a policy: its figures and checks are judged, and the verdict written as verdict.json."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from assay.approval import decision, records, review
from assay.approval.gate_metrics import at_any_confidence
from assay.approval.policy import Policy, limits
from assay.approval.records import DecisionRecord
from assay.approval.trust import register_chain
from assay.approval.trust.memory import Memory
from assay.approval.verdict import EarlierDecision, History, Verdict, verdict_of
from assay.errors import DataError, InputError
from assay.hashing import digest
from assay.models import trained_on
from assay.store import parquet, references, schemas
from assay.store.audit_reader import Audit
from assay.store.store import Store


def decide(
    store: Store, audit: str, policy: Policy, today: datetime.date | None = None, *, because: str = ""
) -> Verdict:
    """Judge an audit of the store, write its verdict.json and return what it says; see `judge`.

    because: why an earlier FAIL or INCONCLUSIVE on the same model no longer stands; a PASS that approves is refused
    without it, with an InputError, before anything is written.
    """
    judging = Audit(references.folder(store, audit))
    moment = records.now(store)
    verdict = judge(judging, policy, today or moment.date())
    past = history(store, judging, because)
    standing = [one for one in past.decisions if one.verdict in ("FAIL", "INCONCLUSIVE") and not one.answered]
    if verdict.passed and policy.approves and standing:
        last = standing[-1]
        raise InputError(
            f"the model was decided {last.verdict} by policy {last.policy} on {last.date} (audit {last.audit}), and a "
            f"later {verdict.verdict} must say why that no longer stands: add --because REASON; nothing was written"
        )
    if verdict.passed and policy.approves and not because and (damaged := records.damaged(store, verdict.model)):
        raise InputError(
            f"register/{damaged[0]}, an earlier decision on the model, is damaged and may be a FAIL; restore it from a "
            "copy, or add --because REASON; nothing was written"
        )
    verdict = dataclasses.replace(verdict, history=past, created=moment.isoformat(timespec="seconds"))
    store.write(f"audits/{audit}/verdict.json", json.dumps(verdict.to_json(), indent=2).encode())
    return verdict


def history(store: Store, audit: Audit, because: str = "") -> History:
    """The verdicts on the model before this one, all its audits, how many models met these images, the register's end.

    An audit that cannot be read counts as one of another model on these images: too many is the safe side. Raises what
    is wrong with one of this model.
    """
    model, dataset = audit.info["model"], audit.info["dataset"].get("hash")
    there, damaged = references.readable(store)
    for name, error in damaged.items():
        if references.of_model(name, model):
            raise error
    infos = [one.info for one in there]
    models = {model, *(info["model"] for info in infos if info["dataset"].get("hash") == dataset)}
    unread = {name.partition("-")[0] for name in damaged} - {one[:12] for one in models}
    audits = [
        f"{info['audit']} (screen)" if info.get("limit") else info["audit"] for info in infos if info["model"] == model
    ]
    decisions = [
        _earlier(one, str(one.date), because, one.because) for one in _with_answers(records.decisions(store), model)
    ]
    decisions += _unrecorded(store, [one for one in there if one.info["model"] == model], because)
    return History(
        decisions=tuple(decisions),
        audits=tuple(audits),
        models=len(models) + len(unread),
        register=register_chain.ends(store),
    )


def _unrecorded(store: Store, audits: Sequence[Audit], because: str) -> Iterator[EarlierDecision]:
    """The verdicts that lie in the folders of audits and whose records are gone: they stand all the same."""
    memory = Memory.of(store)
    for audit in audits:
        try:
            verdict = verdict_of(audit)
            if verdict is None or review.read(audit.folder) is None or memory.records(audit):
                continue
        except DataError:
            continue  # it cannot be read; what it said is in its record
        yield _earlier(verdict, verdict.created[:10], because)


def _earlier(one: DecisionRecord | Verdict, date: str, because: str, answered: str = "") -> EarlierDecision:
    """A verdict as a later one tells of it.

    because: why it no longer stands, if it speaks against the model and was not `answered` before.
    """
    return EarlierDecision(
        audit=one.audit,
        verdict=one.verdict,
        policy=f"{one.policy.name} {one.policy.version}",
        date=date,
        answered=answered or (because if one.verdict in ("FAIL", "INCONCLUSIVE") else ""),
        limits=one.limits if isinstance(one, DecisionRecord) else limits(one.policy.name, one.policy.values),
    )


def _with_answers(decisions: Sequence[DecisionRecord], model: str) -> list[DecisionRecord]:
    """The decisions on a model; those that a later one answered carry its reason."""
    answered: list[DecisionRecord] = []
    for one in decisions:
        if one.model == model:
            if one.because:
                answered = [dataclasses.replace(old, because=old.because or one.because) for old in answered]
            answered.append(dataclasses.replace(one, because=""))
    return answered


def judge(audit: Audit, policy: Policy, today: datetime.date | None = None) -> Verdict:
    """The verdict on an audit under a policy; writes nothing.

    today: decides which waivers still count; by default the current date (UTC). Raises InputError for an audit by a
    suite that the policy does not judge, DataError where figures or checks cannot be relied on to be the audit's own.
    """
    now = datetime.datetime.now(datetime.UTC)
    name, model = audit.info["audit"], audit.info["model"]
    policy.refuse(audit.info["suite"]["name"], name, f"run assay audit {model[:12]}")
    figures = at_any_confidence(audit, _table(audit.folder, "metrics"), policy.gates, policy.prevalence)
    screen = bool(audit.info.get("limit"))
    verdict = decision.decide(
        policy,
        figures,
        _table(audit.folder, "checks"),
        today or now.date(),
        screen=screen,
        no_categories=audit.why_no_categories,
    )
    return dataclasses.replace(
        verdict,
        reasons=(*verdict.reasons, *_remarks(audit.info)),
        audit=name,
        model=model,
        judged=judged(audit.folder),
        created=now.isoformat(timespec="seconds"),
    )


def judged(folder: Store) -> dict[str, str]:
    """SHA-256 of the rows of each table that a verdict is based on, whatever their order."""
    return {name: _content(_table(folder, name)) for name in ("metrics", "checks")}


def doubts(info: Mapping[str, Any]) -> list[str]:
    """Sentences about a threshold whose false-alarm rate is not to be believed; info: of audit.yaml."""
    named = [finding["text"] for finding in info.get("findings", []) if finding.get("name") == trained_on.IN_DOUBT]
    return [f"{text[0].upper()}{text[1:]}." for text in map(str, named) if text]


def _remarks(info: Mapping[str, Any]) -> Iterator[str]:
    """What the figures that decide do not say: what is in doubt, and what the audit left out of its suite."""
    yield from doubts(info)
    if limit := info.get("limit"):
        yield f"The audit is a screen: at most {limit} samples of each class were attacked (--limit)."
    for one in info.get("left_out", []):
        yield f"The audit is without {one['attack']} of its suite: {one['why']}."


def _table(folder: Store, name: str) -> pa.Table:
    return parquet.load(folder, f"{name}.parquet", getattr(schemas, name.upper()))


def _content(table: pa.Table) -> str:
    rows = [
        {name: value for name, value in row.items() if value is not None or name not in schemas.NEWER}
        for row in table.to_pylist()
    ]
    return digest("\n".join(sorted(json.dumps(row, sort_keys=True) for row in rows)).encode())
