"""From a folder of images to an audit over ssh, with the head lost on the way: the figures are those of one machine.

The folder is pushed to object storage, and a submitted sweep reads it from there on a head that is switched off in the
middle of a trial; `ray up` starts another one, `--resume` goes on, and `assay audit` attacks the best model on both
workers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import over_ssh
import pyarrow.parquet as pq
import pytest
import ssh_hosts
import toy_audit
import yaml
from over_ssh import IMAGES, SETTINGS, STORE, has_raylet, wait_for
from same_audit import TIMES, bits

SPACE = {
    "name": "line-9",
    "trainable": "cobra",
    "fixed": {"epochs": 3, "backbone": {"small_resnet": {"width": 4}}},
    "space": {"adversary.epsilon": {"uniform": [0, "4/255"]}, "learning_rate": {"loguniform": [1e-3, 1e-2]}},
    "evaluation": {"attack": "pgd", "epsilon": "2/255", "steps": 3, "every": 1},
    "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
    "search": {"sampler": "tpe", "trials": 3, "seed": 0},
    "resources": {"cpu": 1, "concurrent": 1},
    "tracking": {"wandb": False},
}
WHOLE = ("metrics", "checks", "worst_case", "explanations")

pytestmark = pytest.mark.skipif(bool(ssh_hosts.missing()), reason=ssh_hosts.missing())


@pytest.fixture(scope="module")
def hosts(tmp_path_factory) -> Iterator[dict[str, ssh_hosts.Host]]:
    """A laptop with images and an S3 service, two heads of which one is up, and two workers."""
    names = ("laptop", "head", "worker-1", "worker-2", "new-head")
    with ssh_hosts.network(tmp_path_factory.mktemp("hosts"), *names) as hosts:
        laptop = hosts["laptop"]
        dataset = toy_audit.pictures(laptop.home / "images", 60, 40)
        for name, root in (("laptop", "/home/images"), ("head", IMAGES), ("new-head", IMAGES)):
            space = {**SPACE, "dataset": {**dataset, "root": root}}
            (hosts[name].home / "line-9.yaml").write_text(yaml.safe_dump(space))
            (hosts[name].home / "suite.yaml").write_text(yaml.safe_dump(toy_audit.SUITE))
        with over_ssh.bucket(laptop):
            yield hosts


@pytest.fixture(scope="module")
def wanted(hosts) -> Path:
    """The store of the same on the laptop alone."""
    laptop = hosts["laptop"]
    laptop.run("assay", "sweep", "/home/line-9.yaml", "--store", "/home/store", timeout=over_ssh.PATIENCE)
    audit = ["assay", "audit", "line-9:best", "--suite", "/home/suite.yaml", "--store", "/home/store"]
    laptop.run(*audit, timeout=over_ssh.PATIENCE)
    return laptop.home / "store"


@pytest.fixture(scope="module")
def told(hosts) -> dict[str, str]:
    """What the sweep, its continuation on a new head and the audit printed."""
    laptop, cluster = hosts["laptop"], ["--address", "auto", "--store", STORE]
    laptop.run(*SETTINGS, "assay", "data", "push", "/home/images", IMAGES)
    found = {}
    over_ssh.up(laptop, "10.213.7.2", "10.213.7.3", "10.213.7.4")
    ready(hosts, "head", "10.213.7.2")
    with over_ssh.tunnel(laptop):
        process = over_ssh.submitted(laptop, "assay", "sweep", "/home/line-9.yaml", *cluster)
        found["sweep"] = "".join(until(process.stdout, r"trial +1 +epoch 1/3"))
        hosts["head"].end()
        process.kill()
        process.communicate(timeout=120)
    over_ssh.up(laptop, "10.213.7.5", "10.213.7.3", "10.213.7.4")
    ready(hosts, "new-head", "10.213.7.5")
    with over_ssh.tunnel(laptop):
        for name, command in {
            "resumed": ["sweep", "--resume", "line-9"],
            "audit": ["audit", "line-9:best", "--suite", "/home/suite.yaml", "--workers", "2"],
        }.items():
            process = over_ssh.submitted(laptop, "assay", *command, *cluster)
            found[name] = process.communicate(timeout=over_ssh.PATIENCE)[0]
            assert process.returncode == 0, found[name]
    return found


def ready(hosts: dict[str, ssh_hosts.Host], head: str, address: str) -> None:
    """Wait until both workers are in the cluster."""
    wait_for(lambda: all(has_raylet(hosts[name]) for name in ("worker-1", "worker-2")), "both workers to start")
    wait_for(lambda: "4.0 CPU" in over_ssh.status(hosts[head], address), "both workers in the cluster")


def until(lines, pattern: str) -> Iterator[str]:
    """The lines up to the first that has it; all of them where none has."""
    for line in lines:
        yield line
        if re.search(pattern, line):
            return
    pytest.fail(f"no line has {pattern}")


def test_the_head_was_lost_in_a_trial_and_the_new_one_fetched_the_images_again(told):
    assert f"are fetched from {IMAGES}" in told["sweep"]
    assert f"are fetched from {IMAGES}" in told["resumed"]
    assert "3 complete" in told["resumed"]
    assert not re.search(r"trial +0 +trains", told["resumed"]), "what was complete is kept"


def test_every_trial_has_the_figures_of_one_machine(hosts, told, wanted):
    near = trials(hosts["laptop"].run("assay", "trials", "line-9", "--json", "--store", "/home/store"))
    far = trials(hosts["laptop"].run(*SETTINGS, "assay", "trials", "line-9", "--json", "--store", STORE))
    assert len(near) == 3
    assert far == near


def trials(text: str) -> list[dict[str, object]]:
    """All that is said of each trial, but for how long it took and how often it was begun."""
    left_out = {"seconds", "attempts", "since", "model", "retried", "node"}
    return [{name: value for name, value in trial.items() if name not in left_out} for trial in json.loads(text)]


def test_the_audit_has_the_figures_of_one_machine(hosts, told, wanted):
    laptop = hosts["laptop"]
    fetch = "import sys; from assay.store.store import Store; s = Store(sys.argv[1]); [n] = s.names('audits')\n"
    fetch += "for t in sys.argv[2:]: open(f'/home/{t}.parquet', 'wb').write(s.read(f'audits/{n}/{t}.parquet'))"
    laptop.run(*SETTINGS, "python", "-c", fetch, STORE, *WHOLE)
    [audit] = [path for path in (wanted / "audits").iterdir() if not path.name.startswith(".")]
    for name in WHOLE:
        near, far = (pq.read_table(folder / f"{name}.parquet") for folder in (audit, laptop.home))
        # A model's hash is of its manifest, which says where the images are.
        figures = [column for column in near.column_names if column not in {*TIMES, "model"}]
        assert bits(near, figures) == bits(far, figures), name
