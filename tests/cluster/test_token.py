"""Who may look into the sessions of a local cluster: from the moment that they are made, their user alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from assay.cluster import connection, token
from assay.errors import SweepError


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_folder_of_sessions_is_its_users_alone(base, umask):
    before = os.umask(umask)
    try:
        path = token.own_folder()
    finally:
        os.umask(before)
    assert path.startswith(str(base))
    Path(path).chmod(0o777)
    assert token.own_folder() == path, "it is there already"
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o700


def test_a_link_or_a_file_in_its_place_is_refused(base):
    (base / "elsewhere").mkdir()
    path = base / f"assay-ray-{os.getuid()}"
    path.symlink_to(base / "elsewhere")
    with pytest.raises(SweepError, match="is not a folder of yours"):
        token.own_folder()
    path.unlink()
    path.touch()
    with pytest.raises(SweepError, match="is not a folder of yours"):
        token.own_folder()


def test_a_local_cluster_is_started_in_it(base, monkeypatch):
    given = {}

    def init(**options):
        given.update(options)
        raise ConnectionError("not started")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(SweepError, match="cannot start"), connection.connected():
        pass
    assert given["_temp_dir"] == token.own_folder()
