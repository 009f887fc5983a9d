"""Images that would fill Ray's object store go in blocks to a file of each node; the figures are the same."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import ray

from assay.cluster import fast_disk, image_blocks, session_folder
from assay.cluster.image_blocks import Blocks
from assay.contracts import Images, TrainingData
from assay.errors import DataError

STORE = 80 * 2**20


def images(count: int, side: int = 512) -> Images:
    pixels = np.random.default_rng(count).integers(0, 256, (count, 1, side, side), np.uint8)
    names = tuple(map(str, range(count)))
    return Images(pixels, np.zeros(count, np.int64), names, names, names)


@pytest.fixture(scope="module")
def cluster():
    """A Ray whose object store is as small as Ray lets it be."""
    options = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": STORE, "log_to_driver": False}
    ray.init("local", **options, _temp_dir=session_folder.own_folder())
    yield
    ray.shutdown()


@pytest.fixture
def places(monkeypatch, tmp_path) -> Path:
    """The one disk that is looked at."""
    monkeypatch.setattr(fast_disk, "SPILL", tmp_path / "none")
    monkeypatch.setattr(fast_disk.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(fast_disk, "_in_memory", set)
    return tmp_path


@ray.remote(max_calls=1)
def seen(held: list, temporary: str) -> tuple[str, bool, str, int]:
    """What a worker sees: a digest of pixels, whether they are mapped from disk, where, and how many sets lie there."""
    from assay.hashing import digest

    fast_disk.SPILL = Path(temporary) / "none"
    fast_disk.tempfile.gettempdir = lambda: temporary
    fast_disk._in_memory = set
    sent = ray.get(held[0])
    data = image_blocks.here(sent)
    told = digest(data.train.pixels.tobytes() + data.validation.pixels.tobytes())
    there = image_blocks.place(sent)
    return told, isinstance(data.train.pixels, np.memmap), str(there or ""), len(list(there.iterdir())) if there else 0


def test_what_fits_goes_through_the_store_and_what_does_not_in_blocks(cluster, places, monkeypatch):
    from assay.hashing import digest

    monkeypatch.setattr(image_blocks, "BLOCK", 8 * 2**20)
    small = TrainingData(images(8), images(2), {"hash": "small"})
    assert isinstance(image_blocks.sent(small), TrainingData)
    large = TrainingData(images(500), images(30), {"hash": "large"})  # 139 MB
    sent = image_blocks.sent(large)
    assert isinstance(sent, Blocks)
    assert len(sent.pixels["train"][1]) == 16
    held = [ray.put(sent)]
    answers = ray.get([seen.remote(held, str(places)) for _ in range(4)])
    wanted = digest(large.train.pixels.tobytes() + large.validation.pixels.tobytes())
    folder = str(places / f"assay-blocks-{os.getuid()}")
    assert set(answers) == {(wanted, True, folder, 1)}, "one file a node, the same pixels"
    again = [ray.put(image_blocks.sent(large))]
    assert ray.get(seen.remote(again, str(places)))[3] == 1, "what no process uses any more is removed"


def test_what_a_process_uses_stays(places, cluster, monkeypatch):
    monkeypatch.setattr(image_blocks, "SHARE", 0.0)
    first, second = (image_blocks.sent(TrainingData(images(n), images(2), {"hash": ""})) for n in (3, 4))
    kept = image_blocks.here(first)
    image_blocks.here(second)
    folder = image_blocks.place(first)
    assert folder
    assert len(list(folder.iterdir())) == 2
    assert np.array_equal(kept.train.pixels, images(3).pixels)
    assert len(kept.labelled) == 0


def test_a_disk_that_is_full_is_an_error_in_words(places, cluster, monkeypatch):
    monkeypatch.setattr(image_blocks, "SHARE", 0.0)
    sent = image_blocks.sent(TrainingData(images(3), images(2), {"hash": ""}))
    usage = fast_disk.shutil.disk_usage(places)
    monkeypatch.setattr(fast_disk.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"no disk of .* has room for .*; free some, or set ASSAY_CACHE"):
        image_blocks.here(sent)


def test_the_fastest_of_several_disks_is_taken(monkeypatch, tmp_path):
    speeds = {"slow": 1.0, "fast": 9.0}
    for name in speeds:
        (tmp_path / name).mkdir()
    devices = iter(range(100))
    monkeypatch.setattr(fast_disk, "_in_memory", set)
    monkeypatch.setattr(fast_disk, "_speed", lambda folder: speeds[folder.parent.name])
    stat = Path.stat
    device = {name: number for number, name in enumerate(speeds)}

    def told(path, **options):
        found = stat(path, **options)
        name = path.parent.name if path.name.startswith("assay-blocks") else path.name
        return _Stat(found, device.get(name, next(devices) + 50))

    monkeypatch.setattr(Path, "stat", told)
    assert fast_disk.fastest(1000, [tmp_path / "slow", tmp_path / "fast"]).folder.parent.name == "fast"


class _Stat:
    def __init__(self, found, device: int) -> None:
        self.found, self.st_dev = found, device

    def __getattr__(self, name: str):
        return getattr(self.found, name)


def test_memory_is_no_disk():
    if not Path("/dev/shm").is_dir():
        pytest.skip("this machine has no /dev/shm")
    assert fast_disk.folders([Path("/dev/shm")]) == []


def test_the_spilling_folder_is_that_of_the_cluster_files():
    repo = Path(__file__).parents[2]
    for file in ("cluster.yaml", "docs/cluster-company.yaml", "docs/cluster-gcp.yaml"):
        assert f"--object-spilling-directory={fast_disk.SPILL}" in (repo / file).read_text(encoding="utf-8"), file
