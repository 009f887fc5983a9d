"""The store: a file is there whole or not at all, and what goes wrong is said in words."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from assay import store as module
from assay.errors import InputError, StoreError
from assay.store import Store, canonical, digest


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def fail_with(monkeypatch, number, where=os, name="fsync"):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(where, name, refuse)


def test_what_is_written_is_read_again(store):
    path = store.write("models/abc/manifest.json", b'{"a": 1}')
    assert path == store.root / "models/abc/manifest.json"
    assert store.read("models/abc/manifest.json") == b'{"a": 1}'
    assert store.read_json("models/abc/manifest.json") == {"a": 1}
    assert store.exists("models/abc")
    assert not store.exists("models/abd")
    assert path.stat().st_mode & 0o777 == 0o644


def test_names_are_sorted_and_leave_out_unfinished_files(store):
    assert store.names("models") == []
    for name in ("b", "a", ".c.half"):
        store.write(f"models/{name}", b"")
    assert store.names("models") == ["a", "b"]
    assert store.names("models/a") == []


def test_remove_takes_a_file_away_and_minds_none_that_is_not_there(store):
    store.write("a/b", b"x")
    store.remove("a/b")
    store.remove("a/b")
    assert not store.exists("a/b")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_content_and_no_trace(store, monkeypatch, step):
    store.write("a/file", b"old")
    fail_with(monkeypatch, errno.ENOSPC, *((os, "fsync") if step == "fsync" else (Path, "replace")))
    with pytest.raises(StoreError, match=r"a/file: no space left on the disk; free some and run"):
        store.write("a/file", b"new")
    assert store.read("a/file") == b"old"
    assert [path.name for path in (store.root / "a").iterdir()] == ["file"]


def test_a_process_killed_while_writing_leaves_the_old_content(store):
    store.write("a/file", b"old")
    code = (
        "import os, signal; from assay.store import Store\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"Store({str(store.root)!r}).write('a/file', b'new')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert store.read("a/file") == b"old"
    assert store.names("a") == ["file"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_what_may_not_be_written_is_said_with_what_to_do(store, monkeypatch, number):
    fail_with(monkeypatch, number, module.tempfile, "mkstemp")
    with pytest.raises(StoreError, match=r"a/file: not allowed .*; give another folder with --store or change its"):
        store.write("a/file", b"new")


def test_other_errors_are_named(store, monkeypatch):
    fail_with(monkeypatch, errno.EIO, Path, "read_bytes")
    with pytest.raises(StoreError, match="a/file: Input/output error; check the disk"):
        store.read("a/file")


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(StoreError, match="a file is where a folder is wanted"):
        Store(tmp_path / "store").write("models/a", b"")
    other = Store(tmp_path / "other")
    other.write("models", b"not a folder")
    with pytest.raises(StoreError, match="a file is where a folder is wanted"):
        other.write("models/a", b"")
    with pytest.raises(StoreError, match="a file is where a folder is wanted"):
        other.read("models/a")


def test_a_missing_file_is_said_to_be_missing(store):
    with pytest.raises(StoreError, match=r"models/x: there is no such file"):
        store.read("models/x")


def test_a_damaged_json_file(store):
    store.write("a.json", b'{"a": ')
    with pytest.raises(StoreError, match=r"a\.json is not valid JSON .*damaged or cut short"):
        store.read_json("a.json")


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", "models/../../x", "link/x"])
@pytest.mark.parametrize("action", ["read", "write", "exists", "names", "remove"])
def test_keys_stay_inside_the_store(store, key, action):
    store.root.mkdir()
    (store.root / "link").symlink_to("/")
    arguments = (b"",) if action == "write" else ()
    with pytest.raises(InputError, match="points outside the store"):
        getattr(store, action)(key, *arguments)


@pytest.mark.parametrize("url", ["s3://bucket/assay", "gs://bucket"])
def test_a_url_is_refused(url):
    with pytest.raises(InputError, match=r"is a URL; only a local or mounted folder"):
        Store(url)


def test_a_lock_is_for_one_and_ends_with_its_process(store):
    code = (
        "import os, signal, sys; from assay.store import Store\n"
        f"with Store({str(store.root)!r}).locked('sweeps/.toy.lock', 'toy'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match=r"sweep 'toy' is running in .*; wait until it ends, or stop it"):
            store.locked("sweeps/.toy.lock", "sweep 'toy'").__enter__()
    finally:
        other.kill()
        other.communicate()
    with store.locked("sweeps/.toy.lock", "sweep 'toy'"):
        assert store.names("sweeps") == []


def test_canonical_text_has_one_form_and_no_nan():
    assert canonical({"b": [1, 2.5], "a": None}) == b'{"a":null,"b":[1,2.5]}'
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    with pytest.raises(ValueError):
        canonical(float("nan"))
