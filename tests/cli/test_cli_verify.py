"""`assay approve --key` and `assay verify`: what is signed, who may sign, and what is told of a change."""

from __future__ import annotations

import datetime
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from signed_store import flip, write_keys

from assay.approval import review, signature, verification
from assay.cli import main, verify
from assay.reports import page as report
from assay.reports import pdf
from assay.store.schemas import METRICS
from assay.store.store import Store

GATE = {"name": "clean", "metric": "auroc", "attack": "clean", "at_least": 0.6, "why": "because"}
PEOPLE = ("--reviewer", "Jane Doe", "--author", "Max Roe")


@pytest.fixture(autouse=True)
def plain_page(monkeypatch):
    """The report's figures take a second to draw; only the test of the page draws it."""

    def write(folder, output=None):
        folder.write("report.html", folder.read("verdict.json"))
        return folder.place("report.html")

    whole = report.write
    monkeypatch.setattr(report, "write", write)
    return whole


@pytest.fixture
def name(store):
    return store.names("audits")[0]


@pytest.fixture
def policy(tmp_path):
    """A function: more keys -> the path of a policy."""

    def policy(**more):
        samples = {"normals": 5, "anomalies": 5}
        values = {"name": "mine", "version": 1, "why": "a test", "minimum_samples": samples, "gates": [GATE]}
        path = tmp_path / "policy.yaml"
        path.write_text(yaml.safe_dump({**values, **more}))
        return str(path)

    return policy


@pytest.fixture
def approve(run, name, policy, keys):
    """A function: more words, exit code -> what was printed by an approval that signs."""
    return lambda *more, code=0, **rules: run(
        "approve", name, "--policy", policy(**rules), "--key", keys[0], *(more or PEOPLE), code=code
    )


def test_an_approved_audit_verifies_here_and_as_a_copy_elsewhere(approve, run, store, name, keys, tmp_path):
    said = approve()
    assert "signed by Jane Doe" in said
    assert f"assay verify {name} --key" in said
    assert run("verify", name, "--key", keys[1]).count("unchanged") == 2, "the audit, and its model"
    for kind in ("audits", "models"):
        shutil.copytree(store.path(kind), tmp_path / "away" / kind)
    result = CliRunner().invoke(main, ["verify", str(tmp_path / "away" / "audits" / name), "--key", str(keys[1])])
    assert result.exit_code == 0, result.output
    assert "says: PASS by Jane Doe (approver)" in result.output
    assert result.output.count("unchanged") == 2


def test_a_folder_by_itself_under_another_name(approve, run, store, name, keys, tmp_path):
    approve()
    moved = shutil.copytree(store.path(f"audits/{name}"), tmp_path / "received")
    assert "was not checked" in run("verify", moved, "--key", keys[1])
    [model] = store.names("models")
    moved = shutil.copytree(store.path(f"models/{model}"), tmp_path / "weights")
    assert "unchanged" in run("verify", moved, "--key", keys[1])
    assert "nothing says what it was" in run("verify", moved, code=2)
    flip(moved / "model.safetensors", 3)
    assert "changed: model.safetensors" in run("verify", moved, "--key", keys[1], code=3)


def test_changed_missing_and_new_files_are_named(approve, run, store, name, keys):
    approve()
    folder = store.path(f"audits/{name}")
    flip(folder / "metrics.parquet", 100)
    (folder / "cost.parquet").unlink()
    (folder / ".leftover.tmp").write_text("later")
    said = run("verify", name, "--key", keys[1], code=3)
    for line in ("changed: metrics.parquet", "missing: cost.parquet", "new: .leftover.tmp", "not to be relied on"):
        assert line in said
    found = json.loads(run("verify", name, "--key", keys[1], "--json", code=3))
    assert found["good"] is False
    assert found["found"][0]["missing"] == ["cost.parquet"]
    assert found["found"][1]["good"] is True


def test_reviewer_role_and_date_are_signed(approve, run, store, name, keys):
    approve("--reviewer", "Jane Doe", "--author", "Max Roe", "--role", "safety officer")
    told = store.path(f"audits/{name}/review.json")
    found = json.loads(told.read_text())
    today = datetime.datetime.now(datetime.UTC).date()
    assert (found["reviewer"], found["role"], found["author"]) == ("Jane Doe", "safety officer", "Max Roe")
    assert found["date"] == str(today)
    told.write_text(told.read_text().replace("Jane", "Joan"))
    assert "changed: review.json" in run("verify", name, "--key", keys[1], code=3)


def test_an_audit_whose_description_cannot_be_read_any_more(approve, run, store, name, keys):
    approve()
    store.path(f"audits/{name}/audit.yaml").unlink()
    assert "missing: audit.yaml" in run("verify", name, "--key", keys[1], code=3)


def test_one_audit_in_place_of_another(approve, run, store, name, keys):
    approve()
    store.path(f"audits/{name}").rename(store.path("audits/another"))
    assert f"it is audit {name}, under another name" in run("verify", "another", "--key", keys[1], code=3)


def test_a_model_by_its_hash_needs_no_key(run, store):
    [model] = store.names("models")
    assert "no signature was checked" in run("verify", model[:6])
    folder = store.path(f"models/{model}")
    (folder / "more.bin").write_text("x")
    assert "new: more.bin" in run("verify", model, code=3)
    (folder / "more.bin").unlink()
    flip(folder / "model.safetensors", -1)
    assert "changed: model.safetensors" in run("verify", model, code=3)
    (folder / "model.safetensors").unlink()
    assert "missing: the file beside manifest.json" in run("verify", model, code=3)
    flip(folder / "manifest.json", 5)
    assert "changed: manifest.json" in run("verify", model, code=3)


def test_without_a_key_an_audit_is_unsigned_and_that_is_said(run, name, policy, keys):
    assert "not signed; give --key" in run("approve", name, "--policy", policy())
    said = run("verify", name)
    assert "only a signature can protect them" in said
    assert "no signature was checked" in said
    assert "not signed" in run("verify", name, "--key", keys[1], code=3)


def test_another_approval_replaces_the_signature(approve, run, store, name, policy, keys, tmp_path):
    approve()
    mine, yours = write_keys(tmp_path, "second")
    run("approve", name, "--policy", policy(), "--key", mine, *PEOPLE)
    assert "signed with another key" in run("verify", name, "--key", keys[1], code=3)
    assert "signatures not checked" in run("verify", name, "--key", yours), "the first one's of the model"
    assert "its signature with it: " in run("approve", name, "--policy", policy())
    assert signature.signatures(store.path(f"audits/{name}")) == []


def test_a_report_that_is_written_anew_and_differs_is_told(approve, run, store, name, keys):
    approve()
    assert "is signed" in run("report", name, code=2)
    folder = store.path(f"audits/{name}")
    report.write(Store(folder))
    assert "unchanged" in run("verify", name, "--key", keys[1]), "the same page of the same files"
    (folder / "report.html").write_text("by another version")
    assert "changed: report.html" in run("verify", name, "--key", keys[1], code=3)


def test_a_verdict_on_other_figures_than_there_are_is_told(approve, run, store, name, policy):
    run("approve", name, "--policy", policy())
    path = store.path(f"audits/{name}/metrics.parquet")
    rows = pq.read_table(path).to_pylist()
    pq.write_table(pa.Table.from_pylist([{**row, "upper": 1.0} for row in rows], schema=METRICS), path)
    assert "verdict.json decides on other figures or checks than there are now" in run("verify", name, code=3)
    assert "decides on other figures" in run("promote", store.names("models")[0], "--unsigned", code=3)
    approve()
    assert "says: PASS" in run("verify", name)


def test_a_damaged_decision_is_made_anew_and_signed(approve, run, store, name, keys):
    for file in ("verdict.json", "review.json"):
        store.write(f"audits/{name}/{file}", b"{")
        assert "`assay approve` writes" in run("verify", name, code=3)
        approve()
        run("verify", name, "--key", keys[1])


@pytest.mark.parametrize("model", ["/", "../other", "", 5])
def test_an_audit_from_elsewhere_names_no_folder_outside_of_models(store, name, tmp_path, model):
    for there in ("other", "models"):
        (tmp_path / there).mkdir()
    folder = shutil.copytree(store.path(f"audits/{name}"), tmp_path / "audits" / name)
    about = yaml.safe_load((folder / "audit.yaml").read_text())
    (folder / "audit.yaml").write_text(yaml.safe_dump({**about, "model": model}))
    [found] = verification.of_audit(folder, [])
    assert not found.good


def test_a_name_from_elsewhere_writes_no_line_and_steers_no_terminal(run, store, name, policy):
    run("approve", name, "--policy", policy())
    folder = store.path(f"audits/{name}")
    (folder / "x\x1b[2K\naudit y: 9 files, unchanged").write_text("")
    told = json.loads((folder / "review.json").read_text())
    told["reviewer"] = "Jane\r\x1b[1A\x1b[2K\nmodel z: unchanged\u202e"
    (folder / "review.json").write_text(json.dumps(told))
    with_new = replace(verification.of_audit(folder, [])[0], new=(str(next(folder.glob("x*")).name),))
    lines = verify._lines(with_new)
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    for printed in (run("verify", name), run("models")):
        assert not any(line.startswith(("audit y", "model z")) for line in printed.splitlines())


def test_an_expired_approval_is_called_expired(run, store, name, policy):
    run("approve", name, "--policy", policy(), "--expires", "2099-01-31")
    assert ", until 2099-01-31" in run("verify", name)
    told = store.path(f"audits/{name}/review.json")
    told.write_text(told.read_text().replace("2099", "2020"))
    assert ", EXPIRED on 2020-01-31" in run("verify", name)


@pytest.mark.parametrize(
    ("option", "earliest"), [("2099-01-31", "2099-01-31"), ("2199-01-31", "2099-06-30"), (None, "2099-06-30")]
)
def test_an_approval_counts_no_longer_than_the_waivers_it_needs(run, store, name, policy, option, earliest):
    words = {"granted_by": "Ann Lee", "reason": "known"}
    falls = {"name": "falls", "metric": "auroc", "epsilon": "8/255", "at_least": 0.9, "why": "because"}
    waivers = [{"gate": "falls", "expires": "2099-06-30", **words}, {"gate": "clean", "expires": "2098-01-31", **words}]
    more = ("--expires", option) if option else ()
    run("approve", name, "--policy", policy(gates=[GATE, falls], waivers=waivers), *more)
    assert str(review.read(store.path(f"audits/{name}")).expires) == earliest, "a waiver that is not used ends nothing"


def test_a_screen_and_attacks_that_were_left_out_are_among_the_reasons(run, store, name, policy):
    path = store.path(f"audits/{name}/audit.yaml")
    about = yaml.safe_load(path.read_text())
    left_out = [{"attack": "pgd-l1", "why": "the score has no gradient"}]
    path.write_text(yaml.safe_dump({**about, "limit": 12, "left_out": left_out}))
    said = run("approve", name, "--policy", policy(screens="allowed"))
    assert "The audit is a screen: at most 12 samples of each class were attacked (--limit)." in said
    assert "The audit is without pgd-l1 of its suite: the score has no gradient." in said


def test_a_signature_needs_two_people(approve, store, name):
    assert "--reviewer NAME and --author NAME" in approve("--reviewer", " ", "--author", "Max Roe", code=2)
    accents = ("--reviewer", "Jos\u00e9  Doe", "--author", "Jose\u0301 \u200bDoe")
    assert "wants two people" in approve(*accents, code=2)
    assert "--reviewer NAME and --author NAME" in approve("--reviewer", "Jane Doe", code=2)
    same = ("--reviewer", "Jane Doe", "--author", "jane  DOE")
    assert "wants two people" in approve(*same, code=2)
    assert not store.exists(f"audits/{name}/verdict.json"), "nothing is written before it is known who signs"
    approve(*same, same_person="allowed")


def test_expiry_by_option_and_by_policy(approve, store, name):
    told = lambda: review.read(store.path(f"audits/{name}"))  # noqa: E731
    approve(*PEOPLE, valid_days=30)
    assert told().expires == told().date + datetime.timedelta(30)
    approve(*PEOPLE, "--expires", "2099-01-31")
    assert told().expires == datetime.date(2099, 1, 31)
    assert "allows 30 days" in approve(*PEOPLE, "--expires", "2099-01-31", valid_days=30, code=2)
    assert "is in the past" in approve(*PEOPLE, "--expires", "2020-01-31", code=2)


def test_an_encrypted_key_takes_its_password_from_the_environment(run, name, policy, tmp_path):
    locked, public = write_keys(tmp_path, "locked", password="sesame")
    words = ("approve", name, "--policy", policy(), "--key", locked, *PEOPLE)
    assert "ASSAY_KEY_PASSWORD" in run(*words, code=2, env={"ASSAY_KEY_PASSWORD": None})
    assert "password is wrong" in run(*words, code=2, env={"ASSAY_KEY_PASSWORD": "open"})
    run(*words, env={"ASSAY_KEY_PASSWORD": "sesame"})
    run("verify", name, "--key", public)


def test_a_changed_model_is_not_signed(approve, store, name):
    [model] = store.names("models")
    flip(store.path(f"models/{model}/model.safetensors"), 9)
    assert "nothing was signed" in approve(code=1)
    assert not store.exists(f"audits/{name}/verdict.json")
    shutil.rmtree(store.path(f"models/{model}"))
    assert "the model is signed too" in approve(code=2)


def test_a_link_in_the_audit_is_told_before_anything_is_written(approve, store, name):
    store.path(f"audits/{name}").joinpath("link").symlink_to("/nowhere")
    assert "NOT" not in approve(code=1)
    assert not store.exists(f"audits/{name}/verdict.json")


def test_what_names_nothing(run):
    assert "no folder nowhere/at" in run("verify", "nowhere/at", code=2)
    assert "is not known" in run("verify", "zzzz", code=2)
    assert "neither an audit" in run("verify", "/", code=2)


def test_the_page_shows_who_signed(approve, store, name, keys, plain_page):
    approve("--reviewer", "Jane <b>Doe</b>", "--author", "Max Roe", "--expires", "2099-01-31")
    page = report_of(store, name, plain_page)
    assert "Jane &lt;b&gt;Doe" in page
    assert signature.public_key(keys[1]).fingerprint in page
    assert "until 2099-01-31" in page


def test_the_page_says_that_nothing_is_signed(run, store, name, policy, plain_page):
    run("approve", name, "--policy", policy(), "--reviewer", "Jane Doe")
    assert "Nothing is signed by a key" in report_of(store, name, plain_page)


def report_of(store, name, write) -> str:
    return Path(write(store.path(f"audits/{name}"))).read_text()


def test_a_pdf_that_is_there_is_renewed_before_it_is_signed(approve, run, store, name, keys, monkeypatch):
    sheet = store.path(f"audits/{name}/report.pdf")
    sheet.write_bytes(b"not decided yet")
    monkeypatch.setattr(pdf, "write", lambda folder: sheet.write_bytes(folder.read("report.html")))
    approve()
    assert b'"PASS"' in sheet.read_bytes()
    run("verify", name, "--key", keys[1])
