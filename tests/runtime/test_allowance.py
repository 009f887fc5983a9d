"""A process counts the cores and bytes that it may use, whatever the machine has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assay.runtime import allowance

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def groups(root: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A fake mount of control groups, and the file that names the process's own."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "self").write_text(own)
    return root, root / "self"


CASES = {
    "container": ("0::/\n", {"cpu.max": "200000 100000", "memory.max": "1000000"}, 2, 1000000),
    "share of a core": ("0::/\n", {"cpu.max": "30000 100000", "memory.max": "max"}, 1, MACHINE),
    "no limit": ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, 64, MACHINE),
    "nested": (
        "0::/slurm/job_1/step_0\n",
        {
            "slurm/job_1/cpu.max": "300000 100000",
            "slurm/job_1/step_0/cpu.max": "max 100000",
            "slurm/memory.max": "5000",
        },
        3,
        5000,
    ),
    "the host's path": ("0::/docker/abc\n", {"cpu.max": "150000 100000", "memory.max": "7000"}, 2, 7000),
    "version 1": (
        "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n",
        {
            "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000",
            "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000",
            "memory/docker/abc/memory.limit_in_bytes": "9000",
            "memory/memory.limit_in_bytes": "9223372036854771712",
        },
        3,
        9000,
    ),
    "version 1 without limits": (
        "4:memory:/\n1:cpu:/\n",
        {
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": "9223372036854771712",
        },
        64,
        MACHINE,
    ),
    "nothing mounted": ("0::/\n", {}, 64, MACHINE),
}


@pytest.mark.parametrize("case", CASES)
def test_quotas_of_control_groups_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    own, files, cores, memory = CASES[case]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    root = groups(tmp_path, own, files)
    assert allowance.cores(*root) == cores
    assert allowance.memory(*root) == memory


def test_affinity_counts() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    code += "from assay.runtime import allowance; print(allowance.cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
