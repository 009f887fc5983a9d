"""Machines on which Ray would fail late or in words of its own: it works, or one line names what to set, at once."""

from __future__ import annotations

import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import ray
from ray._private import services

from assay.cluster import address, connection, local_limits, session_folder
from assay.errors import SweepError
from assay.runtime import allowance

GB = 2**30
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def started(monkeypatch):
    """What Ray would have been started with; nothing is started."""
    given: list[dict] = []

    def init(**options):
        given.append(options)
        raise ConnectionError("not started")

    monkeypatch.setattr("ray.init", init)
    return given


def refused(address: str | None = None) -> str:
    with pytest.raises(SweepError) as raised, connection.connected(address):
        pass
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def temporary(monkeypatch):
    """Sets the system's folder for temporary files."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    return lambda folder: monkeypatch.setattr(tempfile, "tempdir", str(folder))


def test_sessions_lie_in_tmp_where_the_path_of_temporary_files_is_too_long_for_sockets(tmp_path, temporary):
    temporary(tmp_path / ("x" * 80))
    assert session_folder.own_folder() == f"/tmp/assay-ray-{os.getuid()}"


def test_the_longest_path_that_is_taken_is_one_that_ray_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(session_folder, "SHORT", tmp_path)
    longest = Path("/tmp") / ("x" * 200)
    longest = Path(str(longest)[: len(str(longest)) + session_folder.room(longest)])
    assert session_folder.room(longest) == 0
    names = "session_2026-11-29_15-25-38_808069_4194304/sockets"
    for socket_name in ("plasma_store", "raylet"):
        ray._private.utils.validate_socket_filepath(str(longest / names / socket_name))
    with pytest.raises(OSError, match="AF_UNIX path length"):
        ray._private.utils.validate_socket_filepath(f"{longest}x/{names}/plasma_store")


def test_a_folder_for_ray_that_is_too_long_or_cannot_be_written_is_refused_by_its_variable(
    tmp_path, monkeypatch, started
):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 80)))
    assert re.search(r"too long by \d+ bytes .* set RAY_TMPDIR to a folder with a shorter one", refused())
    file = Path(tempfile.mkdtemp(dir="/tmp")) / "file"
    file.touch()
    monkeypatch.setenv("RAY_TMPDIR", str(file))
    try:
        assert "Not a directory; set RAY_TMPDIR to a folder that can be written to" in refused()
    finally:
        shutil.rmtree(file.parent)
    assert started == [], "before anything was started"


@pytest.mark.parametrize("form", ["http://127.0.0.1:8265", "ray://head:10001", "head", "head:port"])
def test_an_address_of_another_kind_is_refused_at_once(started, form):
    assert refused(form).startswith(f"cannot join the cluster at {form}: ")
    assert started == []


@pytest.mark.parametrize(
    "error",
    [
        Exception("The current node timed out during startup. This could happen because some of the raylet"),
        RuntimeError("Timed out waiting for file /tmp/session_1/gcs_server_port_db"),
    ],
)
def test_a_cluster_that_does_not_start_is_told_with_what_it_may_lack(monkeypatch, error):
    """Seen where a user may have 60 processes, and where 40 files may be open."""

    def init(**_):
        raise error

    monkeypatch.setattr("ray.init", init)
    told = refused()
    assert told.startswith("cannot start or join a local Ray cluster: its processes did not start in time.")
    assert "`ulimit -u`" in told


def dead_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("asked", ["itself", "auto"])
def test_an_address_left_over_from_another_cluster_is_named(monkeypatch, started, asked):
    """Ray would try for minutes and then end the process."""
    dead = dead_port()
    assert refused(dead).endswith("was given another)"), "the user gave it"
    monkeypatch.setenv("RAY_ADDRESS", dead)
    told = refused(dead if asked == "itself" else "auto")
    assert f"cannot join the cluster at {dead}: nothing answers there" in told
    assert told.endswith("RAY_ADDRESS says so: unset it to run on this machine's cores")
    assert started == []


def test_what_a_dead_cluster_of_this_machine_left_behind_is_named(monkeypatch, started, tmp_path):
    """`ray start --head` writes the file; a kill or a reboot leaves it, and Ray would wait for that cluster."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: frozenset())
    monkeypatch.setattr(services, "find_bootstrap_address", lambda _: None)
    assert refused("auto").startswith("no Ray runs on this machine; give --address HOST:PORT")
    dead = dead_port()
    monkeypatch.setattr(services, "find_bootstrap_address", lambda _: dead)
    assert re.search(f"cannot join the cluster at {dead}: .*ray_current_cluster says so, .*remove it", refused("auto"))
    assert started == []


def test_a_name_that_is_not_known_is_told_as_such(monkeypatch, started):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    assert "no machine of the name head is known here" in refused("head:6379")


def test_an_address_that_answers_is_left_to_ray(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        alive = f"127.0.0.1:{server.getsockname()[1]}"
        address.reach(alive)
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        monkeypatch.setattr(services, "find_gcs_addresses", lambda: frozenset({alive}))
        address.reach("auto")


def limited(monkeypatch, memory: int, shared: int = 64 * GB, files: int = 4096) -> None:
    monkeypatch.setattr(allowance, "memory", lambda: memory)
    monkeypatch.setattr(local_limits, "_shared", lambda: shared)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))


def test_a_machine_without_limits_is_left_to_ray(monkeypatch, caplog):
    limited(monkeypatch, MACHINE)
    assert local_limits.options() == {}
    assert not caplog.records


def test_a_limit_of_memory_below_what_ray_needs_is_refused_with_both_numbers(monkeypatch, started):
    limited(monkeypatch, GB // 2)
    assert "this process may use 0.5 GB of memory, and Ray with one worker needs at least 0.75 GB" in refused()
    assert started == []


def test_too_few_open_files_are_refused_with_both_numbers(monkeypatch, started):
    limited(monkeypatch, MACHINE, files=16)
    assert f"may open 16 files, and Ray needs at least {local_limits.LEAST_FILES}" in refused()
    assert started == []
    limited(monkeypatch, MACHINE, files=resource.RLIM_INFINITY)
    assert local_limits.options() == {}


@pytest.mark.parametrize("allowed", [1, 8, 32, 64, 500])
@pytest.mark.parametrize("shared", [0, 2**26, 16 * GB, 600 * GB])
def test_ray_takes_the_object_store_that_it_is_told_to_make(monkeypatch, tmp_path, allowed, shared):
    monkeypatch.setattr("ray._private.utils.get_shared_memory_bytes", lambda: shared)
    monkeypatch.setattr("ray._common.utils.get_system_memory", lambda: 1000 * GB)
    store = local_limits.object_store(allowed * GB, shared)
    assert store <= max(0.3 * allowed * GB, local_limits.LEAST_STORE)
    services.determine_plasma_store_config(store, str(tmp_path))


def test_small_shared_memory_is_told_with_what_to_give(monkeypatch, caplog):
    limited(monkeypatch, 8 * GB, shared=2**26)
    assert local_limits.options() == {"object_store_memory": int(2.4 * GB), "_memory": int(5.6 * GB)}
    [record] = caplog.records
    assert "/dev/shm has 0.062 GB" in record.getMessage()
    assert "--shm-size=2g" in record.getMessage()


ASK = """
import os
import ray
from assay.cluster.connection import connected
with connected(cpus=1):
    print(ray.get(ray.remote(lambda: 42).remote(), timeout=100), os.environ["RAY_AUTH_TOKEN_PATH"])
"""


def test_ray_works_behind_a_proxy_with_a_long_tmpdir_and_no_home(tmp_path):
    """In a process of its own, for Ray keeps the token it has once read."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")
    long = tmp_path / ("x" * 80)
    long.mkdir()
    left = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    left |= {**nowhere, "TMPDIR": str(long), "HOME": "/dev/null/home", "RAY_worker_niceness": "0"}
    done = subprocess.run([sys.executable, "-c", ASK], env=left, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["42", f"/tmp/assay-ray-{os.getuid()}/auth_token"], done.stderr
