"""What of sweeps and audits arrives at a W&B server, sent once, and what is said when it does not."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import toy_audit
import yaml
from click.testing import CliRunner
from toy_log import SPACE, asked, ended, reported, write
from wandb_server import ENTITY, KEY, serving

from assay.approval.verdict import AppliedPolicy, CheckOutcomes, Verdict
from assay.audits import suite
from assay.cli import main
from assay.config import search_space
from assay.errors import SpecError, StoreError, TrackingError, UnknownName
from assay.store.audit_reader import Audit
from assay.store.store import Store
from assay.tracking import audit_run, client, wandb_report
from assay.tracking import publish as publishing

QUICK = {
    "x_graphql_retry_max": 1,
    "x_graphql_retry_wait_min_seconds": 0.1,
    "x_graphql_retry_wait_max_seconds": 0.2,
    "x_file_stream_retry_max": 1,
    "x_file_stream_retry_wait_min_seconds": 0.1,
    "x_file_stream_retry_wait_max_seconds": 0.2,
    "x_file_stream_transmit_interval": 0.1,
    "x_file_transfer_retry_max": 1,
    "init_timeout": 3,
    "finish_timeout": 5,
}


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A W&B server, and a user who has a key for it and little patience."""
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    for name, value in QUICK.items():
        monkeypatch.setitem(client.SETTINGS, name, value)
    monkeypatch.setattr(client, "TIMEOUT", 3)
    monkeypatch.setattr(client, "ARRIVAL", 0.5)
    with serving() as running:
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        yield running


@pytest.fixture
def swept(tmp_path) -> Store:
    """Three trials: complete after two epochs, failed, and pruned after one."""
    store = Store(tmp_path / "store")
    write(store, asked(0), asked(1), reported(0, 1), reported(0, 2), ended(0), ended(1, "failed", "nan"))
    write(store, asked(2), reported(2, 1), ended(2, "pruned"))
    return store


@pytest.fixture
def audited(swept, audit_folder) -> tuple[Store, str]:
    """An audit of hostile names in the same store, and its id."""
    info = Audit(audit_folder).info
    shutil.copytree(audit_folder, swept.path(f"audits/{info['audit']}"))
    for name in ("manifest.json", "model.safetensors", ".hidden"):
        swept.write(f"models/{info['model']}/{name}", name.encode())
    return swept, info["audit"]


def publish(store: Store, kind: str = "sweeps", name: str = "toy") -> str:
    with client.connected("robust") as connection:
        return publishing.SENDERS[kind](connection, store, name).text("AGAIN")


def assay(store: Store, *words: str):
    return CliRunner().invoke(main, ["publish", *words, "--store", str(store.root)])


def test_trials_are_runs_of_the_sweeps_group(server, swept):
    told = publish(swept)
    assert told == f"sweep toy: 3 trials sent: {server.url}/{ENTITY}/robust/groups/toy"
    assert {run["name"]: (run["group"], run["job"], run["project"], run["state"]) for run in server.runs.values()} == {
        "toy-00000": ("toy", "trial", "robust", "finished"),
        "toy-00001": ("toy", "trial", "robust", "failed"),
        "toy-00002": ("toy", "trial", "robust", "finished"),
    }
    run = server.run_called("toy-00000")
    assert {"sweep": "toy", "trial": 0, "a/b": 0.5, "kind": "perlin"}.items() <= run["config"].items()
    assert run["config"]["search_space"]["objectives"] == SPACE["objectives"]
    lines = [run["history"][number] for number in sorted(run["history"])]
    assert [(line["_step"], line["clean_auroc"], line["loss/l"]) for line in lines] == [(1, 0.6, 1), (2, 0.7, 1)]
    assert {"state": "complete", "kept/clean_auroc": 0.7, "model": "m" * 24}.items() <= run["summary"].items()
    assert server.run_called("toy-00001")["summary"]["failure"] == "nan"
    assert server.run_called("toy-00002")["summary"]["state"] == "pruned"
    assert (run["host"], run["program"]) == (None, "assay")


def test_publishing_again_sends_nothing_and_without_its_notes_writes_the_same_runs(server, swept):
    publish(swept)
    before = len(server.bodies)
    assert publish(swept).startswith("sweep toy: all 3 trials are there already: http")
    assert {run["sent"] for run in server.runs.values()} == {1}
    assert len(server.bodies) - before < 5
    shutil.rmtree(swept.path("published"))
    assert "3 trials sent" in publish(swept)
    assert len(server.runs) == 3
    assert {len(run["history"]) for run in server.runs.values()} == {0, 1, 2}


def test_only_what_changed_is_sent_again(server, swept):
    write(swept, asked(3), reported(3, 1))
    assert "4 trials sent" in publish(swept)
    write(swept, reported(3, 2), ended(3))
    assert "1 trial sent" in publish(swept)
    assert {run["name"]: run["sent"] for run in server.runs.values()} == {
        "toy-00000": 1, "toy-00001": 1, "toy-00002": 1, "toy-00003": 2,
    }  # fmt: skip
    assert len(server.run_called("toy-00003")["history"]) == 2


def test_a_sweep_of_the_same_name_in_another_store_has_runs_of_its_own(server, swept, tmp_path):
    publish(swept)
    other = Store(tmp_path / "other")
    write(other, asked(0), ended(0))
    publish(other)
    assert len(server.runs) == 4


def test_a_running_sweep_is_followed(server, tmp_path):
    store = Store(tmp_path / "store")
    write(store, asked(0), reported(0, 1))
    steps = [lambda: None, lambda: write(store, reported(0, 2), asked(1)), lambda: write(store, ended(0), ended(1))]

    def over(_: float) -> bool:
        if len(steps) == 1:
            assert server.run_called("toy-00000")["state"] == "running"
        steps.pop(0)() if steps else None
        return not steps

    with client.connected("robust") as connection:
        assert publishing.sweep(connection, store, "toy", over).why == ""
    assert {run["state"] for run in server.runs.values()} == {"finished"}
    assert {run["sent"] for run in server.runs.values()} == {1}
    assert len(server.run_called("toy-00000")["history"]) == 2


def test_an_audit_is_a_run_with_curves_tables_artifacts_and_figures(server, audited):
    store, audit = audited
    told = publish(store, "audits", audit)
    run = server.run_called(audit)
    assert f"audit {audit}: sent: {server.url}/{ENTITY}/robust/runs/{run['id']}\n  report: http" in told
    assert (run["group"], run["job"], run["state"]) == (run["config"]["sweep"], "audit", "finished")
    found = Audit(store.path(f"audits/{audit}"))
    assert run["summary"]["clean/auroc"] == pytest.approx(found.clean("auroc").value)
    points = [line for line in run["history"].values() if "security/linf/epsilon" in line]
    assert sorted(point["security/linf/epsilon"] for point in points) == pytest.approx([0, 1, 2, 4])
    assert {"security/linf/worst case, both", "security/linf/pgd-linf"} <= set(points[-1])
    media = [path.partition("/")[2] for path in server.uploads if "media/" in path]
    files = {path.rsplit("_", 2)[0] for path in media}
    assert {f"{run['id']}/media/table/tables/{name}" for name in ("metrics", "checks", "cost")} <= files
    assert {f"{run['id']}/media/html/figures/{name}" for name in audit_run.FIGURES} <= files
    assert server.files_of(f"model-{run['config']['model']}") == {"manifest.json", "model.safetensors"}
    assert server.files_of(f"audit-{audit}") == set(audit_run.FILES) - {"verdict.json", "comparison.json"}
    kinds = {one["type"] for one in server.artifacts.values()}
    assert {"model", "audit"} <= kinds
    assert all(one["state"] == "COMMITTED" for one in server.artifacts.values())


def test_no_picture_and_no_key_leaves_the_machine_and_no_key_is_written(server, audited, capfd):
    store, audit = audited
    told = publish(store) + publish(store, "audits", audit)
    sent = b"".join(server.bodies)
    assert b"tables/metrics" in sent
    for secret in (b"\x89PNG", base64.b64encode(b"\x89PNG\r\n\x1a\n")[:10], KEY.encode()):
        assert secret not in sent
    written = [path for path in store.path().rglob("*") if path.is_file() and "log" not in path.parts]
    assert any("published" in path.parts for path in written)
    assert not any(KEY.encode() in path.read_bytes() for path in written)
    assert KEY not in told + "".join(capfd.readouterr())


def test_the_report_has_verdict_gates_curves_and_the_sweeps_panels_and_is_written_anew_in_place(
    server, audited, verdict_of
):
    store, audit = audited
    publish(store, "audits", audit)
    [view] = server.views.values()
    assert view["displayName"] == f"Audit {audit}"
    assert "Nobody has decided" in view["spec"]
    store.write(f"audits/{audit}/verdict.json", json.dumps(verdict_of("FAIL")).encode())
    publish(store, "audits", audit)
    [view] = server.views.values()
    assert "**FAIL** by policy" in view["spec"]
    grids = [block for block in json.loads(view["spec"])["blocks"] if block["type"] == "panel-grid"]
    kinds = [[p["viewType"] for p in grid["metadata"]["panelBankSectionConfig"]["panels"]] for grid in grids]
    curves = ["Run History Line Plot", "Run History Line Plot", "Media Browser"]
    assert kinds == [curves, ["Scatter Plot", "Parallel Coordinates Plot"]]
    text = json.dumps(json.loads(view["spec"]), ensure_ascii=False)
    gate = verdict_of("FAIL")["gates"][0]
    run = server.run_called(audit)
    for part in (wandb_report.md(gate["text"]), f"/runs/{run['id']}", f"/artifacts/audit/audit-{audit}", "L∞ 2/255"):
        assert json.dumps(part, ensure_ascii=False)[1:-1] in text, part
    assert run["summary"]["verdict"] == "FAIL"
    assert run["sent"] == 2
    sent = len(server.bodies)
    assert "is there already" in publish(store, "audits", audit)
    assert len(server.bodies) - sent < 5


def test_text_of_an_audit_is_no_markdown():
    assert wandb_report.md("a|b\n<script>[x](y)*") == r"a\|b &lt;script&gt;\[x\](y)\*"
    assert (
        wandb_report.md("https://evil.example @all www.evil.example")
        == r"https:\//evil.example \@all www\.evil.example"
    )


def test_a_policys_version_and_an_audits_command_are_no_markdown(store, monkeypatch):
    name = store.names("audits")[0]
    info = yaml.safe_load(store.read(f"audits/{name}/audit.yaml"))
    hostile = "x](https://evil.example) `@all`"
    store.write(
        f"audits/{name}/audit.yaml", yaml.safe_dump({**info, "command": f"curl {hostile}", "sweep": hostile}).encode()
    )
    applied = AppliedPolicy(name="mine", version=hostile, hash="0" * 64)
    made = Verdict(verdict="PASS", policy=applied, gates=(), checks=CheckOutcomes(), reasons=())
    monkeypatch.setattr(wandb_report, "verdict_of", lambda audit: made)
    audit = Audit(store.below(f"audits/{name}"))
    text = wandb_report.verdict(audit) + wandb_report.links(SimpleNamespace(url="https://wandb.example"), audit, "run")
    assert "evil.example" not in text.replace(r"\](https:\//evil.example)", "").replace("%2F%2Fevil.example", "")
    assert r"\@all" in text
    assert "repeat it: `assay audit MODEL --suite SUITE`" in text


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("500", "answered with an error (HTTP 500)"),
        ("hangs", "did not answer in time"),
        ("down", "cannot be reached (connection refused)"),
        ("key", "refuses the key (user is not logged in)"),
        ("short key", "API key must have 40+ characters, has 3"),
        ("no key", "run `wandb login` or set WANDB_API_KEY"),
    ],
)
def test_a_server_in_trouble_is_told_in_a_sentence(server, swept, monkeypatch, trouble, said):
    server.behaviour = trouble
    if trouble == "down":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    elif trouble.endswith("key"):
        monkeypatch.setenv("WANDB_API_KEY", {"key": KEY[::-1], "short key": "abc", "no key": ""}[trouble])
    result = assay(swept)
    assert result.exit_code == 1
    assert said in result.output
    assert "nothing was sent to project robust" in result.output
    assert len(result.output.splitlines()) == 1
    assert KEY[::-1] not in result.output
    assert server.runs == {}


def test_what_an_outage_cut_off_is_sent_by_the_next_publish(server, swept, monkeypatch):
    finish = client.Connection.finish

    def then_breaks(self, *told, **more):
        finish(self, *told, **more)
        server.behaviour = "500"

    monkeypatch.setattr(client.Connection, "finish", then_breaks)
    told = publish(swept)
    assert "sweep toy: 0 of 3 trials are on W&B; the W&B server" in told
    assert told.endswith("(HTTP 500). Nothing else is affected; send the rest with: AGAIN")
    monkeypatch.setattr(client.Connection, "finish", finish)
    server.behaviour = "well"
    assert "3 trials sent" in publish(swept)
    assert len(server.runs) == 3


def test_a_server_that_forgets_what_it_accepted_is_found_out(server, swept):
    server.behaviour = "drops"
    told = publish(swept)
    assert "0 of 3 trials are on W&B" in told
    assert "accepted 3 more and does not show them" in told
    server.behaviour = "well"
    assert "3 trials sent" in publish(swept)


def test_a_slow_server_gets_everything(server, swept):
    server.behaviour = "slow"
    server.DELAY = 0.2
    assert "3 trials sent" in publish(swept)


def test_two_at_a_time_are_refused(server, swept):
    with (
        client.connected("robust") as connection,
        publishing.Published(swept, "sweeps/toy", connection).locked(),
        pytest.raises(StoreError, match="publish` of sweeps/toy is running"),
    ):
        publishing.sweep(connection, swept, "toy")


def test_the_verb_sends_everything_once_to_the_project_of_each(server, audited):
    store, audit = audited
    write(store, asked(0), ended(0), name="private", tracking={"wandb": False})
    result = assay(store)
    assert result.exit_code == 0, result.output
    assert [line.split(":")[0] for line in result.output.splitlines()] == ["sweep toy", f"audit {audit}", "  report"]
    assert {run["project"] for run in server.runs.values() if run["job"] == "trial"} == {"robust"}
    assert "all 3 trials are there already" in assay(store, "toy", "--project", "robust").output
    assert "1 trial sent" in assay(store, "private").output


def test_project_and_entity_come_from_options_then_the_environment(server, swept, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    monkeypatch.setenv("WANDB_ENTITY", "team")
    assert f"{server.url}/team/theirs/groups/toy" in assay(swept).output
    assert f"{server.url}/me/ours/groups/toy" in assay(swept, "--project", "ours", "--entity", "me").output


def test_what_is_written_wrongly_is_told_before_anything_is_sent(server, swept, monkeypatch):
    result = assay(swept, "tuy")
    assert result.exit_code == 2
    assert "sweep or audit 'tuy' is not known (did you mean 'toy'?)" in result.output
    monkeypatch.setenv("WANDB_MODE", "offline")
    result = assay(swept)
    assert result.exit_code == 2
    assert "WANDB_MODE says offline" in result.output
    assert server.requests == []


@pytest.mark.parametrize("fault", ["a/b", "x" * 129])
def test_a_project_that_cannot_be_one_is_told_before_anything_is_sent(server, swept, fault):
    result = assay(swept, "--project", fault)
    assert result.exit_code == 1
    assert "Invalid project name" in result.output
    assert f"nothing was sent to project {fault}" in "".join(result.output.split("\n"))
    assert server.requests == []


def test_a_key_without_a_default_entity_needs_one_to_be_named(server, swept, monkeypatch):
    viewer = server.Viewer({})["viewer"]
    for name in ("Viewer", "GetViewer", "GetDefaultEntity"):
        setattr(server, name, lambda _: {"viewer": {**viewer, "entity": None}})
    result = assay(swept)
    assert result.exit_code == 1
    assert f"the key for {server.url} has no default entity; set WANDB_ENTITY to a user or team" in result.output
    assert server.runs == {}
    monkeypatch.setenv("WANDB_ENTITY", "team")
    assert f"{server.url}/team/robust/groups/toy" in assay(swept).output


def test_the_longest_names_that_are_valid_are_so_on_wandb(tmp_path):
    """Those of projects, runs and artifacts are made of names that `assay validate` checks."""
    from wandb.sdk.artifacts._validators import validate_artifact_name
    from wandb.sdk.wandb_settings import Settings

    longest = "x" * 100
    checked = suite.read(toy_audit.write_suite(tmp_path / "suite.yaml", name=longest))
    assert validate_artifact_name(f"audit-{'0' * 12}-{checked.name}-{'0' * 8}")
    assert validate_artifact_name(f"model-{'0' * 64}")
    with pytest.raises(SpecError, match="must look like"):
        suite.read(toy_audit.write_suite(tmp_path / "suite.yaml", name=longest + "x"))
    for text in ("x" * 128, "a project", "ä+b"):
        assert search_space._project(text) == Settings(project=text).project
    for text in ("", "x" * 129, *(f"a{one}b" for one in "/\\#?%:")):
        with pytest.raises(ValueError, match="is a project's name on W&B, so it must have 1 to 128 characters"):
            search_space._project(text)
    assert Settings(run_id=client.run_id("audit", "x")).run_id


def test_a_sweep_that_is_not_there_is_an_error(server, swept):
    with client.connected("robust") as connection, pytest.raises(UnknownName, match="sweep 'other' is not known"):
        publishing.sweep(connection, swept, "other")


def test_no_report_of_an_error_goes_to_anybody_and_the_environment_is_left_as_it_was(monkeypatch, tmp_path):
    before = dict(os.environ)
    with client.scratch(str(tmp_path)):
        assert os.environ["WANDB_ERROR_REPORTING"] == "false"
        assert Path(os.environ["WANDB_CACHE_DIR"]) == tmp_path
    assert dict(os.environ) == before


def test_an_error_of_ours_is_not_taken_for_one_of_the_servers():
    with pytest.raises(StoreError, match="full"), client.tracking_errors("http://server"):
        raise StoreError("full")
    with pytest.raises(TrackingError, match="http://server: strange"), client.tracking_errors("http://server"):
        raise ValueError("odd\nstrange")


@pytest.mark.parametrize(
    ("kind", "trouble", "said"),
    [
        ("sweeps", "500", "W&B server URL answered with an error (HTTP 500). Nothing else is affected; send the rest"),
        ("audits", "hangs", "W&B server URL did not answer in time. Nothing else is affected; send the rest"),
        ("audits", "key", "W&B server URL refuses the key (user is not logged in); run `wandb login --relogin`"),
        ("sweeps", "well", "3 trials sent: URL"),
    ],
)
def test_the_process_beside_a_run_ends_with_a_sentence(server, audited, monkeypatch, capfd, kind, trouble, said):
    store, audit = audited
    server.behaviour = trouble
    if trouble == "key":
        monkeypatch.setenv("WANDB_API_KEY", KEY[::-1])
    name = {"sweeps": "toy", "audits": audit}[kind]
    monkeypatch.setattr("sys.argv", ["publishing", str(store.root), f"{kind}/{name}", "assay publish it"])
    with Path(os.devnull).open() as over:
        monkeypatch.setattr("sys.stdin", over)
        publishing.main()
    [sentence] = capfd.readouterr().out.splitlines()
    assert sentence.startswith(f"{kind[:-1]} {name}: ")
    assert said.replace("URL", server.url) in sentence
    assert ("assay publish it" in sentence) == (trouble != "well")


def test_an_audit_ends_well_without_the_server(server, audited, monkeypatch):
    store, audit = audited
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("assay.audits.audit.run", lambda *_, **__: audit)
    monkeypatch.setattr("assay.store.references.model", lambda *_: "m")
    result = CliRunner().invoke(main, ["audit", "m", "--suite", "quick", "--store", str(store.root)])
    assert result.exit_code == 0, result.output
    assert f"W&B: audit {audit}: not sent; the W&B server http://127.0.0.1:9 cannot be reached" in result.output
    assert f"send the rest with: assay publish {audit} --store {store.root}" in result.output
