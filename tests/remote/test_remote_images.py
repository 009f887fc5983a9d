"""Images in object storage: pushed once, mirrored once, and the same images as in the folder they came from."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import layouts
import pytest
from click.testing import CliRunner
from s3_server import SECRET, error

from assay.cli import main
from assay.data import moved, splits
from assay.datasets.folder import folder
from assay.datasets.mvtec import mvtec
from assay.datasets.visa import visa
from assay.errors import DataError, InputError
from assay.remote import mirror
from assay.remote.arrival import arrival
from assay.remote.push import push


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of 20 normals and 9 anomalies with masks, and what lies about in such folders."""
    root = tmp_path / "line 9"
    for at in range(20):
        layouts.picture(root / f"good/{at:02}.png", at)
    for at in range(9):
        layouts.picture(root / f"bad/{at:02}.png", 100 + at)
        layouts.marked(root / f"masks/bad/{at:02}_mask.png")
    (root / ".DS_Store").write_text("x")
    (root / "read me.txt").write_text("about")
    return root


@pytest.fixture
def url(s3, tmp_path: Path, monkeypatch) -> str:
    """An empty prefix of a new bucket; the cache is this test's own."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("assay.remote.push.SETTLE", 0.0)
    return f"s3://{s3.bucket()}/data/line 9"


@pytest.fixture
def settled(url, monkeypatch) -> None:
    """A push waits before it writes the table, as it does for users."""
    monkeypatch.setattr("assay.remote.push.SETTLE", 1.0)


def read(root: str | Path, **more: object):
    return folder(root=str(root), normal="good", anomalous="bad", masks="masks", image_size=16, channels=1, **more)


def put(s3, url: str, key: str, body: bytes) -> None:
    bucket, _, prefix = url[5:].partition("/")
    s3.client().put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=body)


def sent(s3, *methods: str) -> list[str]:
    """The keys of the requests of these methods since the log was cleared, without listings."""
    lines = [line for line in s3.log if line.startswith(methods) and "list-type" not in line]
    return [line.split(" ", 1)[1].partition("?")[0].rpartition("/data/")[2] for line in lines]


def test_a_pushed_folder_is_the_same_dataset(images, url, s3, tmp_path):
    assert push(images, url).sent == 39
    near, far = read(images), read(url)
    assert far.name == near.name == "line 9"
    assert [sample.id for sample in far.samples] == [sample.id for sample in near.samples]
    assert [len(sample.masks) for sample in far.samples] == [len(sample.masks) for sample in near.samples]
    assert splits.training_data(far).description == splits.training_data(near).description
    s3.log.clear()
    read(url + "/")
    assert sent(s3, "GET") == ["line%209/assay.sha256"], "the second time nothing but the table is fetched"


def test_what_is_there_is_not_sent_again(images, url, s3, settled):
    push(images, url)
    s3.log.clear()
    assert push(images, url).sent == 0
    assert sent(s3, "PUT", "POST") == []
    layouts.picture(images / "good/00.png", 77)
    layouts.picture(images / "good/20.png", 78)
    assert push(images, url).sent == 2
    assert read(url).notes == read(images).notes
    (images / "good/20.png").unlink()
    with pytest.raises(DataError, match=r"holds 1 files that .* has not: good/20.png; delete them there, or push"):
        push(images, url)


def test_the_table_is_one_that_sha256sum_reads(images, url, s3, tmp_path):
    push(images, url)
    bucket, _, prefix = url[5:].partition("/")
    table = s3.client().get_object(Bucket=bucket, Key=f"{prefix}/assay.sha256")["Body"].read()
    (tmp_path / "table").write_bytes(table)
    told = subprocess.run(["sha256sum", "--check", tmp_path / "table"], cwd=images, capture_output=True, check=False)
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.splitlines()) == 39


def test_a_push_that_was_cut_off_goes_on_and_is_not_read_before(images, url, s3, settled, monkeypatch):
    monkeypatch.setattr("assay.remote.push.CHUNK", 20)
    s3.faults.append(error(403, "AccessDenied", method="PUT", contains="bad/05_mask"))
    with pytest.raises(DataError, match=r"s3://.*: not allowed \(PutObject\).*written by `assay data push`"):
        push(images, url)
    s3.faults.clear()
    with pytest.raises(DataError, match=r"there and not in the table of hashes, such as .*still being sent"):
        read(url)
    assert push(images, url).sent < 39
    assert len(read(url).samples) == 29


def test_objects_that_were_changed_are_refused_by_hash(images, url, s3, settled, tmp_path, monkeypatch):
    push(images, url)
    held = read(url)
    other = layouts.picture(tmp_path / "other.png", 5).read_bytes()
    put(s3, url, "good/03.png", other)
    again = read(url)
    assert splits.dataset_hash(again) == splits.dataset_hash(held), "this machine has the ones of the table"
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match=r"good/03.png is not what its table of hashes says: it was changed"):
        read(url)
    assert push(images, url).sent == 1, "a push restores it"
    assert splits.dataset_hash(read(url)) == splits.dataset_hash(held)
    put(s3, url, "good/99.png", other)
    with pytest.raises(DataError, match=r"1 files are there and not in the table of hashes, such as good/99\.png"):
        read(url)


def test_what_something_else_put_there_is_read_and_what_changed_is_fetched_anew(images, url, s3, tmp_path):
    for path in images.rglob("*.png"):
        put(s3, url, path.relative_to(images).as_posix(), path.read_bytes())
    put(s3, url, "good/", b"")  # as a console makes folders
    first = read(url)
    assert splits.dataset_hash(first) == splits.dataset_hash(read(images))
    s3.log.clear()
    put(s3, url, "good/03.png", layouts.picture(tmp_path / "other.png", 5, side=21).read_bytes())
    second = read(url)
    assert sent(s3, "GET") == ["line%209/good/03.png"]
    assert splits.dataset_hash(first) != splits.dataset_hash(second), "and the first one still is what it was"


def test_images_that_change_while_they_are_fetched_are_refused(images, url, s3, tmp_path):
    for path in images.rglob("*.png"):
        put(s3, url, path.relative_to(images).as_posix(), path.read_bytes())
    changed = layouts.picture(tmp_path / "other.png", 5, side=21).read_bytes()

    def change(proxy) -> bool:
        if proxy.command == "GET" and "masks" in proxy.path and "list-type" not in proxy.path:
            put(s3, url, "bad/00.png", changed)
        return False

    s3.faults.append(change)
    with pytest.raises(DataError, match=r"bad/00.png (changed while the images were fetched|is not what was listed)"):
        read(url)


def test_of_one_category_no_other_images_are_fetched(s3, tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "set").mkdir()
    for category in ("candle", "fryum"):
        layouts.visa(tmp_path / "set", category)
    url = f"s3://{s3.bucket()}"
    push(tmp_path / "set", url)
    s3.log.clear()
    far = visa(root=url, category="fryum", image_size=16)
    assert [key for key in sent(s3, "GET") if key.endswith((".png", ".JPG")) and "candle" in key] == []
    assert far.samples == _at(visa(root=str(tmp_path / "set"), category="fryum", image_size=16), far)
    both = visa(root=url, category="all", image_size=16)
    assert len(both.samples) == 2 * len(far.samples)


def _at(near, far):
    """The samples of a dataset with the paths of another one."""
    from dataclasses import replace

    pairs = zip(near.samples, far.samples, strict=True)
    return tuple(replace(one, path=other.path, masks=other.masks) for one, other in pairs)


@pytest.mark.parametrize(
    ("root", "told"),
    [
        ("s3://nowhere-to-be-found/x", "there is no such bucket; look at the dataset's root, or make the bucket"),
        ("s3://BUCKET/nothing", "there is no object below it; look at the dataset's root, or send a folder there with"),
        ("http://host/x", "images lie in a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, not in http://host/x"),
        ("s3://", "images lie in a folder, s3://BUCKET/PREFIX"),
        ("s3://BUCKET/x?y=1", "write it as s3://BUCKET/PREFIX"),
    ],
)
def test_a_root_that_is_none(s3, url, root, told):
    with pytest.raises((DataError, InputError), match=re.escape(told)):
        read(root.replace("BUCKET", url.split("/")[2]))


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "AccessDenied", "not allowed"),
        (403, "InvalidAccessKeyId", "the service does not know this access key"),
        (301, "PermanentRedirect", "the bucket is in another region than was asked; set AWS_REGION"),
        (400, "ExpiredToken", "the credentials have expired; renew them"),
    ],
)
def test_a_bucket_that_cannot_be_listed(images, url, s3, status, code, told):
    push(images, url)
    s3.faults.append(error(status, code))
    with pytest.raises(DataError, match=f"^{re.escape(url)}: {told}") as caught:
        read(url)
    assert len(str(caught.value).splitlines()) == 1
    assert SECRET not in str(caught.value)


def test_without_credentials_that_is_said(images, url, s3, monkeypatch):
    from assay.store import object_storage

    push(images, url)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    object_storage._client.cache_clear()
    s3.faults.append(lambda proxy: not proxy.headers.get("Authorization") and error(403, "AccessDenied")(proxy))
    with pytest.raises(DataError, match="not allowed, and no credentials were found; set AWS_ACCESS_KEY_ID and"):
        read(url)


def test_keys_that_no_folder_can_hold(images, url, s3):
    push(images, url)
    put(s3, url, "good/03.png/inside.png", b"x")
    with pytest.raises(DataError, match=r"inside.png lie below a key that is itself an object; delete one of them"):
        read(url)


def test_keys_that_end_with_a_slash_are_folders_that_a_console_made_and_no_images(images, url, s3):
    push(images, f"{url}/")
    for key in ("", "good/", "bad/", "empty/"):
        put(s3, url, key, b"")
    far = read(f"{url}/")
    assert splits.dataset_hash(far) == splits.dataset_hash(read(images))


def test_a_layout_that_is_wrong_is_told_by_its_url(images, url):
    push(images, url)
    with pytest.raises(DataError, match=f"^{re.escape(url)}: no folder train; root"):
        mvtec(root=url)


def test_a_disk_that_is_too_small_is_known_before(images, url, monkeypatch):
    push(images, url)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(mirror.shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(DataError, match=r"are to come, and .*/cache/remote has room for 0.0 MB; set ASSAY_CACHE"):
        read(url)


def test_a_disk_without_links_gets_copies(images, url, monkeypatch):
    push(images, url)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(mirror.os, "link", refuse)
    assert splits.dataset_hash(read(url)) == splits.dataset_hash(read(images))


def test_what_is_to_come_is_told_before_it_comes(images, url, tmp_path):
    push(images, url)
    weight = sum(path.stat().st_size for path in images.rglob("[!.]*") if path.is_file())
    coming = arrival({"root": url})
    assert (coming.files, coming.bytes, coming.to_come) == (39, weight, weight)
    assert coming.seconds > 0
    assert re.fullmatch(
        rf"images: 39 files, 0.0 MB, in {url}; 0.0 MB are to come into {tmp_path}/cache/remote \(.* free\), "
        r"about \d+ s at the speed of a few",
        coming.text(),
    )
    read(url)
    assert arrival({"root": url}).text().endswith(f"all are in {tmp_path}/cache/remote already")
    assert arrival({"root": str(images)}) is None


def test_the_verb_sends_and_says_what_to_write(images, url, s3):
    told = CliRunner().invoke(main, ["data", "push", str(images), url])
    assert told.exit_code == 0, told.output
    assert f"{url}: 39 files; 39 were sent" in told.output
    assert f"root: {url}" in told.output
    assert CliRunner().invoke(main, ["data", "push", str(images), "/somewhere"]).exit_code == 2
    assert CliRunner().invoke(main, ["data", "push", str(images / "nowhere"), url]).exit_code == 1


def test_a_url_may_stand_for_a_folder_that_is_gone(images, url, monkeypatch):
    push(images, url)
    arguments = {"normal": "good", "anomalous": "bad", "image_size": 16}
    wanted = splits.dataset_hash(folder(root=str(images), **arguments))
    monkeypatch.setenv("ASSAY_DATA", f"mvtec=/nowhere:folder={url}")
    assert splits.dataset_hash(moved.again("folder", folder, {"root": "/gone", **arguments})) == wanted
    monkeypatch.delenv("ASSAY_DATA")
    with moved.told([f"folder={url}"]):
        assert splits.dataset_hash(moved.again("folder", folder, {"root": "/gone", **arguments})) == wanted
