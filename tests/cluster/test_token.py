"""Who may look into the sessions of a local cluster: from the moment that they are made, their user alone."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from assay.cluster import connection, session_folder, token
from assay.errors import SweepError


@pytest.fixture
def base(monkeypatch):
    """A folder whose path is short enough for the sockets of Ray, which that of a test is not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_folder_of_sessions_is_its_users_alone(base, umask):
    before = os.umask(umask)
    try:
        path = session_folder.own_folder()
    finally:
        os.umask(before)
    assert path.startswith(str(base))
    Path(path).chmod(0o777)
    assert session_folder.own_folder() == path, "it is there already"
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o700


def test_a_link_or_a_file_in_its_place_is_refused(base):
    (base / "elsewhere").mkdir()
    path = base / f"assay-ray-{os.getuid()}"
    path.symlink_to(base / "elsewhere")
    with pytest.raises(SweepError, match="is not a folder of yours"):
        session_folder.own_folder()
    path.unlink()
    path.touch()
    with pytest.raises(SweepError, match="is not a folder of yours"):
        session_folder.own_folder()


def test_a_local_cluster_is_started_in_it(base, monkeypatch):
    given = {}

    def init(**options):
        given.update(options)
        raise ConnectionError("not started")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(SweepError, match="cannot start"), connection.connected():
        pass
    assert given["_temp_dir"] == session_folder.own_folder()


@pytest.fixture
def homeless(tmp_path, monkeypatch):
    """No token from elsewhere, and RAY_AUTH_TOKEN_PATH put back afterwards; the folder of the home."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "to be put back")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_token_is_left_to_ray_where_there_is_a_home(homeless, tmp_path):
    homeless.mkdir()
    token.keep_in(str(tmp_path))
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ


@pytest.mark.parametrize("home", ["a file", "unset", "empty"])
def test_without_a_home_the_token_lies_beside_the_sessions(homeless, tmp_path, monkeypatch, home):
    if home == "a file":  # root may write to any folder
        homeless.touch()
    elif home == "unset":
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", "")
    token.keep_in(str(tmp_path))
    path = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert path.parent == tmp_path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = path.read_text()
    assert len(first) == 64
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    token.keep_in(str(tmp_path))
    assert path.read_text() == first, "another run on this machine takes the same"


def test_a_token_that_was_given_stays(homeless, tmp_path, monkeypatch):
    homeless.touch()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "abc")
    token.keep_in(str(tmp_path))
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ
