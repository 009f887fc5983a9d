"""The store: a file is there whole or not at all, and what goes wrong is said in words."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from pyarrow import fs

from assay.errors import InputError, StoreError
from assay.hashing import canonical, digest
from assay.store import local as module
from assay.store import object_storage
from assay.store.store import Store

BUCKETS = itertools.count()


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(scope="session")
def gs_service() -> Iterator[str]:
    """Google's storage, imitated on loopback: host and port."""
    server = pytest.importorskip("gcp_storage_emulator.server", reason="needs the package gcp-storage-emulator")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = server.create_server("127.0.0.1", port, in_memory=True)
    service.start()
    yield f"127.0.0.1:{port}"
    service.stop()


@pytest.fixture
def gs(gs_service, monkeypatch) -> str:
    """The name of a new bucket there."""
    client = fs.GcsFileSystem(anonymous=True, scheme="http", endpoint_override=gs_service)
    monkeypatch.setattr(object_storage, "_client", lambda scheme, bucket: client)
    name = f"bucket-{next(BUCKETS)}"
    body = json.dumps({"name": name}).encode()
    asked = Request(f"http://{gs_service}/storage/v1/b", body, {"Content-Type": "application/json"})
    urlopen(asked, timeout=20).close()
    return name


@pytest.fixture(params=["folder", "s3", "gs"])
def either(request, tmp_path) -> Store:
    """A store of each kind: the same is expected of all."""
    if request.param == "folder":
        return Store(tmp_path / "store")
    if request.param == "gs":
        return Store(f"gs://{request.getfixturevalue('gs')}/some/prefix")
    return Store(f"s3://{request.getfixturevalue('s3').bucket()}/some/prefix")


def fail_with(monkeypatch, number, where=os, name="fsync"):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(where, name, refuse)


def test_what_is_written_is_read_again(either):
    either.write("models/abc/manifest.json", b'{"a": 1}')
    assert either.read("models/abc/manifest.json") == b'{"a": 1}'
    assert either.read_json("models/abc/manifest.json") == {"a": 1}
    assert either.exists("models/abc")
    assert not either.exists("models/ab")
    either.write("models/abc/manifest.json", b"")
    assert either.read("models/abc/manifest.json") == b""
    assert Store(either.root).names("models") == ["abc"], "its root makes the same store"


def test_a_written_file_may_be_read_by_all(store):
    store.write("models/abc", b"")
    assert store.path("models/abc").stat().st_mode & 0o777 == 0o644


def test_names_are_sorted_and_leave_out_unfinished_files(either):
    assert either.names("models") == []
    for name in ("b", "a", ".c.half", "folder/x"):
        either.write(f"models/{name}", b"")
    assert either.names("models") == ["a", "b", "folder"]
    assert either.names("models/a") == []
    assert either.names() == ["models"]


def test_all_files_below_a_folder(either):
    assert either.walk("scores") == []
    for name in ("b/2", "a", "b/1", ".half", ".hidden/x", "b/.half"):
        either.write(f"scores/{name}", b"")
    assert either.walk("scores") == ["a", "b/1", "b/2"]
    assert either.walk() == ["scores/a", "scores/b/1", "scores/b/2"]


def test_a_folder_of_a_store_is_a_store(either):
    either.write("audits/one/audit.yaml", b"x")
    below = either.below("audits/one")
    assert below.read("audit.yaml") == b"x"
    assert below.place("audit.yaml") == either.place("audits/one/audit.yaml") == f"{either.root}/audits/one/audit.yaml"
    below.write("verdict.json", b"{}")
    assert either.names("audits/one") == ["audit.yaml", "verdict.json"]
    assert below.up(2).root == either.root


def test_when_files_were_written(either):
    for name in ("a", "b"):
        either.write(f"x/{name}", b"")
        time.sleep(1.1)  # S3 tells whole seconds
    found = either.modified(["x/b", "x/a", "x/c"])
    assert found.keys() == {"x/a", "x/b"}
    assert abs(time.time() - found["x/b"]) < 60
    assert found["x/a"] < found["x/b"]


def test_near_a_folder_can_be_read_by_path_and_written_through(either):
    either.write("audits/one/scores/part", b"x")
    either.write("audits/one/gone", b"y")
    with either.near("audits/one") as near:
        assert near.path("scores/part").read_bytes() == b"x"
        assert near.place("scores/part") == either.place("audits/one/scores/part"), "a person is told the real place"
        assert near.root == either.below("audits/one").root
        near.write("report.html", b"page")
        near.remove("gone")
        assert near.path("report.html").read_bytes() == b"page"
        with near.near() as same:
            assert same is near
        with pytest.raises(StoreError, match=re.escape(f"{either.root}/audits/one/no")):
            near.read("no")
    assert either.walk("audits/one") == ["report.html", "scores/part"]


def test_remove_takes_a_file_away_and_minds_none_that_is_not_there(either):
    either.write("a/b", b"x")
    either.remove("a/b")
    either.remove("a/b")
    assert not either.exists("a/b")
    assert either.names("a") == []


def test_whether_it_can_be_written_leaves_nothing_behind(either):
    either.require_writable()
    assert either.walk() == either.names() == []


def test_a_link_inside_the_store_is_replaced_and_not_followed(tmp_path):
    store = Store(tmp_path)
    store.write("models/m/manifest.json", b"model")
    (tmp_path / "audits/a").mkdir(parents=True)
    link = tmp_path / "audits/a/verdict.json"
    link.symlink_to(tmp_path / "models/m/manifest.json")
    store.write("audits/a/verdict.json", b"verdict")
    assert not link.is_symlink()
    assert (store.read("audits/a/verdict.json"), store.read("models/m/manifest.json")) == (b"verdict", b"model")
    link.unlink()
    link.symlink_to(tmp_path / "models/m/manifest.json")
    store.remove("audits/a/verdict.json")
    assert not link.is_symlink()
    assert store.read("models/m/manifest.json") == b"model"


@pytest.mark.parametrize("action", ["write", "remove"])
def test_nothing_is_written_behind_a_folder_that_is_a_link(tmp_path, action):
    store = Store(tmp_path)
    store.write("models/m/manifest.json", b"model")
    (tmp_path / "audits").mkdir()
    (tmp_path / "audits/a").symlink_to(tmp_path / "models/m")
    with pytest.raises(InputError, match=r"'audits/a/manifest\.json' lies behind a link within the store"):
        getattr(store, action)("audits/a/manifest.json", *((b"",) if action == "write" else ()))
    assert store.read("models/m/manifest.json") == b"model"


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o027, 0o640), (0o022, 0o644)])
def test_files_are_as_open_as_the_umask_lets_them_be(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        Store(tmp_path).write("a/b", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == mode


def test_json_and_yaml_nested_deeply_are_damage(tmp_path):
    store = Store(tmp_path)
    store.write("deep", b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(StoreError, match="is not valid JSON"):
        store.read_json("deep")
    with pytest.raises(StoreError, match="is not valid YAML"):
        store.read_yaml("deep")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_content_and_no_trace(store, monkeypatch, step):
    store.write("a/file", b"old")
    fail_with(monkeypatch, errno.ENOSPC, *((os, "fsync") if step == "fsync" else (Path, "replace")))
    with pytest.raises(StoreError, match=r"a/file: no space left on the disk; free some and run"):
        store.write("a/file", b"new")
    assert store.read("a/file") == b"old"
    assert [path.name for path in store.path("a").iterdir()] == ["file"]


def test_a_process_killed_while_writing_leaves_the_old_content(store):
    store.write("a/file", b"old")
    code = (
        "import os, signal; from assay.store.store import Store\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"Store({store.root!r}).write('a/file', b'new')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert store.read("a/file") == b"old"
    assert store.names("a") == ["file"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_what_may_not_be_written_is_said_with_what_to_do(store, monkeypatch, number):
    fail_with(monkeypatch, number, module.os, "open")
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


def test_a_missing_file_is_said_to_be_missing(either):
    with pytest.raises(StoreError, match=r"models/x: there is no such (file|object)"):
        either.read("models/x")
    either.write("models/a/b", b"")
    with pytest.raises(StoreError, match=r"models/a: "):  # a folder
        either.read("models/a")


def test_a_damaged_json_file(either):
    either.write("a.json", b'{"a": ')
    with pytest.raises(StoreError, match=r"a\.json is not valid JSON .*damaged or cut short"):
        either.read_json("a.json")


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", "models/../../x"])
@pytest.mark.parametrize("action", ["read", "write", "exists", "names", "walk", "remove", "place", "below", "path"])
def test_keys_stay_inside_the_store(either, key, action):
    arguments = (b"",) if action == "write" else ()
    with pytest.raises(InputError, match=r"points outside the store"):
        getattr(either, action)(key, *arguments)


@pytest.mark.parametrize("action", ["read", "write", "exists", "names", "remove"])
def test_links_do_not_lead_out_of_the_store(store, action):
    store.path().mkdir()
    store.path("link").symlink_to("/")
    with pytest.raises(InputError, match="points outside the store"):
        getattr(store, action)("link/x", *((b"",) if action == "write" else ()))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://host/x", "write a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, not http://"),
        ("s3://", "write it as s3://BUCKET/PREFIX"),
        ("s3://bucket/x?region=eu", "write it as s3://BUCKET/PREFIX"),
        ("s3://key:secret@bucket/x", "write it as s3://BUCKET/PREFIX"),
        ("s3:/bucket/x", "a slash is missing, write s3://bucket/x"),
        ("s3://bucket/../x", "points outside"),
    ],
)
def test_a_url_that_is_no_store_is_refused(url, told):
    with pytest.raises(InputError, match=re.escape(told)) as caught:
        Store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_url_is_named_as_it_was_given(scheme):
    found = Store(f"{scheme}://bucket/a/b/")  # nothing is asked of the network
    assert found.root == f"{scheme}://bucket/a/b"
    assert found.place("models/x") == f"{scheme}://bucket/a/b/models/x"
    assert found.up(1).root == f"{scheme}://bucket/a"
    assert found.up(9).root == f"{scheme}://bucket"
    with pytest.raises(InputError, match=f"{scheme}://bucket/a/b/x has no path on this machine"):
        found.path("x")


def test_a_lock_is_for_one_and_ends_with_its_process(store):
    code = (
        "import os, signal, sys; from assay.store.store import Store\n"
        f"with Store({store.root!r}).locked('sweeps/.toy.lock', 'toy'):\n"
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


def test_a_folder_without_locks_is_said_to_be_one(store, monkeypatch, caplog):
    fail_with(monkeypatch, errno.ENOLCK, fcntl, "flock")
    with store.locked("sweeps/.toy.lock", "sweep 'toy'"):
        pass
    assert "file system without locks: see to it that nothing else runs sweep 'toy'" in caplog.text


def test_stamps_tell_what_was_written_since(either):
    assert either.stamps("log") == {}
    for name in ("b", "a", ".c.half", "folder/x"):
        either.write(f"log/{name}", name.encode())
    before = either.stamps("log")
    assert {name: size for name, (size, _) in before.items()} == {"a": 1, "b": 1}
    assert all(isinstance(at, float) and at > 1e9 for _, at in before.values())
    assert either.stamps("log") == before
    either.write("log/a", b"more")
    after = either.stamps("log")
    assert (after["a"][0], after["b"]) == (4, before["b"])
