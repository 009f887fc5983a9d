"""`ray up docs/cluster-local.yaml` over real ssh: a sweep is submitted, its trials run on both workers, all is stopped.

The machines are made of namespaces (ssh_hosts.py) and share no folder: the store is an S3 service of moto's on the
laptop. In place of the installation they get this test's own interpreter; else the file is used as it stands.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import over_ssh
import pytest
import ssh_hosts
import toy_audit
import yaml
from over_ssh import IMAGES, SETTINGS, STORE, answers, has_raylet, started, wait_for

REPO = over_ssh.REPO

pytestmark = pytest.mark.skipif(bool(ssh_hosts.missing()), reason=ssh_hosts.missing())


@pytest.fixture(scope="module")
def hosts(tmp_path_factory) -> Iterator[dict[str, ssh_hosts.Host]]:
    """A laptop, a head and two workers, with the cluster up between them."""
    with ssh_hosts.network(tmp_path_factory.mktemp("hosts"), "laptop", "head", "worker-1", "worker-2") as hosts:
        over_ssh.up(hosts["laptop"], "10.213.7.2", "10.213.7.3", "10.213.7.4")
        yield hosts


@pytest.fixture(scope="module")
def job(hosts) -> Iterator[str]:
    """What a submitted sweep of two trials printed; each trial takes a whole worker. Meanwhile `ray up` is refused."""
    laptop = hosts["laptop"]
    with over_ssh.bucket(laptop), over_ssh.tunnel(laptop):
        wait_for(lambda: has_raylet(hosts["worker-1"]) and has_raylet(hosts["worker-2"]), "both workers to start")
        wait_for(lambda: "4.0 CPU" in over_ssh.status(hosts["head"], "10.213.7.2"), "both workers in the cluster")
        changes = ["search.trials=2", "resources.cpu=2", "fixed.epochs=1", "evaluation.every=1", "stop_early=null"]
        changes.append(f"dataset={json.dumps(toy_audit.pictures(laptop.home / 'images') | {'root': IMAGES})}")
        laptop.run(*SETTINGS, "assay", "data", "push", "/home/images", IMAGES)
        sweep = ["assay", "sweep", "/home/assay/search_spaces/demo.yaml", "--address", "auto", "--store", STORE]
        process = over_ssh.submitted(laptop, *sweep, *(word for change in changes for word in ("--set", change)))
        config = yaml.safe_load(over_ssh.FILE.read_text(encoding="utf-8"))
        guard = f"source ~/.bashrc; ({config['head_start_ray_commands'][0]})"
        again = hosts["head"].command("bash", "--login", "-i", "-c", guard)
        wait_for(lambda: refused(again) or process.poll() is not None, "the job to begin")
        assert process.poll() is None, "a job that runs is protected"
        yield process.communicate(timeout=over_ssh.PATIENCE)[0]


def refused(command: list[str]) -> bool:
    """Whether the first thing that a second `ray up` does on the head stops it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode != 0 and "A job runs on this head" in done.stdout


def test_a_submitted_sweep_reads_images_of_the_bucket_runs_on_the_workers_and_ends_in_the_store(hosts, job):
    assert "2 complete" in job
    assert "succeeded" in job
    assert f"are fetched from {IMAGES}" in job
    told = hosts["laptop"].run(*SETTINGS, "assay", "trials", "demo", "--json", "--store", STORE)
    assert [trial["state"] for trial in json.loads(told)] == ["complete"] * 2
    for worker in ("worker-1", "worker-2"):
        logs = hosts[worker].run("bash", "-c", "cat /tmp/ray/session_latest/logs/worker-*")
        assert ":actor_name:" in logs, f"no trial ran on {worker}"


def test_the_dashboard_listens_on_the_head_alone_and_refuses_who_has_no_token(hosts, job):
    assert not answers(hosts["worker-1"], "10.213.7.2")
    ask = "import urllib.request as u; u.urlopen('http://127.0.0.1:8265/api/jobs/', timeout=20)"
    with pytest.raises(RuntimeError, match="401"):
        hosts["head"].run("python", "-c", ask)


def test_a_worker_that_is_told_of_its_end_leaves_the_cluster(hosts, job):
    worker = hosts["worker-2"]
    notice = worker.home / "computeMetadata" / "v1" / "instance"
    notice.mkdir(parents=True)
    (notice / "preempted").write_text("TRUE")
    server = started(worker, "python", "-m", "http.server", "--bind", "127.0.0.1", "8111")
    command = yaml.safe_load((REPO / "docs" / "cluster-gcp.yaml").read_text())["worker_start_ray_commands"][1]
    here = command.replace("$RAY_HEAD_IP:6379", "10.213.7.2:6379 --every 0.5 --metadata http://127.0.0.1:8111")
    try:
        assert here != command
        worker.run("bash", "--login", "-c", "-i", f"source ~/.bashrc; ({here})")
        log = worker.tmp / "preemption.log"
        wait_for(lambda: log.exists() and "drained: this node is taken in 30 s" in log.read_text(), "the drain")
        wait_for(lambda: not has_raylet(worker), "the raylet to end")
    finally:
        server.kill()
        server.wait(timeout=30)


def test_down_stops_the_head_and_the_workers_stop_as_the_file_says(hosts, job):
    laptop = hosts["laptop"]
    laptop.run(*SETTINGS, "ray", "down", "-y", "/home/cluster.yaml", timeout=over_ssh.PATIENCE)
    for address in ("10.213.7.3", "10.213.7.4"):
        trust = ["-i", "/home/.ssh/id_ed25519", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]
        laptop.run("ssh", *trust, f"root@{address}", "~/venv/bin/ray stop", timeout=over_ssh.PATIENCE)
    for name in ("head", "worker-1", "worker-2"):
        wait_for(lambda name=name: not [line for line in hosts[name].running() if "ray" in line], f"{name} to be idle")
