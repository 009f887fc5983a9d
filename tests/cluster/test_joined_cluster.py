"""A cluster of machines that know nothing of Assay: code travels, other versions and strangers are refused."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import toy_audit
import toy_runs
import yaml
from bare_cluster import PATIENCE, TOKEN, BareCluster, interpreter

from assay.store import trial_log
from assay.store.store import Store

ASSAY = str(Path(sys.executable).with_name("assay"))
QUICK = {"WANDB_MODE": "disabled", "RAY_NUM_REDIS_GET_RETRIES": "2"}
SECRET = "PLANTEDaws0000000000000000000000000000001"
MODULE = """
import os, sys
from own_helper import SCALE
import toy_runs

class Runs(toy_runs.Runs):
    def train_epoch(self):
        found = super().train_epoch()
        return {**found, "scale": SCALE, "bare": float(os.environ.get("BARE", 0)), "here": float(os.getcwd() == HERE)}

HERE = %r
"""


ATTACK = """
import os
from pathlib import Path
from assay.attacks.noise import noise

def own(*arguments, start=None):
    Path(MARKS, "bare" if "BARE" in os.environ else "here").touch()
    return noise(*arguments, start=start, draws=1)

MARKS = %r
"""
LOCAL = """
import os, subprocess, sys
from pathlib import Path
import ray
from assay.cluster.connection import connected

with connected(cpus=1):
    node = ray._private.worker._global_node
    code = "from ray._raylet import GcsClient; GcsClient(address=%r)" % node.gcs_address
    strangers = ({}, {"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "0" * 64})
    for stranger in strangers:
        environment = {**os.environ, **stranger}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        print("let in" if done.returncode == 0 else done.stderr.splitlines()[-1].split(":")[0])
    for path in (Path("~/.ray/auth_token").expanduser(), Path(node.get_session_dir_path())):
        print(oct(path.stat().st_mode & 0o777))
    print(node.webui_url or "no dashboard")
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    found = BareCluster(tmp_path_factory.mktemp("cluster"))
    try:
        found.start(interpreter(found.folder / "python"), cpus=1, BARE="1")
        yield found
    finally:
        found.stop()


@pytest.fixture
def work(tmp_path):
    """A folder with a search space, and beside it an own trainable in a file, with a helper and an own package."""
    folder = tmp_path / "work"
    folder.mkdir()
    shutil.copy(toy_runs.__file__, folder / "toy_runs.py")
    (folder / "own_runs.py").write_text(MODULE % str(folder))
    (folder / "own_helper.py").write_text("SCALE = 3\n")
    package = folder / "own_data" / "sets"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from toy_runs import squares\n")
    (package.parent / "tests").mkdir()
    (package.parent / "tests" / "large.py").write_text("raise SystemExit")
    raw = toy_runs.search_space(folder, search={"sampler": "random", "trials": 2, "seed": 0, "startup": 1})
    raw |= {"trainable": "own_runs:Runs", "dataset": {**raw["dataset"], "name": "own_data.sets:squares"}}
    (folder / "toy.yaml").write_text(yaml.safe_dump(raw))
    return folder


def assay(cluster: BareCluster, folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [ASSAY, *arguments, "--store", str(folder / "store")],
        cwd=folder,
        env={
            **cluster.environment,
            **QUICK,
            **({"RAY_AUTH_MODE": "token"} if cluster.mode == "token" else {}),
            "AWS_SECRET_ACCESS_KEY": SECRET,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode or "gcs_client.cc" not in done.stderr  # a refusal, Ray may write down
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_own_modules_reach_workers_that_have_no_assay_and_another_folder(cluster, work):
    code, output = assay(cluster, work, "sweep", "toy.yaml", "--address", cluster.address)
    assert code == 0, output
    records = trial_log.records(trial_log.read(Store(work / "store"), "toy"))
    assert [record.state for record in records.values()] == ["complete"] * 2
    losses = [report["losses"] for record in records.values() for report in record.reports]
    assert {(found["scale"], found["bare"], found["here"]) for found in losses} == {(3, 1, 0)}

    (work / "suites").mkdir()
    (work / "suites" / "own_attacks.py").write_text(ATTACK % str(work / "suites"))
    made = {"name": "own", "attack": "own_attacks:own", "threat": "linf", "epsilons": ["1/255"]}
    suite = toy_audit.write_suite(work / "suites" / "own.yaml", attacks=[*toy_audit.SUITE["attacks"][:2], made])
    arguments = ("audit", "toy:best", "--suite", suite, "--limit", "4", "--workers", "2")
    code, output = assay(cluster, work, *arguments, "--address", cluster.address)
    assert code == 0, output
    assert (work / "suites" / "bare").exists()
    logs = {path.name: path.read_bytes() for path in cluster.logs.glob("session_2*/logs/**/*") if path.is_file()}
    assert any(b"Creating runtime env" in log for log in logs.values())
    assert [name for name, log in logs.items() if TOKEN.encode() in log or SECRET.encode() in log] == []
    assert len(Store(work / "store").names("models")) == 2


def test_who_has_no_token_or_another_one_is_refused_in_words(cluster, work):
    none = {"RAY_AUTH_TOKEN_PATH": "", "HOME": str(work)}
    for environment in ({"RAY_AUTH_TOKEN": "0" * 64}, {"RAY_AUTH_MODE": "disabled"}, none):
        code, output = assay(cluster, work, "sweep", "toy.yaml", "--address", cluster.address, **environment)
        assert code == 1, output
        assert f"cannot start or join the cluster at {cluster.address}: its token is missing here" in output
        assert "~/.ray/auth_token" in output
    assert not Store(work / "store").exists("sweeps/toy")


def test_a_module_that_a_node_lacks_is_told_before_any_trial(cluster, work, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "far_away.py").write_text("")
    with (work / "own_runs.py").open("a") as file:
        file.write("import far_away\n")
    code, output = assay(cluster, work, "sweep", "toy.yaml", "--address", cluster.address, PYTHONPATH=str(elsewhere))
    assert code == 1, output
    assert "cannot import 'own_runs': ModuleNotFoundError: No module named 'far_away'" in output
    assert not Store(work / "store").exists("sweeps/toy")


def test_a_node_with_another_torch_is_refused_with_both_versions(cluster, work):
    mine = importlib.metadata.version("torch")  # without the build that torch.__version__ may add
    slow = ("--set", "fixed={epochs: 60, pause: 0.5}", "--set", "resources.concurrent=2", "--set", "name=slow")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(assay, cluster, work, "sweep", "toy.yaml", *slow, "--address", cluster.address)
        until = time.monotonic() + PATIENCE
        while not Store(work / "store").names("sweeps/slow/checkpoints") and time.monotonic() < until:
            assert not running.done(), running.result()
            time.sleep(0.2)
        cluster.start(interpreter(cluster.folder / "other", torch="1.2.3"))  # in the middle of a sweep
        code, output = running.result()
    assert code == 1, output
    assert f"the machine of this worker has torch 1.2.3 (the driver: {mine}" in output

    code, output = assay(cluster, work, "sweep", "toy.yaml", "--address", cluster.address)
    assert code == 1, output
    assert f"has torch 1.2.3 (the driver: {mine}" in output
    assert "install the same versions on every node" in output
    assert not Store(work / "store").exists("sweeps/toy")


def test_a_cluster_without_a_token_is_joined_with_a_warning_though_a_token_lies_here(tmp_path, work):
    open_to_all = BareCluster(tmp_path, mode="disabled")
    try:
        open_to_all.start(Path(sys.executable))
        code, output = assay(open_to_all, work, "sweep", "toy.yaml", "--address", open_to_all.address)
        assert code == 0, output
        assert f"the Ray cluster at {open_to_all.address} asks for no token" in output
        assert "2 complete" in output
    finally:
        open_to_all.stop()
    code, output = assay(open_to_all, work, "sweep", "toy.yaml", "--set", "name=b", "--address", open_to_all.address)
    assert code == 1, output
    assert f"cannot join the cluster at {open_to_all.address}: nothing answers there" in output


def test_a_local_cluster_lets_nobody_in_without_its_token_and_has_no_dashboard(tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", LOCAL],
        env={**kept, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    refused = "ray.exceptions.AuthenticationError"
    assert done.stdout.splitlines() == ["let in", refused, refused, "0o600", "0o700", "no dashboard"], done.stderr
