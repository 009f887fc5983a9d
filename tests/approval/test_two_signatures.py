"""A policy that asks for the signatures of two people: who may be the second, and what counts without them."""

from __future__ import annotations

import json

import pytest
import yaml
from signed_store import flip, write_keys

import assay
from assay.approval import policy, records, signature
from assay.approval.policy import Policy
from assay.approval.trust import people
from assay.errors import InputError, SpecError
from assay.store.audit_reader import Audit

GATE = {"name": "clean", "metric": "auroc", "attack": "clean", "at_least": 0.6, "why": "because"}
VALUES = {
    "name": "two", "version": 1, "why": "a test", "minimum_samples": {"normals": 5, "anomalies": 5},
    "gates": [GATE], "signatures": 2,
}  # fmt: skip
JANE = ("--reviewer", "Jane Doe", "--author", "Max Roe")

pytestmark = pytest.mark.usefixtures("plain_page")


@pytest.fixture
def audit(store):
    return store.names("audits")[0]


@pytest.fixture
def model(store, audit):
    return str(Audit(store.path(f"audits/{audit}")).info["model"])


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    return write_keys(tmp_path_factory.mktemp("second"), "second")


@pytest.fixture
def known(tmp_path, keys, second):
    """A function: the second person's name, their roles, more of the file -> a keys file with both people."""

    def known(person="Ann Lee", roles=("approver",), **more):
        pairs = (keys, "Jane Doe", ["approver"]), (second, person, list(roles))
        held = [
            {"fingerprint": signature.public_key(pair[1]).fingerprint, "person": name, "roles": of}
            for pair, name, of in pairs
        ]
        (tmp_path / "keys.yaml").write_text(yaml.safe_dump({"keys": held, **more}))
        return tmp_path / "keys.yaml"

    return known


@pytest.fixture
def decide(run, audit, keys, tmp_path):
    """A function: changes of the policy -> what is printed where Jane Doe decides and signs by it."""

    def decide(*words, code=0, **values):
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump({**VALUES, **values}))
        signed = words or ("--key", keys[0], *JANE)
        return run("approve", audit, "--policy", tmp_path / "policy.yaml", *signed, code=code)

    return decide


@pytest.fixture
def countersign(run, audit, second):
    """A function: a keys file -> what is printed where the holder of the second key signs."""
    return lambda file, name="Ann Lee", key=second, code=0: run(
        "approve", audit, "--countersign", "--key", key[0], "--reviewer", name, "--keys", file, code=code
    )


def test_both_sign_and_only_both_together_count(decide, countersign, run, store, audit, model, keys, second, known):
    file, both = known(), ("--key", keys[1], "--key", second[1])
    asks = "policy two asks for the signatures of 2 people"
    assert asks in decide()
    [standing] = json.loads(run("models", "--json"))["models"]
    assert standing["state"] == "audited"
    assert f"{asks}, and its PASS has 1" in run("models")
    assert f"{asks}, and its PASS has 1" in run("promote", model, "--key", keys[1], "--keys", file, code=3)
    assert "and only Jane Doe signed" in run("verify", audit, "--key", keys[1], "--keys", file, code=3)
    verdict = store.read(f"audits/{audit}/verdict.json")

    assert "signed by Ann Lee" in countersign(file)
    assert store.read(f"audits/{audit}/verdict.json") == verdict
    assert json.loads(run("models", "--json"))["models"][0]["state"] == "approved"
    shown = run("verify", audit, *both, "--keys", file)
    assert all(f"({name})" in shown for name in ("Jane Doe", "Ann Lee"))
    assert shown.count("unchanged since they were signed") == 2, "of the audit and of the model"
    for one, name in ((keys, "Jane Doe"), (second, "Ann Lee")):
        assert run("verify", audit, "--key", one[1], "--keys", file, code=3)
        refused = run("promote", model, "--key", one[1], "--keys", file, code=3)
        assert f"only {name} signed" in refused or "names another key" in refused
    assert "only a keys file says whose the keys are" in run("promote", model, *both, code=3)
    assert records.promotions(store) == []
    run("promote", model, *both, "--keys", file)


@pytest.mark.parametrize("which", ["audits", "models"])
def test_a_file_that_one_of_them_did_not_sign(
    decide, countersign, run, store, audit, model, keys, second, known, which
):
    file = known()
    decide()
    countersign(file)
    place = store.path(f"{which}/{audit if which == 'audits' else model}")
    signed = place / signature.public_key(second[1]).file
    flip(signed, 400)
    found = run("verify", audit, "--key", keys[1], "--key", second[1], "--keys", file, code=3)
    assert "damaged" in found
    signed.unlink()
    run("promote", model, "--key", keys[1], "--key", second[1], "--keys", file, code=3)


@pytest.mark.parametrize(
    ("person", "roles", "values", "said"),
    [
        ("Jane  DOE", ["approver"], {}, "has signed already"),
        ("Max Roe", ["approver"], {}, "Max Roe is the author of the model"),
        ("Ann Lee", ["tester"], {}, "may sign as tester, not as approver"),
        ("Ann Lee", ["approver"], {"approvers": True}, "does not list the key"),
        ("Bob Ray", ["approver"], {}, "the reviewer is called Ann Lee, and the key"),
    ],
)
def test_who_cannot_be_the_second(decide, countersign, store, audit, keys, known, person, roles, values, said):
    if values:
        own = signature.public_key(keys[1]).fingerprint
        values = {"approvers": [own, "0" * 64]}
    decide(**values)
    name = "Ann Lee" if person == "Bob Ray" else person
    assert said in countersign(known(person, roles), name, code=2)
    assert len(signature.signatures(store.path(f"audits/{audit}"))) == 1


def test_one_person_with_two_keys_is_one_person(decide, run, store, audit, model, keys, second, known):
    """Signed without the command, as whoever holds both keys can."""
    decide()
    folder, other = store.below(f"audits/{audit}"), signature.private_key(second[0], str)
    for place in (folder, store.below(f"models/{model}")):
        signature.sign(place, other)
    file, both = known("Jane Doe"), ("--key", keys[1], "--key", second[1])
    assert "and only Jane Doe signed" in run("verify", audit, *both, "--keys", file, code=3)
    assert "and only Jane Doe signed" in run("promote", model, *both, "--keys", file, code=3)
    assert "Max Roe is the author" in run("promote", model, *both, "--keys", known("Max Roe"), code=3)
    assert "does not hold the key" in run("verify", audit, *both, "--keys", alone(file, keys), code=3)
    run("promote", model, *both, "--keys", known())


def alone(file, keys):
    """The keys file without the second key."""
    held = yaml.safe_load(file.read_text())["keys"]
    file.write_text(yaml.safe_dump({"keys": [one for one in held if one["fingerprint"] in fingerprint(keys)]}))
    return file


def fingerprint(pair):
    return signature.public_key(pair[1]).fingerprint


def test_nothing_is_countersigned_that_nobody_signed_or_that_was_changed(decide, countersign, store, audit, known):
    file = known()
    assert "has no signed decision" in countersign(file, code=2)
    decide("--reviewer", "Jane Doe")
    assert "has no signed decision" in countersign(file, code=2)
    decide()
    path = store.path(f"audits/{audit}/verdict.json")
    path.write_text(path.read_text().replace("a test", "another"))
    assert "nothing was signed" in countersign(file, code=1)
    assert len(signature.signatures(store.path(f"audits/{audit}"))) == 1


def test_a_file_that_is_swapped_while_the_second_signs(decide, countersign, store, audit, second, known, monkeypatch):
    decide()
    sign = signature.sign

    def swapped(folder, key):
        if "audits" in str(folder.place()):
            store.write(f"audits/{audit}/audit.yaml", b"audit: other")
        return sign(folder, key)

    monkeypatch.setattr(signature, "sign", swapped)
    assert "was changed while it was being signed" in countersign(known(), code=1)
    assert len(signature.signatures(store.path(f"audits/{audit}"))) == 1


def test_deciding_again_takes_both_signatures_away(decide, countersign, run, store, audit, model, keys, second, known):
    file = known()
    decide()
    countersign(file)
    decide()
    assert len(signature.signatures(store.path(f"audits/{audit}"))) == 1
    both = ("--key", keys[1], "--key", second[1])
    assert "its PASS has 1" in run("promote", model, *both, "--keys", file, code=3)
    countersign(file)
    run("promote", model, *both, "--keys", file)


def test_a_keys_file_asks_for_two_whatever_the_policy_says(decide, countersign, run, audit, model, keys, second, known):
    """One of two approvers cannot choose a policy that lets one alone approve."""
    file = known(signatures=2)
    decide(signatures=1)
    assert f"{file} asks for the signatures of 2" in run("promote", model, "--key", keys[1], "--keys", file, code=3)
    countersign(file)
    run("promote", model, "--key", keys[1], "--key", second[1], "--keys", file)


def test_a_failure_needs_one_signature(decide, run, audit, keys, known):
    hard = {"name": "falls", "metric": "auroc", "epsilon": "8/255", "at_least": 0.9, "why": "because"}
    decide(gates=[hard], code=3)
    run("verify", audit, "--key", keys[1], "--keys", known())


def test_unsigned_it_is_not_promoted(decide, run, model):
    decide("--reviewer", "Jane Doe")
    assert "asks for the signatures of 2 people, and its PASS has 0" in run("promote", model, "--unsigned", code=3)


def test_faults_are_told(known):
    with pytest.raises(SpecError, match=r"approvers: found .*; must list the keys of 2 people"):
        Policy.of({**VALUES, "approvers": ["0" * 64]}, "p.yaml")
    with pytest.raises(SpecError, match="signatures: found 0; must be at least 1"):
        Policy.of({**VALUES, "signatures": 0}, "p.yaml")
    with pytest.raises(SpecError, match="signatures: found 2; at most 1, as many as there are people"):
        people.read(known("jane doe", signatures=2))
    assert Policy.of({**VALUES, "signatures": 1}, "p").hash != Policy.of(VALUES, "p").hash
    assert policy.read("default").signatures == 1


def test_words_that_do_not_go_together(run, audit, keys, tmp_path):
    for words in (("--policy", "demo"), ("--author", "Max"), ("--json",)):
        assert "decides nothing" in run(
            "approve", audit, "--countersign", "--key", keys[0], "--reviewer", "A", *words, code=2
        )
    assert "needs --key and --reviewer" in run("approve", audit, "--countersign", code=2)
    assert "Missing option '--policy'" in run("approve", audit, code=2)
    with pytest.raises(InputError, match="give --keys"):
        assay.countersign(audit, key=keys[0], reviewer="A", store=tmp_path)
