"""Mounted folders that are not like a disk of one's own: no rights, no links, strange locks, and what is seen late."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.approval import records
from assay.approval.trust import register_chain
from assay.errors import StoreError
from assay.remote import mirror
from assay.store import trial_log
from assay.store.store import Store
from assay.store.trial_log import TrialLog

ASK = {"event": "ask", "assignment": {}, "parameters": {}, "distributions": {}, "attributes": {}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def masked() -> Iterator[None]:
    """Files are for the group as well, and for nobody else."""
    before = os.umask(0o007)
    yield
    os.umask(before)


def failing(number: int, times: int = 10**9, then: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A function that fails so often with an error of the system, then does as another one."""
    left = [times]

    def fail(*told: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(number, os.strerror(number))
        return then(*told, **more) if then else None

    return fail


def write_all(store: Store) -> None:
    """Everything that is written in a store: a file, its next version, the log, a lock."""
    for content in (b"old", b"new"):
        store.write("models/abc/manifest.json", content)
    with store.locked("sweeps/.toy.lock", "sweep 'toy'"):
        log = TrialLog(store, "toy")
        log.append({**ASK, "trial": 0})
        log.close()
    with store.near("models/abc") as near:
        near.write("report.html", b"")


def test_a_folder_that_takes_no_rights_and_no_times(store, monkeypatch):
    """FAT, and many mounts of NFS and of Windows."""
    for name in ("chmod", "fchmod", "chown", "fchown", "lchown", "utime"):
        monkeypatch.setattr(os, name, failing(errno.EPERM))
    write_all(store)
    assert store.read("models/abc/manifest.json") == b"new"
    assert len(trial_log.read(store, "toy")) == 1


def test_images_are_kept_on_a_disk_that_takes_no_links_no_rights_and_no_times(tmp_path, monkeypatch):
    for name in ("link", "chmod", "utime"):
        monkeypatch.setattr(os, name, failing(errno.EPERM))
    (tmp_path / "object").write_bytes(b"pixels")
    mirror._link(tmp_path / "object", tmp_path / "folder/a.png", 6)
    assert (tmp_path / "folder/a.png").read_bytes() == b"pixels"


def test_whoever_shares_a_folder_is_given_what_his_umask_says(store, masked):
    write_all(store)
    files = [path for path in store.path().rglob("*") if path.is_file()]
    folders = [path for path in store.path().rglob("*") if path.is_dir()]
    assert len(files) == 4, "manifest, report, log and lock"
    assert {path.stat().st_mode & 0o777 for path in files} == {0o660}
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o770}


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_another_machine_holds_is_one_however_it_is_said(store, monkeypatch, number):
    monkeypatch.setattr(fcntl, "flock", failing(number))
    with pytest.raises(StoreError, match=r"sweep 'toy' is running in .*; wait until it ends, or stop it"):
        store.locked("sweeps/.toy.lock", "sweep 'toy'").__enter__()


def test_a_file_that_another_machine_replaced_while_it_was_read_is_read_again(store, monkeypatch):
    store.write("a", b"new")
    with monkeypatch.context() as stale:
        stale.setattr(Path, "read_bytes", failing(errno.ESTALE, times=1, then=Path.read_bytes))
        assert store.read("a") == b"new"
    monkeypatch.setattr(Path, "read_bytes", failing(errno.ESTALE))
    with pytest.raises(StoreError, match="check the disk, then run the same command again"):
        store.read("a")


def test_a_log_that_another_machine_has_just_written_to_is_not_gone_on_with_unread(store, monkeypatch):
    """NFS shows a new name to other machines up to a minute late: what was read is then not all."""
    first = TrialLog(store, "toy")
    first.append({**ASK, "trial": 0})
    first.close()
    with monkeypatch.context() as late:
        late.setattr(Store, "names", lambda store, folder="": [])
        assert trial_log.read(store, "toy") == []
        with pytest.raises(StoreError, match="another machine has written to it; wait a minute, then run the same"):
            TrialLog(store, "toy").append({**ASK, "trial": 0})
    assert [event["trial"] for event in trial_log.read(store, "toy")] == [0], "nothing was lost or begun twice"
    second = TrialLog(store, "toy")
    second.append({**ASK, "trial": 1})
    second.close()
    assert sorted(trial_log.records(trial_log.read(store, "toy"))) == [0, 1]


def test_who_has_a_lock_has_changed_its_folder_by_which_its_names_are_asked_for_anew(store):
    """NFS looks again at a folder that this machine has changed, and else believes for up to a minute what it knew."""
    with store.locked("register/.a.lock", "a decision"):
        pass
    os.utime(store.path("register"), ns=(0, 0))
    with store.locked("register/.a.lock", "a decision"):
        assert store.path("register").stat().st_mtime_ns > 0
        assert [path.name for path in store.path("register").iterdir()] == [".a.lock"]


def test_a_record_that_was_seen_late_is_not_lost_and_leaves_no_gap(store, monkeypatch):
    about = {"name": "line-3", "dataset": None, "by": "-", "key": None}
    records.promoted(store, model="a" * 64, audit="a", **about)
    with monkeypatch.context() as late:
        late.setattr(Store, "names", lambda store, folder="": [])
        records.promoted(store, model="b" * 64, audit="b", **about)
    records.promoted(store, model="c" * 64, audit="c", **about)
    assert [one.model[0] for one in records.promotions(store)] == ["a", "b", "c"]
    assert records.gaps(store) == []
    assert len(register_chain.ends(store)) == 1, "the third follows both"
