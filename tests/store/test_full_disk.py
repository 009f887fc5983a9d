"""A disk that is full in the middle of a sweep or an audit: words, nothing half-written, and on when there is space.

The disk is a small tmpfs that the test mounts; more space is given by mounting it larger.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import toy_audit
from same_audit import differences
from sweep_process import Sweep, outcome, without_ray

from assay.audits import audit, progress_file, suite
from assay.errors import StoreError
from assay.store import trial_log
from assay.store.store import Store


class Disk:
    """A file system of its own for the folder of a store."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder

    def mount(self, size: int, *more: str) -> None:
        """Mount it, or with `remount` give it another size."""
        options = ",".join([*more, f"size={size}"])
        command = ["mount", "-t", "tmpfs", "-o", options, "assay-test", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted, which needs root: {done.stderr.strip()}")

    def unfinished(self) -> list[Path]:
        """Files that a writer left behind; locks are none, nor is the progress of an audit that stopped."""
        hidden = [path for path in self.folder.rglob(".*") if path.is_file() and path.suffix != ".lock"]
        return [path for path in hidden if path.name != progress_file.FILE]


@pytest.fixture
def disk(tmp_path):
    found = Disk(tmp_path / "store")
    yield found
    subprocess.run(["umount", "--lazy", str(found.folder)], capture_output=True, check=False, timeout=20)


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_sweep_on_a_full_disk(tmp_path, disk, own_cache):
    sweep = Sweep(tmp_path)
    found = sweep.write(search={"sampler": "random", "trials": 4, "seed": 0})
    expected = outcome(without_ray(found, Store(tmp_path / "whole")).records)
    disk.mount(used(tmp_path / "whole") // 2)
    code, output = sweep.run("toy.yaml")
    assert code == 1, output
    assert "no space left on the disk; free some and run the same command again" in output
    assert disk.unfinished() == []
    before = trial_log.records(sweep.events())  # it can be read
    assert {record.state for record in before.values()} != {"complete"}
    disk.mount(64 * 2**20, "remount")
    code, output = sweep.run("--resume", "toy")
    assert code == 0, output
    assert sweep.outcome() == expected


def test_an_audit_on_a_full_disk(tmp_path, disk, pristine_store):
    store = Store(pristine_store)
    [name] = store.names("models")
    model = store.path(f"models/{name}")
    attacks = suite.read(toy_audit.write_suite(tmp_path / "tiny.yaml"))
    [whole] = [path for path in store.path("audits").iterdir() if path.is_dir()]
    disk.mount(used(model) + used(whole) // 3)
    small = Store(disk.folder)
    for path in model.iterdir():
        small.write(f"models/{name}/{path.name}", path.read_bytes())
    with pytest.raises(StoreError, match="no space left on the disk; free some and run the same command again"):
        audit.run(small, name, attacks)
    assert disk.unfinished() == []
    assert not list(disk.folder.glob("audits/*/audit.yaml")), "an audit that is not there whole is not told as one"
    parts = {path: path.stat().st_mtime_ns for path in disk.folder.glob("audits/*/scores/*/*.parquet")}
    assert parts
    disk.mount(64 * 2**20, "remount")
    done = audit.run(small, name, attacks)
    assert differences(small.path(f"audits/{done}"), whole) == []
    assert {path: path.stat().st_mtime_ns for path in parts} == parts, "what was there was computed again"
