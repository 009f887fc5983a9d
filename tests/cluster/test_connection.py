"""Which versions may differ between driver and worker, and what is told of Ray's reasons not to join."""

from __future__ import annotations

import json
import sys

import pytest
import ray
from ray._private import utils
from ray._private.runtime_env import packaging, py_modules

from assay.cluster import connection, ray_failures
from assay.errors import SweepError
from assay.runtime import versions


def faults_of_a_tensor() -> float:
    """Pages that the system had to clear for a tensor of 64 MB, once the heap has grown; it has 16,384."""
    import resource

    import torch

    for count in range(60):
        if count == 30:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(64 * 2**18)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 30


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a matter of glibc's malloc")
def test_a_worker_makes_its_tensors_of_memory_that_it_freed_before(monkeypatch):
    for name in connection.MALLOC:
        monkeypatch.delenv(name, raising=False)
    with connection.connected(cpus=1):
        assert ray.get(ray.remote(faults_of_a_tensor).remote(), timeout=120) < 2000
    assert connection.code()["env_vars"].items() >= connection.MALLOC.items()


DRIVER = {
    "assay": "abc", "python": "3.11.9", "ray": "2.60.1", "torch": "2.13.0+cpu", "numpy": "2.4.1", "pyarrow": "21.0.0",
    "safetensors": "0.5.3", "pillow": "12.0.1", "scipy": "1.16.0", "scikit-learn": "1.7.0",
}  # fmt: skip


@pytest.mark.parametrize(
    "worker",
    [
        {},
        {"python": "3.11.2"},
        {"torch": "2.13.0+cu130"},
        {"numpy": "2.4.9"},
        {"pyarrow": "21.3.1"},
        {"pillow": "12.0.9"},
    ],
)
def test_what_decides_no_figure_may_differ(worker):
    assert versions.differences(DRIVER, {**DRIVER, **worker}) == []


@pytest.mark.parametrize(
    ("name", "version"),
    [("python", "3.12.9"), ("ray", "2.60.0"), ("torch", "2.13.1"), ("numpy", "1.26.4"), ("pyarrow", "20.0.0"),
     ("safetensors", "0.4.0"), ("assay", "abd"), ("pillow", "11.9.0"), ("scipy", "1.15.0"), ("scikit-learn", "1.8.0")],
)  # fmt: skip
def test_what_decides_figures_and_formats_may_not_differ(name, version):
    assert versions.differences(DRIVER, {**DRIVER, name: version}) == [f"{name} {version} (the driver: {DRIVER[name]})"]


def test_a_library_that_a_node_lacks_is_named():
    lacking = {name: version for name, version in DRIVER.items() if name != "safetensors"}
    assert versions.differences(DRIVER, lacking) == ["safetensors not installed (the driver: 0.5.3)"]


def test_a_worker_refuses_to_work_for_a_driver_with_other_versions(monkeypatch):
    versions.check()  # no driver has told: a worker of this machine
    monkeypatch.setenv(*next(iter(versions.variable().items())))
    versions.check()
    monkeypatch.setenv(versions.VARIABLE, json.dumps({**versions.here(), "torch": "1.0.0"}))
    with pytest.raises(SweepError, match=r"the machine of this worker has torch \S+ \(the driver: 1.0.0\)"):
        versions.check()


def test_ray_s_own_refusal_of_a_version_names_both():
    ours = utils.compute_version_info()
    with pytest.raises(RuntimeError) as raised:
        utils.check_version_info({"ray_version": "2.50.0", "python_version": ours[1]}, "here")
    told = ray_failures.reason(raised.value)
    assert told == f"it runs Ray 2.50.0, here {ours[0]}; install the same on both"


def test_a_package_too_large_to_be_sent_is_named_with_the_way_out(tmp_path, monkeypatch):
    package = tmp_path / "own_package"
    package.mkdir()
    (package / "data.bin").write_bytes(b"x" * 5000)
    monkeypatch.setattr(packaging, "GCS_STORAGE_MAX_SIZE", 1000)
    monkeypatch.setattr(packaging, "package_exists", lambda uri: False)
    monkeypatch.setattr(packaging, "pin_runtime_env_uri", lambda uri: None)
    with pytest.raises(ray.exceptions.RuntimeEnvSetupError) as raised:
        py_modules.upload_py_modules_if_needed({"py_modules": [str(package)]}, True, scratch_dir=str(tmp_path))
    told = ray_failures.reason(raised.value)
    assert f"the code in {package} is 0.00MiB, and at most 0.00MiB can be sent" in told
    assert ".rayignore" in told


def test_other_errors_are_told_by_the_line_that_matters():
    assert ray_failures.reason(ConnectionError("ray could not\nbe found")).startswith("nothing answers there")
    assert ray_failures.reason(ValueError("\nno such thing\nmore")) == "no such thing"
    assert ray_failures.reason(ValueError()) == "ValueError"
    assert ray_failures.reason(ray.exceptions.RuntimeEnvSetupError("at line 3\nno disk")) == "no disk"
