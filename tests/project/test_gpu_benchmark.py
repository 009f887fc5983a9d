"""The benchmark for a GPU runs on a CPU as well, in an interpreter that has nothing but what its page asks for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from other_device import other_device

from assay.runtime.threads import one_thread

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import gpu  # noqa: E402
import gpu_parts  # noqa: E402

ABSENT = ("ray", "optuna", "wandb", "click", "rich", "jinja2", "matplotlib", "fsspec")
ALONE = f"""
import runpy, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
sys.argv = ["gpu.py", "--cpu"]
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
runpy.run_path({str(ROOT / "benchmarks" / "gpu.py")!r}, run_name="__main__")
"""


def test_every_phase_runs_without_ray():
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=600, env=environment, check=False
    )
    told = dict(re.findall(r"^RESULT (\w+) (.*)$", done.stdout, re.MULTILINE))
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(told) == ["placement", "scores", "strength", "checks", "cobra", "audit", "pseudo", "memory", "start"]
    broken = {name: line for name, line in told.items() if re.search("failed=|lacks=|complete=0", line)}
    assert not broken, (broken, done.stderr[-2000:])
    assert re.fullmatch(r"tried=\d+ errors=0", told["placement"]), done.stdout
    assert "failed_cpu=0" in told["checks"]


class Tiny(gpu_parts.Scale):
    """As small as on a CPU, on the device that poses as a GPU."""

    def __init__(self) -> None:
        super().__init__("cpu")
        self.device = "cuda"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("phase", ["strength", "cobra", "audit", "pseudo"])
def test_a_phase_keeps_to_the_device(phase):
    found: dict[str, object] = {}
    with other_device(), one_thread():
        gpu.PHASES[phase][1](found, Tiny())
    assert found
