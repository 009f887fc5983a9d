"""Fixtures that several test files use."""

from __future__ import annotations

import os
import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import toy_audit
from click.testing import CliRunner
from hypothesis import HealthCheck, settings
from signed_store import write_keys

from assay.audits import audit, suite
from assay.cli import main
from assay.reports import page
from assay.store.store import Store

# Ray makes its workers nicer than the tests that wait for them, and on a busy machine these would wait in vain.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray writes it so
# A machine whose cores are all busy, and whose disk has not read Ray before, may need longer than the 30 s Ray waits.
os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "120")
# Nor may a busy machine fail a test of properties: how long an example takes says nothing here.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
REPORT = runpy.run_path(str(Path(__file__).with_name("support") / "report_fixture.py"))


SLOW = (
    "test_lost_head.py", "test_sweep_ray.py", "test_sweep_faults.py", "test_audit_faults.py", "test_s3_main_job.py",
    "test_joined_cluster.py", "test_budget.py", "test_ray_up.py", "test_secrets.py", "test_fan_out.py",
    "test_full_disk.py",
    "test_forecast_on_cluster.py", "test_cli_sweep.py", "test_preemption.py", "test_capacity.py",
    "test_every_trainable_exported.py", "test_coverage.py",
)  # fmt: skip
"""Files that take minutes, the slowest first: most start clusters and wait for them."""


SPREAD = 0.7  # of all other files, between the slow ones


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow files are spread over the first part of the run, so that others use the cores while they wait.

    Begun last, they would be waited for when nothing else is left to run beside them.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    order = {name: place for place, name in enumerate(SLOW)}
    slow = sorted((path for path in files if path.name in order), key=lambda path: order[path.name])
    others = [path for path in files if path.name not in order]
    ahead = [len(others) * SPREAD * at / len(slow) for at in range(len(slow))]
    places = [*zip(ahead, slow, strict=True), *enumerate(others)]
    items[:] = [item for _, path in sorted(places, key=lambda place: place[0]) for item in files[path]]


@pytest.fixture(autouse=True)
def no_keys_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever keys are known on this machine count in no test."""
    monkeypatch.setenv("ASSAY_KEYS", "")


@pytest.fixture(scope="session")
def pristine_audit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undecided audit with hostile names in it: 60 samples, 3 attacks x 2 norms x 3 epsilons. Not to be changed."""
    return REPORT["build"](tmp_path_factory.mktemp("audit"))


@pytest.fixture
def audit_folder(pristine_audit_folder: Path, tmp_path: Path) -> Path:
    """A copy of that audit, for one test to change."""
    return Path(shutil.copytree(pristine_audit_folder, tmp_path / "audit"))


@pytest.fixture
def verdict_of():
    """A function PASS | FAIL | INVALID | INCONCLUSIVE -> the `verdict.json` for `audit_folder`, as a dictionary."""
    return REPORT["verdict"]


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded images go to a folder of this test session."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSAY_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def pristine_store(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Path:
    """A store with one toy model and its finished audit by the suite `tiny.yaml` beside it. Not to be changed."""
    folder = tmp_path_factory.mktemp("audited")
    store = Store(folder / "store")
    name = toy_audit.write_model(store, toy_audit.pictures(folder / "images"))
    audit.run(store, name, suite.read(toy_audit.write_suite(folder / "tiny.yaml")))
    return folder / "store"


@pytest.fixture
def store(pristine_store: Path, tmp_path: Path) -> Store:
    """A copy of that store, for one test to change."""
    return Store(shutil.copytree(pristine_store, tmp_path / "store"))


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private key and its public one, as files."""
    return write_keys(tmp_path_factory.mktemp("keys"), "signer")


@pytest.fixture
def run(store: Store) -> Callable[..., str]:
    """A function: words, exit code -> everything that the command printed about that store."""

    def run(*words: object, code: int = 0, env: dict[str, str] | None = None) -> str:
        result = CliRunner().invoke(main, [*map(str, words), "--store", str(store.root)], env=env)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.output

    return run


@pytest.fixture
def assay(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a command line on the empty store of this test; fails where it would start Ray."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, [*arguments, "--store", str(tmp_path / "store")])

    return run


@pytest.fixture
def plain_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report's figures take a second to draw; most tests of decisions do without."""
    monkeypatch.setattr(page, "write", lambda folder, output=None: folder.place("report.html"))


@pytest.fixture(scope="session")
def s3_service() -> Iterator[Any]:
    """An S3 server on loopback for the whole session."""
    import s3_server

    with s3_server.running() as service:
        yield service


@pytest.fixture
def s3(s3_service: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """That server without faults, and an environment in which it is found."""
    from assay.store import object_storage

    for name, value in s3_service.environment().items():
        monkeypatch.setenv(name, value)
    object_storage._client.cache_clear()
    yield s3_service
    s3_service.faults.clear()
    object_storage._client.cache_clear()
