"""Promotion against somebody who can write to the store: two readings, older states, foreign keys, edited words."""

from __future__ import annotations

import datetime
import json
import shutil

import pytest
import yaml
from signed_store import add_sibling, write_keys

from assay.approval import policy, records, registry, signature
from assay.approval.trust import people, register_chain
from assay.errors import AssayError, SpecError, UnknownName
from assay.hashing import canonical, digest
from assay.store import references
from assay.store.audit_reader import Audit

GATE = {"name": "clean", "metric": "auroc", "attack": "clean", "at_least": 0.6, "why": "because"}
HARD = {"name": "falls", "metric": "auroc", "epsilon": "8/255", "at_least": 0.9, "why": "because"}
PEOPLE = ("--reviewer", "Jane Doe", "--author", "Max Roe")
TODAY = datetime.datetime.now(datetime.UTC).date()

pytestmark = pytest.mark.usefixtures("plain_page")


@pytest.fixture
def audit(store):
    return store.names("audits")[0]


@pytest.fixture
def model(store, audit):
    return str(Audit(store.path(f"audits/{audit}")).info["model"])


@pytest.fixture
def decide(run, audit, tmp_path):
    """A function: gate, more words, exit code; decides by a policy of that one gate."""

    def decide(gate=GATE, *more, code=0, of=audit, **values):
        samples = {"normals": 5, "anomalies": 5}
        plain = {"name": "mine", "version": 1, "why": "a test", "minimum_samples": samples, "gates": [gate]}
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump({**plain, **values}))
        return run("approve", of, "--policy", tmp_path / "policy.yaml", *more, code=code)

    return decide


@pytest.fixture
def sign(decide, keys):
    """A function as `decide`, which signs."""
    return lambda gate=GATE, *more, **values: decide(gate, "--key", keys[0], *(more or PEOPLE), **values)


def between(monkeypatch, before=lambda: None, after=lambda: None):
    """Do something to a store before its files are hashed, and something else afterwards."""
    hashes = signature.digests

    def digests(folder):
        before()
        found = hashes(folder)
        after()
        return found

    monkeypatch.setattr(signature, "digests", digests)


def test_a_verdict_that_is_put_back_before_it_is_hashed(sign, run, store, audit, model, keys, monkeypatch):
    sign(HARD, code=3)
    path = store.path(f"audits/{audit}/verdict.json")
    signed = path.read_text()
    path.write_text(signed.replace('"verdict": "FAIL"', '"verdict": "PASS"'))
    assert registry.standings(store, TODAY)[0].verdict.startswith("PASS"), "what a first reading sees"
    between(monkeypatch, before=lambda: path.write_text(signed))
    assert "says FAIL" in run("promote", model, "--key", keys[1], code=3)
    assert records.promotions(store) == []


@pytest.mark.parametrize("words", [("promote",), ("verify",)])
def test_a_verdict_that_is_changed_after_it_was_hashed(sign, run, store, audit, model, keys, monkeypatch, words):
    sign()
    path = store.path(f"audits/{audit}/verdict.json")
    changed = path.read_text().replace('"PASS"', '"FAIL"')
    between(monkeypatch, after=lambda: path.write_text(changed))
    told = run(*words, model if words == ("promote",) else audit, "--key", keys[1], code=3)
    assert "verdict.json was changed while it was being verified" in told
    assert records.promotions(store) == []


def entries(store) -> list[str]:
    return store.names("register")


def test_an_older_signed_state_that_is_put_back(sign, run, store, audit, model, keys, tmp_path):
    sign()
    old = shutil.copytree(store.path(f"audits/{audit}"), tmp_path / "old")
    sign(HARD, code=3)
    shutil.rmtree(store.path(f"audits/{audit}"))
    shutil.copytree(old, store.path(f"audits/{audit}"))
    later = "the register holds a later decision: FAIL by policy mine 1"
    assert later in run("verify", audit, "--key", keys[1], code=3)
    assert later in run("promote", model, "--key", keys[1], code=3)
    [standing] = json.loads(run("models", "--json"))["models"]
    assert standing["state"] == "doubtful"
    assert later in run("models")
    sign(GATE, *PEOPLE, "--because", "the limit was set again")
    run("promote", model, "--key", keys[1])


def test_a_later_decision_whose_audit_is_gone(sign, run, store, audit, model, keys):
    sign()
    twin = audit[:-8] + "00000000"
    shutil.copytree(store.path(f"audits/{audit}"), store.path(f"audits/{twin}"))
    about = store.path(f"audits/{twin}/audit.yaml")
    about.write_text(about.read_text().replace(audit, twin))
    store.remove(f"audits/{twin}/verdict.json")
    sign(HARD, code=3, of=twin)
    shutil.rmtree(store.path(f"audits/{twin}"))
    assert f"(audit {twin}, which is gone)" in run("promote", model, "--key", keys[1], code=3)


def test_a_decision_that_the_register_does_not_hold(sign, run, store, model, keys):
    sign()
    shutil.rmtree(store.path("register"))
    assert "the register holds no such decision" in run("promote", model, "--key", keys[1], code=3)


def forget(store, audit):
    """What somebody without a key can do who writes to the store: no signature and no register any more."""
    for folder in (*store.path("audits").iterdir(), *store.path("models").iterdir()):
        for signed in folder.glob("*.sig"):
            signed.unlink()
    shutil.rmtree(store.path("register"))


def edit(store, audit, **changes):
    path = store.path(f"audits/{audit}/verdict.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_without_a_key_nothing_is_promoted_unasked(decide, run, model, keys):
    decide()
    assert "nobody has signed its PASS" in run("promote", model, code=3)
    assert "not both" in run("promote", model, "--unsigned", "--key", keys[1], code=2)
    run("promote", model, "--unsigned")


def test_a_signed_store_that_was_made_an_unsigned_one(sign, run, store, audit, model):
    sign(HARD, code=3)
    assert "says FAIL" in run("promote", model, "--unsigned", code=3)
    forget(store, audit)
    edit(store, audit, verdict="PASS")
    assert "verdict.json holds other verdict than its policy gives" in run("verify", audit, code=3)
    assert "nobody has signed its PASS" in run("promote", model, code=3)
    assert "verdict.json holds other verdict" in run("promote", model, "--unsigned", code=3)


@pytest.mark.parametrize("what", ["gates", "reasons", "policy", "checks", "values"])
def test_every_word_of_an_unsigned_verdict_is_bound_to_its_policy(decide, run, store, audit, what):
    decide()
    forget(store, audit)
    assert "says: PASS" in run("verify", audit)
    found = store.read_json(f"audits/{audit}/verdict.json")
    changed = {
        "gates": [{**found["gates"][0], "text": "robust AUROC at least 0.99"}],
        "reasons": ["All 7 gates hold."],
        "policy": {**found["policy"], "name": "default"},
        "checks": {**found["checks"], "passed": [*found["checks"]["passed"], "gradients_checked_by_hand"]},
        "values": {**found["policy"], "values": {**found["policy"]["values"], "name": "default"}},
    }
    edit(store, audit, **{"policy" if what == "values" else what: changed[what]})
    word = "policy" if what == "values" else what
    assert f"verdict.json holds other {word} than its policy gives" in run("verify", audit, code=3)


def test_a_policy_that_goes_by_a_shipped_name(decide, run, store, audit):
    decide()
    forget(store, audit)
    shipped = policy.read("default")
    found = store.read_json(f"audits/{audit}/verdict.json")
    values = {**found["policy"]["values"], "name": "default", "version": shipped.version}
    about = {"name": "default", "version": shipped.version, "hash": policy.Policy.model_validate(values).hash}
    edit(store, audit, policy={**found["policy"], **about, "values": values})
    assert "is not the one of that name" in run("verify", audit, code=3)


def test_an_old_verdict_without_its_policy_is_verified_and_not_promoted_unsigned(decide, run, store, audit, model):
    decide()
    found = store.read_json(f"audits/{audit}/verdict.json")["policy"]
    del found["values"]
    edit(store, audit, policy=found)
    for name in entries(store):  # as an older version wrote it
        record = store.read_json(f"register/{name}")
        store.write(f"register/{name}", json.dumps({**record, "verdict_sha256": "", "decided": ""}).encode())
    run("verify", audit)
    assert "its verdict does not hold its policy" in run("promote", model, "--unsigned", code=3)


def test_a_verdict_is_bound_to_its_record(decide, run, store, audit, model):
    decide()
    path = store.path(f"audits/{audit}/verdict.json")
    path.write_text(path.read_text().replace('"a test"', '"another"'))
    assert "verdict.json is not as it was recorded" in run("verify", audit, code=3)
    assert "verdict.json is not as it was recorded" in run("models")


@pytest.mark.parametrize("what", ["missing", "changed"])
def test_a_record_that_was_taken_away_or_changed(sign, decide, run, store, audit, model, keys, tmp_path, what):
    sign()
    old = shutil.copytree(store.path(f"audits/{audit}"), tmp_path / "old")
    sign(HARD, code=3)
    fail = entries(store)[-1]
    decide(of=add_sibling(store))
    shutil.rmtree(store.path(f"audits/{audit}"))
    shutil.copytree(old, store.path(f"audits/{audit}"))
    record = store.path(f"register/{fail}")
    if what == "missing":
        record.unlink()
    else:
        about = json.loads(store.read(f"register/{entries(store)[0]}"))
        record.write_text(json.dumps({**about, "time": "2099-01-01T00:00:00+00:00"}))
    assert f"register/{fail}, a later decision on this model, is {what}" in run(
        "verify", audit, "--key", keys[1], code=3
    )
    assert f"is {what}" in run("promote", model, "--key", keys[1], code=3)
    assert f"mind: register/{fail} is {what}" in run("models")


def test_each_record_holds_the_hash_of_the_one_before(decide, run, store, model):
    for _ in range(3):
        decide()
    first, second, third = entries(store)
    assert store.read_json(f"register/{first}")["before"] == {}
    assert store.read_json(f"register/{second}")["before"] == {first: digest(store.read(f"register/{first}"))}
    assert store.read_json(f"register/{third}")["before"] == {second: digest(store.read(f"register/{second}"))}
    assert records.gaps(store) == []


@pytest.fixture
def known(tmp_path, keys):
    """A function: person, roles -> the path of a keys file in which the signer's key is that person's."""

    def known(person="Jane Doe", roles=("approver",), of=keys):
        holder = {"fingerprint": signature.public_key(of[1]).fingerprint, "person": person, "roles": list(roles)}
        (tmp_path / "keys.yaml").write_text(yaml.safe_dump({"keys": [holder]}))
        return tmp_path / "keys.yaml"

    return known


@pytest.mark.parametrize(
    ("person", "roles", "said"),
    [
        ("Max Roe", ["approver"], "the reviewer is called Jane Doe, and the key"),
        ("Jane Doe", ["tester"], "Jane Doe may sign as tester, not as approver"),
    ],
)
def test_a_name_that_is_not_the_key_owners(sign, run, store, audit, model, keys, known, person, roles, said):
    sign()
    file = known(person, roles)
    assert said in run("verify", audit, "--key", keys[1], "--keys", file, code=3)
    assert said in run("promote", model, "--key", keys[1], "--keys", file, code=3)
    assert said in run("verify", audit, "--key", keys[1], code=3, env={"ASSAY_KEYS": str(file)})
    file = known()
    run("verify", audit, "--key", keys[1], "--keys", file)
    run("promote", model, "--key", keys[1], "--keys", file)


def test_a_keys_file_where_it_is_usual(sign, run, audit, keys, known, tmp_path, monkeypatch):
    sign()
    folder = tmp_path / "config" / "assay"
    folder.mkdir(parents=True)
    known("Max Roe").rename(folder / "keys.yaml")
    monkeypatch.delenv("ASSAY_KEYS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert "is Max Roe's" in run("verify", audit, "--key", keys[1], code=3)


def test_a_key_that_nobody_listed(sign, run, audit, model, keys, known, tmp_path):
    sign()
    file = known(of=write_keys(tmp_path, "other"))
    assert "does not hold the key" in run("verify", audit, "--key", keys[1], "--keys", file, code=3)
    assert "does not hold the key" in run("promote", model, "--key", keys[1], "--keys", file, code=3)


def test_nobody_signs_under_a_name_that_is_not_the_keys(sign, store, audit, known):
    file = known("Ann Lee")
    assert "is Ann Lee's; nothing was written" in sign(GATE, *PEOPLE, "--keys", file, code=2)
    assert not store.exists(f"audits/{audit}/verdict.json")
    sign(GATE, "--reviewer", "ann  lee", "--author", "Max Roe", "--keys", file)


def test_where_approvers_are_known_an_unsigned_approval_is_not_enough(decide, run, model, known):
    decide()
    assert "says who may approve" in run("promote", model, "--unsigned", "--keys", known(), code=3)


def test_a_review_that_names_another_key(sign, run, store, audit, keys, tmp_path):
    sign()
    mine = write_keys(tmp_path, "mine")
    signature.sign(store.below(f"audits/{audit}"), signature.private_key(mine[0], str))
    assert "review.json names another key" in run("verify", audit, "--key", mine[1], code=3)


def test_the_approvers_of_a_policy(sign, decide, run, store, audit, model, keys, tmp_path):
    own = signature.public_key(keys[1]).fingerprint
    assert "among its approvers" in sign(GATE, *PEOPLE, code=2, approvers=["0" * 64])
    decide(approvers=[own[:16]])
    assert "lists its approvers" in run("promote", model, "--unsigned", code=3)
    sign(GATE, *PEOPLE, approvers=[own[:16]])
    run("promote", model, "--key", keys[1])
    mine = write_keys(tmp_path, "mine")
    about = store.read_json(f"audits/{audit}/review.json")
    stranger = signature.private_key(mine[0], str)
    store.write(f"audits/{audit}/review.json", json.dumps({**about, "key": stranger.fingerprint}).encode())
    signature.sign(store.below(f"audits/{audit}"), stranger)
    assert "among its approvers" in run("verify", audit, "--key", mine[1], code=3)


def test_a_policy_without_approvers_and_signatures_keeps_its_hash():
    values = policy.read("default").model_dump(mode="json")
    assert (values.pop("approvers"), values.pop("signatures")) == (None, 1)
    assert policy.read("default").hash == digest(canonical(values))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("keys: [{fingerprint: abc, person: Jane Doe}]", "keys.0.fingerprint"),
        ("keys: []", "keys: found"),
        ("keys: [{fingerprint: F, person: A}, {fingerprint: F, person: B}]", "keys.1.fingerprint"),
    ],
)
def test_faults_of_a_keys_file(tmp_path, text, fault):
    (tmp_path / "keys.yaml").write_text(text.replace("F,", "a" * 64 + ","))
    with pytest.raises(SpecError, match=fault):
        people.read(tmp_path / "keys.yaml")


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize("content", [DEEP, b"[]", b"{}", b'{"ev', b"\xff", b'{"format": "one"}'])
def test_a_damaged_record_stops_its_own_model_alone(sign, decide, run, store, audit, model, keys, content):
    sign()
    twin = add_sibling(store)
    decide(of=twin)
    other = str(Audit(store.path(f"audits/{twin}")).info["model"])
    damaged = entries(store)[-1]
    store.write(f"register/{damaged}", content)
    assert f"mind: register/{damaged} is damaged" in run("models")
    assert [damaged in one for one in json.loads(run("models", "--json"))["damaged"]] == [True]
    run("verify", audit, "--key", keys[1])
    run("promote", model, "--key", keys[1])
    assert f"register/{damaged}, a decision on this model, is damaged" in run("verify", twin, code=3)
    run("promote", other, "--unsigned", code=3)
    assert [one.model for one in records.promotions(store)] == [model]


def test_a_failure_is_not_hidden_by_a_damaged_record(sign, run, store, audit, model, keys, tmp_path):
    sign()
    old = shutil.copytree(store.path(f"audits/{audit}"), tmp_path / "old")
    sign(HARD, code=3)
    shutil.rmtree(store.path(f"audits/{audit}"))
    shutil.copytree(old, store.path(f"audits/{audit}"))
    store.write(f"register/{entries(store)[-1]}", DEEP)
    later = "a later decision on this model, is damaged"
    assert later in run("verify", audit, "--key", keys[1], code=3)
    assert later in run("promote", model, "--key", keys[1], code=3)


def test_a_damaged_record_is_answered_before_a_later_pass(decide, run, store, audit, model):
    decide(HARD, code=3)
    store.write(f"register/{entries(store)[-1]}", b"[]")
    assert "the model was decided FAIL" in decide(GATE, code=2), "by the verdict that still lies in its folder"
    store.remove(f"audits/{audit}/review.json")
    assert "is damaged and may be a FAIL" in decide(GATE, code=2)
    assert store.read_json(f"audits/{audit}/verdict.json")["verdict"] == "FAIL"
    decide(GATE, "--because", "the record was lost with its disk")
    run("promote", model, "--unsigned")


@pytest.mark.parametrize("content", [b"a: [", b"[" * 10_000, b"audit: 1", b"\xff"])
def test_a_damaged_audit_stops_its_own_model_alone(sign, run, store, audit, model, keys, content):
    sign()
    twin = add_sibling(store)
    store.write(f"audits/{twin}/audit.yaml", content)
    assert f"mind: audit {twin} is passed over" in run("models")
    run("promote", model, "--key", keys[1])
    sign()
    assert store.read_json(f"audits/{audit}/verdict.json")["history"]["models"] == 2, "it may be of these images"
    assert references.newest_audit(store, model) == audit


def test_a_damaged_audit_of_the_same_model_stops_its_verdict(decide, store, audit, model):
    """It may be the one that fails."""
    twin = audit[:-8] + "00000000"
    store.write(f"audits/{twin}/audit.yaml", b"a: [")
    assert twin in decide(code=1)
    assert not store.exists(f"audits/{audit}/verdict.json")
    with pytest.raises(AssayError, match=twin):
        references.newest_audit(store, model)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"because": "it was only a screen"}, "a decision on this model, is unsigned"),
        ({"signature": ""}, "a decision on this model, is unsigned"),
        ({"key": None}, "verdict.json is not as it was recorded"),
    ],
)
def test_a_record_that_its_signer_did_not_write(sign, run, store, audit, model, keys, changes, said):
    sign()
    run("verify", audit, "--key", keys[1])
    [entry] = entries(store)
    store.write(f"register/{entry}", canonical({**store.read_json(f"register/{entry}"), **changes}))
    assert said in run("verify", audit, "--key", keys[1], code=3)
    run("promote", model, "--key", keys[1], code=3)
    assert records.promotions(store) == []


def test_a_removed_failure_cannot_be_taken_out_of_what_follows_it(sign, run, store, audit, model, keys, tmp_path):
    """The record that follows is changed as if there had been none; it is signed, so that is seen."""
    sign(HARD, code=3)
    sign(GATE, *PEOPLE, "--because", "a typing mistake")
    fail, last = entries(store)
    store.remove(f"register/{fail}")
    record = store.read_json(f"register/{last}")
    store.write(f"register/{last}", canonical({**record, "before": {}, "because": ""}))
    assert records.gaps(store) == []
    assert "is unsigned" in run("verify", audit, "--key", keys[1], code=3)
    run("promote", model, "--key", keys[1], code=3)


@pytest.mark.parametrize("name", ["its own", "none"])
def test_a_signed_record_is_not_filed_again_as_the_latest(sign, run, store, audit, model, keys, tmp_path, name):
    """An old PASS and its record put back after the FAIL: its name is signed with it."""
    sign()
    old = shutil.copytree(store.path(f"audits/{audit}"), tmp_path / "old")
    [first] = entries(store)
    sign(HARD, code=3)
    shutil.rmtree(store.path(f"audits/{audit}"))
    shutil.copytree(old, store.path(f"audits/{audit}"))
    record = store.read_json(f"register/{first}")
    again = first.replace(first[:8], "20990101")
    if name == "none":
        del record["entry"]
    store.write(f"register/{again}", canonical(record))
    run("verify", audit, "--key", keys[1], code=3)
    run("promote", model, "--key", keys[1], code=3)
    assert f"mind: register/{again}" in run("models") or name == "none"
    assert records.promotions(store) == []


def test_a_record_of_another_event_or_model_is_damage(sign, run, store, audit, model, keys):
    sign()
    [entry] = entries(store)
    record = store.read_json(f"register/{entry}")
    for changes in ({"event": "promoted", "because": "x"}, {"model": "0" * 64}):
        store.write(f"register/{entry}", canonical({**record, **changes}))
        run("verify", audit, "--key", keys[1], code=3)
        run("promote", model, "--key", keys[1], code=3)


def test_two_who_decide_at_once_lose_nothing(decide, store, model, monkeypatch):
    """Both follow the same record, and the next one follows both."""
    decide()
    [first] = entries(store)
    ends = register_chain.ends(store)
    with monkeypatch.context() as patch:
        patch.setattr(register_chain, "ends", lambda _: ends)  # what each has read before the other wrote
        for name in ("line-3", "line-4"):
            records.promoted(store, model=model, name=name, audit="a", dataset=None, by="-", key=None)
    decide()
    _, one, other, last = entries(store)
    assert [set(store.read_json(f"register/{entry}")["before"]) for entry in (one, other)] == [{first}, {first}]
    assert set(store.read_json(f"register/{last}")["before"]) == {one, other}
    assert records.gaps(store) == []
    store.remove(f"register/{other}")
    assert [(gap.entry, gap.what) for gap in records.gaps(store)] == [(other, "missing")]


def test_a_model_is_known_by_the_name_it_serves_under(sign, run, store, model, audit, keys):
    sign()
    run("promote", model, "--as", "line-9", "--key", keys[1])
    assert references.model(store, "line-9") == references.models(store, "line-9")[0] == model
    assert references.newest_audit(store, "line-9") == references.audit(store, "line-9") == audit
    assert f"audit {audit} is signed" in run("report", "line-9", code=2)
    assert model in run("verify", "line-9")
    assert audit in run("verify", "line-9", "--key", keys[1])
    with pytest.raises(UnknownName, match=r"did you mean 'line-9'.*available: .*line-9"):
        references.model(store, "line-8")


def test_a_model_that_somebody_wrote_into_service_does_not_verify_under_its_name(sign, run, store, audit, model, keys):
    """A record of a promotion needs no key, so what is verified is the approval that it names."""
    about = {"name": "line-9", "dataset": None, "by": "-", "key": None}
    sign(HARD, code=3)
    records.promoted(store, model=model, audit=audit, **about)
    assert "its verdict is FAIL and approves nothing" in run("verify", "line-9", "--key", keys[1], code=3)
    sign(GATE, *PEOPLE, "--because", "a typing mistake")
    run("verify", "line-9", "--key", keys[1])
    other = str(Audit(store.path(f"audits/{add_sibling(store)}")).info["model"])
    records.promoted(store, model=other, audit=audit, **about)
    assert f"it is an audit of {model[:12]}" in run("verify", "line-9", "--key", keys[1], code=3)
    records.promoted(store, model=model, audit="gone", **about)
    assert "audit gone, by which it serves as line-9, is gone" in run("verify", "line-9", "--key", keys[1], code=3)


def test_a_damaged_promotion_stops_names_alone_that_it_may_be_about(sign, run, store, model, audit, keys):
    sign()
    run("promote", model, "--as", "line-9", "--key", keys[1])
    run("promote", model, "--as", "line-8", "--key", keys[1])
    run("promote", model, "--as", "line-7", "--key", keys[1])
    store.write(f"register/{entries(store)[-2]}", DEEP)
    assert "may be what serves as line-9 now" in run("verify", "line-9", "--key", keys[1], code=1)
    run("verify", "line-7", "--key", keys[1])
    run("verify", "latest", "--key", keys[1])
    assert references.model(store, model[:20]) == model
    with pytest.raises(UnknownName, match="line-7"):
        references.model(store, "line-6")


def test_a_removed_record_is_missed_by_its_verdict(sign, run, store, audit, keys):
    """Nobody takes away the newest record alone without a trace: the verdict that it is of lies signed in its audit."""
    sign(HARD, code=3)
    [fail] = entries(store)
    about = {"model": "0" * 64, "name": "other", "audit": "other", "dataset": None, "by": "-", "key": None}
    records.promoted(store, **about)
    store.remove(f"register/{fail}")
    assert f"{fail}, a decision on this model, is missing" in run("verify", audit, "--key", keys[1], code=3)
    store.remove(f"register/{entries(store)[0]}")
    records.promoted(store, **about)
    assert records.gaps(store) == [], "nothing is missed by those that are left"
    assert "or its record was removed" in run("verify", audit, "--key", keys[1], code=3)
    assert json.loads(run("models", "--json"))["models"][0]["state"] == "doubtful"
    assert "the model was decided FAIL" in sign(GATE, *PEOPLE, code=2), "it stands all the same"


def test_a_store_as_a_whole_that_is_put_back_is_seen_by_whoever_kept_its_head(sign, run, store, audit, keys, tmp_path):
    sign()
    old = shutil.copytree(store.path(""), tmp_path / "old")
    words = sign(HARD, code=3).partition("assay verify ... ")[2].splitlines()[0].split()
    shutil.rmtree(store.path(""))
    shutil.copytree(old, store.path(""))
    run("verify", audit, "--key", keys[1])
    assert f"no record has the hash {words[1]}" in run("verify", audit, "--key", keys[1], *words, code=3)


def test_a_head_stands_for_every_record_before_it_and_tells_what_came_after(sign, run, store, audit, model, keys):
    sign()
    [first] = entries(store)
    told = run("promote", model, "--as", "line-9", "--key", keys[1])
    head = told.partition("--head ")[2].split()[0]
    assert head == digest(store.read(f"register/{entries(store)[-1]}"))
    assert "2 records, none removed before that head" in run("verify", "line-9", "--key", keys[1], "--head", head)
    records.promoted(store, model="0" * 64, name="line-9", audit="gone", dataset=None, by="-", key=None)
    [forged] = set(entries(store)) - {first} - {entry for entry in entries(store) if model[:12] in entry}
    early = f"2001{forged[4:]}"
    store.write(f"register/{early}", canonical({**store.read_json(f"register/{forged}"), "entry": early}))
    store.remove(f"register/{forged}")
    told = run("verify", audit, "--key", keys[1], "--head", head[:16])
    assert f"not before that head: {early}" in told, "a promotion by somebody else, whatever its date"
    store.remove(f"register/{first}")
    assert f"{first} is missing" in run("verify", model, "--head", head, code=3)
    assert "is no hash of a record" in run("verify", audit, "--head", "latest", code=2)


def test_a_signed_verdict_holds_what_the_register_ended_with(sign, store, audit):
    sign()
    verdict = store.read_json(f"audits/{audit}/verdict.json")
    assert "register" not in verdict["history"], "it was the first"
    [first] = entries(store)
    sign(HARD, code=3)
    history = store.read_json(f"audits/{audit}/verdict.json")["history"]
    assert history["register"] == {first: digest(store.read(f"register/{first}"))}
