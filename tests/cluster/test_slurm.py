"""The batch script of docs/run-on-slurm.md, run with stand-ins for Slurm, Ray and Assay; and the wait for all nodes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from assay.cluster import wait_for_nodes
from assay.errors import SweepError

PAGE = (Path(__file__).parents[2] / "docs" / "run-on-slurm.md").read_text(encoding="utf-8")
[SCRIPT] = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
LOGS = """#!/bin/bash
say() { echo "$*" >> "$LOG"; }
"""
STAND_INS = {
    "scontrol": "for number in {1..20000}; do echo n$number; done",
    "srun": """
while [[ $1 == --* ]]; do given="$given $1"; shift; done
if [ "$1" = hostname ]; then echo "10.0.0.1 fe80::1"; exit; fi
say "srun$given"; exec "$@"
""",
    "ray": """
say "ray $* token=${#RAY_AUTH_TOKEN} mode=$RAY_AUTH_MODE address=${RAY_ADDRESS-none}"
trap 'say "ray ended"; exit' TERM
while true; do sleep 0.02; done
""",
    "python": """
until [ "$(grep -c '^ray start' "$LOG")" -ge $(($4 > 1 ? 2 : 1)) ]; do sleep 0.02; done
say "$*"
[ "$4" != "${MISSING-none}" ] || { echo "Error: too few" >&2; exit 1; }
""",
    "assay": """
trap 'sleep 0.2; say "assay stopped in order"; exit 0' TERM
say "assay $*"
[ "${CODE-}" ] && exit "$CODE"
while true; do sleep 0.02; done
""",
}


@pytest.fixture
def job(tmp_path):
    """A function that starts the script as Slurm would, and the file in which the stand-ins log."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    for name, text in STAND_INS.items():
        file = tmp_path / "venv" / "bin" / name
        file.write_text(LOGS + text)
        file.chmod(0o755)
    (tmp_path / "sweep.sh").write_text(SCRIPT)
    (tmp_path / "log").touch()

    def start(*words: str, nodes: int = 3, **changes: str) -> subprocess.Popen:
        environment = {
            **os.environ,
            "VENV": str(tmp_path / "venv"),
            "STORE": "/shared/store",
            "LOG": str(tmp_path / "log"),
            "RAY_ADDRESS": "left-over:6379",
            "SLURM_JOB_ID": "123456",
            "SLURM_JOB_NODELIST": f"n[1-{nodes}]",
            "SLURM_JOB_NUM_NODES": str(nodes),
            "SLURM_CPUS_PER_TASK": "8",
            "SLURM_GPUS_ON_NODE": "1",
            "SLURM_MEM_PER_NODE": "32768",
            **changes,
        }
        return subprocess.Popen(["bash", "sweep.sh", *words], cwd=tmp_path, env=environment)

    return start, tmp_path / "log"


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines()


def test_the_head_then_the_others_then_the_sweep_and_its_exit_code(job):
    start, log = job
    assert start("spaces/mine.yaml", "--set", "resources.gpu=1", CODE="7").wait(timeout=30) == 7
    said = lines(log)
    assert [line.split()[0] for line in said] == ["srun", "ray", "-m", "srun", "ray", "-m", "assay", "ray", "ray"]
    head, others = said[0], said[3]
    assert "--nodelist=n1" in head
    assert {"--nodes=2", "--ntasks=2", "--exclude=n1"} <= set(others.split())
    for line in (said[1], said[4]):
        assert "--num-cpus=8 --num-gpus=1" in line
        memory, store = (int(found) for found in re.findall(r"memory=(\d+)", line))
        assert 0.99 < (memory + store) / (32768 * 2**20) <= 1
        assert line.endswith("token=64 mode=token address=none")
    assert "--head --node-ip-address=10.0.0.1 --port=23456" in said[1]
    assert "--address=10.0.0.1:23456" in said[4]
    assert said[2].endswith("10.0.0.1:23456 1")
    assert said[5].endswith("10.0.0.1:23456 3")
    assert said[6] == (
        "assay sweep spaces/mine.yaml --set resources.gpu=1 --address 10.0.0.1:23456 --store /shared/store"
    )
    assert said[7:] == ["ray ended", "ray ended"], "nothing is left behind"


def test_on_one_node_there_are_no_others(job):
    start, log = job
    assert start("--resume", "mine", nodes=1, CODE="0").wait(timeout=30) == 0
    assert [line.split()[0] for line in lines(log)] == ["srun", "ray", "-m", "-m", "assay", "ray"]


def test_no_sweep_is_started_where_a_node_is_missing(job):
    start, log = job
    assert start("mine.yaml", MISSING="3").wait(timeout=30) == 1
    assert not [line for line in lines(log) if line.startswith("assay")]
    assert lines(log)[-2:] == ["ray ended", "ray ended"]


def test_the_signal_before_the_end_of_the_time_lets_the_sweep_end_in_order(job):
    start, log = job
    process = start("mine.yaml")
    deadline = time.monotonic() + 30
    while not any(line.startswith("assay") for line in lines(log)) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)  # to the batch script alone, as B: says
    assert process.wait(timeout=30) == 0, "the sweep's own exit code"
    assert lines(log)[-3:] == ["assay stopped in order", "ray ended", "ray ended"]


def test_the_wait_ends_when_all_are_there_and_says_what_is_missing_when_they_are_not():
    answers = iter([SweepError("nothing answers there"), 1, 1, 3])

    def nodes() -> int:
        answer = next(answers)
        if isinstance(answer, SweepError):
            raise answer
        return answer

    wait_for_nodes.wait(nodes, 3, 60, every=0)
    with pytest.raises(SweepError, match="after 0 s 2 of 3 nodes have joined; look into the logs"):
        wait_for_nodes.wait(lambda: 2, 3, 0, every=0)


def test_a_head_that_does_not_answer_is_an_error_in_words(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["wait_for_nodes", "127.0.0.1:1", "2", "--minutes", "0"])
    with pytest.raises(SystemExit, match=r"Error: after 0 s cannot join the cluster at 127.0.0.1:1: nothing answers"):
        wait_for_nodes.main()
