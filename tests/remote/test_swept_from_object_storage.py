"""A sweep on images in object storage, gone on with on a machine that has none of them, and audited on a third one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toy_audit
import toy_runs
import yaml
from same_audit import same
from sweep_process import outcome

import assay
from assay.config import reader
from assay.data import moved
from assay.errors import DataError, SweepError
from assay.remote.push import push
from assay.store import trial_log, trials_table
from assay.store.store import Store
from assay.sweeps import sweep as stage
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial


@pytest.fixture
def machine(tmp_path: Path, monkeypatch):
    """A function name -> from here on, this is a machine of that name: no image is on it."""

    def become(name: str) -> None:
        monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / name))
        assert not (tmp_path / name).exists()

    return become


def swept(store: Store, root: str | None, most: int = 99) -> Study:
    """A new sweep on the images at a root, or, without one, the rest of that in the store; at most so many trials."""
    if root is None:
        spec = trials_table.stored_spec(store, "toy")
    else:
        item = {"folder": {"root": root, "normal": "good", "anomalous": ["spot", "stain"]}}
        item["folder"] |= {"image_size": 16, "channels": 1}
        spec = reader.check(toy_runs.search_space(Path(), dataset=item), "toy.yaml")
    study = Study(spec, store, events := trial_log.read(store, "toy"))
    data = stage.load_data(spec, events, resume=root is None)
    if root is not None:
        stage.prepare(spec, store)
    study.log.append({"event": "start", "dataset": data.description["hash"], "environment": {}})
    while most and (order := study.next_order()):
        running, most = Trial(order, data, store), most - 1
        while not study.report(order.number, running.step()):
            pass
    study.log.close()
    trials_table.write(store, spec, study.records)
    return study


def audited(store: Store) -> Path:
    """The folder of the audit of the best trial's model."""
    assay.audit("toy:best", toy_audit.SUITE, store=store, workers=1)
    [audit] = store.names("audits")
    return store.path(f"audits/{audit}")


def test_a_new_head_and_an_audit_elsewhere_find_the_same_images(s3, tmp_path, machine):
    toy_audit.pictures(tmp_path / "images", 60, 40)
    url = f"s3://{s3.bucket()}/images"
    push(tmp_path / "images", url)
    near, far = Store(tmp_path / "near"), Store(tmp_path / "far")
    machine("desk")
    wanted = swept(near, str(tmp_path / "images"))
    machine("first head")
    swept(far, url, most=2)
    machine("second head")
    found = swept(far, None)
    assert outcome(found.records) == outcome(wanted.records)
    of_desk = audited(near)
    machine("third")
    of_third = audited(far)
    for table in ("metrics", "checks", "explanations"):
        assert same(of_desk / f"{table}.parquet", of_third / f"{table}.parquet"), table


def test_images_that_changed_meanwhile_are_refused(s3, tmp_path, machine):
    toy_audit.pictures(tmp_path / "images", 60, 40)
    url = f"s3://{s3.bucket()}/images"
    push(tmp_path / "images", url)
    machine("first head")
    store = Store(tmp_path / "store")
    swept(store, url, most=1)
    changed = (tmp_path / "images/good/001.png").read_bytes()
    s3.client().put_object(Bucket=url.split("/")[2], Key="images/good/000.png", Body=changed)
    machine("second head")
    with pytest.raises(DataError, match=r"images/good/000\.png is not what its table of hashes says"):
        swept(store, None)
    toy_audit.pictures(tmp_path / "others", 61, 39)
    other = f"s3://{s3.bucket()}/images"
    push(tmp_path / "others", other)
    with (
        pytest.raises(SweepError, match="are not those that sweep 'toy' was started on"),
        moved.told({"folder": other}),
    ):
        swept(store, None)


def test_a_dry_run_says_what_is_to_come_before_it_comes_and_what_it_weighs(s3, tmp_path, machine, assay):
    toy_audit.pictures(tmp_path / "images", 60, 40)
    url = f"s3://{s3.bucket()}/images"
    push(tmp_path / "images", url)
    machine("desk")
    item = {"folder": {"root": url, "normal": "good", "anomalous": ["spot", "stain"], "image_size": 16, "channels": 1}}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(toy_runs.search_space(tmp_path, dataset=item)))
    told = assay("sweep", str(tmp_path / "toy.yaml"), "--dry-run", "--json")
    assert told.exit_code == 0, told.output
    assert f"images: 100 files, 0.0 MB, in {url}; 0.0 MB are to come into {tmp_path}/desk/remote" in told.stderr
    assert json.loads(told.stdout)["image_bytes"] % (16 * 16) == 0 < json.loads(told.stdout)["image_bytes"]
    again = assay("sweep", str(tmp_path / "toy.yaml"), "--dry-run")
    assert f"; all are in {tmp_path}/desk/remote already" in again.stdout
