"""A memory limit below what a trial needs is refused with both numbers before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
import toy_runs
import yaml

from assay import shelves
from assay.config import reader, search_space
from assay.data import splits
from assay.runtime import allowance
from assay.sweeps import least_memory, sweep

GB = 2**30
OF_OTHERS = ("anomalib", "ensemble", "tiled")
"""Trainables that are made of others, which cannot be built without any."""
LARGE = {"cobra": {"backbone": {"resnet18": {}}}}


def spec(tmp_path: Path, **changes: object) -> search_space.Spec:
    raw = toy_runs.search_space(tmp_path, **changes)
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(raw))
    return reader.read(tmp_path / "toy.yaml")


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_a_limit_below_what_one_trial_needs_is_refused_with_both_numbers(assay, tmp_path, monkeypatch, words):
    spec(tmp_path)
    monkeypatch.setattr(allowance, "memory", lambda: int(0.8 * GB))
    monkeypatch.setattr(least_memory, "weights", lambda *_: int(1.25 * GB))
    result = assay("sweep", str(tmp_path / "toy.yaml"), *words)
    assert result.exit_code == 1
    assert "a trial needs at least 2 GB of memory" in result.stderr
    assert (
        "weights 1.2, Ray and PyTorch 0.75), and this process may use 0.8 GB; raise the memory limit" in result.stderr
    )
    assert not ray.is_initialized()
    assert not list((tmp_path / "store").glob("sweeps/*/spec.yaml"))


def test_images_and_the_smallest_detector_count(tmp_path):
    both = {"trainable": {"choice": [LARGE, {"toy_runs:Runs": {}}]}, "fixed": {}, "space": {}}
    found = spec(tmp_path, **both)
    data = splits.training_data(sweep.dataset(found, resume=False))
    small = least_memory.weights(spec(tmp_path), data)
    assert small == least_memory.COPIES * 4 * sum(
        one.numel() for one in [*toy_runs.Net().parameters(), *toy_runs.Net().buffers()]
    )
    images = sum(part.pixels.nbytes for part in (data.train, data.validation, data.labelled))
    need = images + small + least_memory.LEAST_MEMORY
    for spare, refused in ((-1, True), (0, False)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(allowance, "memory", lambda: need + spare)  # noqa: B023 - called at once
            if refused:
                with pytest.raises(
                    least_memory.SweepError,
                    match=r"at least 0.75 GB of memory \(Ray and PyTorch 0.75\), and this process may use 0.75 GB",
                ):
                    least_memory.require(found, data)
            else:
                least_memory.require(found, data)


@pytest.mark.parametrize("name", [name for name in shelves.names("trainables") if name not in OF_OTHERS])
def test_the_weights_of_every_trainable_are_known_without_its_data(tmp_path, name):
    alone = spec(tmp_path, trainable=name, fixed={}, space={})
    data = splits.training_data(sweep.dataset(alone, resume=False))
    assert least_memory.weights(alone, data) > 0
