"""The whole job by the command line with `--store s3://...`: a sweep cut off, killed and resumed, then all the rest."""

from __future__ import annotations

import json
import re
import time

import pytest
import toy_audit
import yaml
from click.testing import CliRunner
from s3_server import SECRET, error
from signed_store import write_keys
from sweep_process import Sweep, outcome, wait_for, without_ray

from assay.cli import main
from assay.store import object_storage, trials_table
from assay.store.store import Store

IMPATIENT = (
    "from assay.store.locks import lease; lease.RENEW, lease.LAPSE = 1.0, 4.0; from assay.cli import main; main()"
)
"""The command line with a lease that lapses sooner than a user's."""


@pytest.fixture(scope="module")
def environment(s3_service, own_cache):
    """Where the server is found; this process and those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**s3_service.environment(), "WANDB_MODE": "disabled"}.items():
            patch.setenv(name, value)
        object_storage._client.cache_clear()
        yield s3_service
    object_storage._client.cache_clear()


@pytest.fixture(scope="module")
def sweep(environment, tmp_path_factory) -> Sweep:
    """A sweep in object storage: its credentials expired, then its driver was killed, then it ran to its end."""
    sweep = Sweep(tmp_path_factory.mktemp("swept"))
    sweep.store = Store(f"s3://{environment.bucket()}/assay")
    sweep.write(search={"trials": 3, "seed": 0, "sampler": "random"}, fixed={"pause": 0.3})
    sweep.at = []  # how many reports there were at each end
    process = sweep.start("toy.yaml", code=IMPATIENT)
    wait_for(lambda: sweep.reports() >= 2, "two reports")
    environment.faults.append(error(400, "ExpiredToken"))
    began = time.monotonic()
    code, sweep.output = sweep.end(process)
    sweep.seconds = time.monotonic() - began
    environment.faults.clear()
    assert code == 1, sweep.output
    sweep.at.append(sweep.reports())
    process = sweep.start("--resume", "toy", code=IMPATIENT)
    try:
        wait_for(lambda: sweep.reports() >= sweep.at[0] + 3, "more reports")
    finally:
        process.kill()
        process.communicate()
    wait_for(lambda: not sweep.running(), "the processes of the killed sweep to be gone")
    sweep.at.append(sweep.reports())
    code, output = sweep.run("--resume", "toy", code=IMPATIENT)
    assert code == 0, output
    assert f"assay audit toy:best --store {sweep.store.root}" in output
    return sweep


@pytest.fixture
def assay(sweep, environment, tmp_path, monkeypatch):
    """A function: words -> exit code and output of the command line, given in an empty folder that stays empty."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def assay(*words, code: int = 0, store: str = sweep.store.root) -> str:
        result = CliRunner().invoke(main, [*map(str, words), "--store", store], env={"COLUMNS": "160"})
        assert result.exit_code == code, result.output
        assert SECRET not in result.output
        return result.output

    yield assay
    environment.faults.clear()
    assert list((tmp_path / "here").iterdir()) == []


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    return toy_audit.write_suite(tmp_path_factory.mktemp("suite") / "tiny.yaml")


def test_a_sweep_whose_credentials_expire_ends_in_words(sweep):
    assert "the credentials have expired; renew them (aws sso login, or new AWS_* variables)" in sweep.output
    assert sweep.seconds < 60


def test_a_sweep_that_was_cut_off_and_killed_ends_as_if_it_had_never_been(sweep, tmp_path):
    assert 2 <= sweep.at[0] < sweep.at[1] < 12
    spec, records = trials_table.load(sweep.store, "toy")
    assert outcome(records) == outcome(without_ray(spec, Store(tmp_path / "local")).records)
    assert len(sweep.store.names("sweeps/toy/log")) == 3
    assert not (sweep.folder / "store").exists()
    kept = ["checkpoints", "environment.json", "log", "scores", "spec.yaml", "trials.parquet"]
    assert sweep.store.names("sweeps/toy") == kept


def test_the_whole_job_without_a_local_folder(sweep, assay, suite, environment, tmp_path):
    told = json.loads(assay("trials", "toy", "--json"))
    assert [row["state"] for row in told] == ["complete"] * 3
    assert f"s3://{sweep.store.root[5:]}/audits/" in assay("audit", "toy:best", "--suite", suite, "--workers", 1)
    [audit] = sweep.store.names("audits")
    environment.log.clear()
    assert f"report: {sweep.store.root}/audits/{audit}/report.html" in assay("report", "latest")
    read = [line.partition("?")[0] for line in environment.log if line.startswith("GET") and "list-type" not in line]
    assert len(read) <= 2 * len(sweep.store.walk(f"audits/{audit}")), "nothing is fetched again and again"

    private, public = write_keys(tmp_path, "signer")
    gate = {"name": "clean", "metric": "auroc", "attack": "clean", "at_least": 0.01, "why": "w"}
    rules = {"name": "mine", "version": 1, "why": "w", "minimum_samples": {"normals": 1, "anomalies": 1}}
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump({**rules, "gates": [gate]}))
    names = ["--reviewer", "Jane Doe", "--author", "Max Roe"]
    approved = assay("approve", audit, "--policy", tmp_path / "policy.yaml", "--key", private, *names)
    assert "verdict: PASS" in approved
    assert "signed by Jane Doe" in approved
    verified = assay("verify", audit, "--key", public)
    assert len(re.findall("unchanged since they were signed", verified)) == 2
    assert verified == assay("verify", f"{sweep.store.root}/audits/{audit}", "--key", public)
    assert "serves as line-3 now" in assay("promote", "toy:best", "--as", "line-3", "--key", public)
    assert "approved" in assay("models")
    metrics = sweep.store.read(f"audits/{audit}/metrics.parquet")
    sweep.store.write(f"audits/{audit}/metrics.parquet", metrics + b"x")
    assert "changed: metrics.parquet" in assay("verify", audit, "--key", public, code=3)
    sweep.store.write(f"audits/{audit}/metrics.parquet", metrics)

    other = assay("audit", "toy:best", "--suite", suite, "--workers", 1, "--seed", 1)
    second = re.search(r"audits/(\S+)", other)[1]
    assert "no regression" in assay("compare", audit, second)
    assert sweep.store.exists(f"audits/{second}/comparison.json")
    assert "report: " in assay("report", second, "--output", tmp_path)
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("words", [("sweep", "FILE"), ("audit", "toy:best", "--workers", "1", "--suite", "SUITE")])
def test_a_place_that_cannot_be_written_is_known_before_anything_trains(sweep, assay, suite, environment, words):
    words = [{"FILE": sweep.folder / "toy.yaml", "SUITE": suite}.get(word, word) for word in words]
    environment.faults.append(error(403, "AccessDenied", method="PUT"))
    environment.log.clear()
    told = assay(*words, code=1, store=sweep.store.root)
    assert re.search(r"Error: s3://\S+/\.writable: not allowed \(PutObject\): the credentials may not do this", told)
    assert [line for line in environment.log if line.startswith(("PUT", "POST"))] == [
        f"PUT /{sweep.store.root[5:]}/.writable"
    ]


def test_a_store_in_no_bucket_is_said(assay):
    told = assay("trials", "toy", code=1, store="s3://nowhere-to-be-found/x")
    assert "there is no such bucket; make it, or give another place with --store" in told


def test_an_audit_whose_credentials_expire_goes_on_with_new_ones(sweep, assay, suite, environment):
    written = []

    def expire(proxy) -> bool:
        scores = proxy.command == "PUT" and "/scores/" in proxy.path
        written.extend([proxy.path] if scores else [])
        return len(written) > 1 and error(400, "ExpiredToken")(proxy)

    environment.faults.append(expire)
    told = assay("audit", "toy:best", "--suite", suite, "--workers", 1, "--seed", 2, code=1)
    assert "the credentials have expired; renew them" in told
    assert "Traceback" not in told
    environment.faults.clear()
    kept = [key for key in sweep.store.walk("audits") if "/scores/" in key and written[0].endswith(key.split("/")[-1])]
    assert len(kept) == 1
    before = sweep.store.modified([f"audits/{kept[0]}"])
    assay("audit", "toy:best", "--suite", suite, "--workers", 1, "--seed", 2)
    assert sweep.store.modified([f"audits/{kept[0]}"]) == before, "what was written is not made again"
