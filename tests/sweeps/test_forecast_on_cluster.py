"""A forecast for a cluster that was joined: probed where trials would run, told for what the cluster has."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import toy_runs
import yaml
from nodes import cluster

from assay.store.store import Store

ASSAY = str(Path(sys.executable).with_name("assay"))


@pytest.fixture(scope="module")
def address():
    with cluster(3) as found:
        yield found.address


@pytest.fixture
def dry_run(tmp_path, own_cache, address):
    """Runs `assay sweep --dry-run` of a toy search space on the cluster, with these changes."""

    def run(*arguments: str, code: str = "", **changes) -> subprocess.CompletedProcess[str]:
        marks = tmp_path / "marks"
        marks.mkdir()
        raw = toy_runs.search_space(tmp_path, fixed={"epochs": 4, "marks": str(marks)}, **changes)
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump(raw))
        command = [
            *([sys.executable, "-c", code] if code else [ASSAY]),
            "sweep",
            "toy.yaml",
            "--dry-run",
            "--address",
            address,
            *arguments,
        ]
        return subprocess.run(
            [*command, "--store", "store"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{Path(toy_runs.__file__).parent}:{os.environ.get('PYTHONPATH', '')}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_a_cluster_that_was_joined_is_asked_what_a_trial_takes_there(dry_run, tmp_path):
    ended = dry_run("--json", search={"trials": 6, "startup": 2}, budget={"price": {"cpu_hour": 1}})
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert (found["together"], found["trials"], found["epochs"]) == (3, 6, [24, 24])
    assert found["minutes"][1] == pytest.approx(20 * found["cpu_hours"][1])  # three at a time
    [rate] = found["trainables"]
    assert (rate["trainable"], rate["seen"]) == ("toy_runs:Runs", "probe of 4 epochs")
    assert len(list((tmp_path / "marks").glob("pid-*"))) == 1  # one worker of the cluster trained
    assert [path.name for path in (tmp_path / "store").rglob("*.*")] == [".toy.forecast.json"], "kept for its sweep"
    assert Store(tmp_path / "store").names("sweeps") == [], "a forecast makes no sweep"
    assert found["images_arrive"]["seconds"] > 0
    assert found["images_arrive"]["folder"] == "", "so few go through the object store"


def test_images_that_would_fill_the_object_store_are_told_with_their_disk(dry_run, tmp_path):
    code = "from assay.cluster import image_blocks; image_blocks.SHARE = 0.0\n"
    ended = dry_run(code=code + "from assay.cli import main; main()")
    assert ended.returncode == 0, ended.stderr
    [line] = [line for line in ended.stdout.splitlines() if line.startswith("  images: ")]
    assert re.search(r"0.0 GB decoded, once on every machine, into a file in /.*assay-blocks-\d+ \(\d+ GB free\)", line)
    assert re.search(r"; there in \d+ s$", line)


def test_what_the_cluster_has_not_is_said(dry_run):
    ended = dry_run(resources={"gpu": 0.25})
    assert ended.returncode == 1
    assert "a trial needs 0.25 gpu and the cluster has 0; lower resources.gpu; a cluster that starts" in ended.stderr


def test_what_a_trial_raises_there_is_said_here(dry_run, tmp_path):
    ended = dry_run(space={"trouble": {"choice": ["nan_loss"]}})
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("Error: a loss is not finite at epoch 2")
