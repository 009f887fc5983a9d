"""An audit from the model to its folder: complete, resumable, bit for bit the same however it was computed."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import toy_audit
import yaml
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from assay.audits import attack_job, audit, fan_out, self_checks, suite
from assay.cluster import connection
from assay.data.reduced import take
from assay.errors import DataError, InputError, ModelError, StoreError
from assay.metrics.worst_case import worst_first
from assay.models import model_folder
from assay.runtime.threads import one_thread
from assay.store import schemas
from assay.store.audit_reader import Audit
from assay.store.store import Store

TOTAL = 3  # shards: three attacks, all samples in one slice


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture
def done(store):
    """The folder of the finished audit."""
    return store.path(f"audits/{store.names('audits')[0]}")


def read(folder: Path, table: str) -> pa.Table:
    return pq.ParquetFile(folder / f"{table}.parquet").read()


def scores(folder: Path) -> pa.Table:
    parts = [pq.ParquetFile(part).read() for part in sorted(folder.glob("scores/*/*.parquet"))]
    return pa.concat_tables(parts).drop(["seconds"])


def results(folder: Path) -> list[pa.Table]:
    return [scores(folder), *(read(folder, name) for name in ("metrics", "checks", "worst"))]


def test_the_folder_is_complete_and_true_to_its_schemas(done, name):
    assert {path.name for path in done.iterdir()} == {
        "audit.yaml",
        "candidates",
        "checks",
        "checks.parquet",
        "cost.parquet",
        "explanations.parquet",
        "manifest.json",
        "metrics.parquet",
        "scores",
        "worst.parquet",
        "worst_case.parquet",
    }
    for table in ("metrics", "checks", "worst", "worst_case", "cost", "explanations"):
        schema = getattr(schemas, table.upper())
        assert read(done, table).schema.equals(schema)
    assert {path.name for path in (done / "scores").iterdir()} == {
        entry["name"] for entry in toy_audit.SUITE["attacks"]
    }
    assert all(pq.read_schema(part).equals(schemas.SCORES) for part in done.glob("scores/*/*.parquet"))
    assert json.loads((done / "manifest.json").read_text())["trainable"] == "toy_audit:Toy"
    folder = Audit(done)
    threshold = folder.info["threshold"]["value"]
    assert folder.info["model"] == name
    assert folder.info["samples"] == {"normals": 12, "anomalies": 12}
    assert folder.info["limit"] is None
    assert folder.worst["sample"].size == len(set(folder.worst["sample"]))
    order = worst_first(*(folder.worst[name] for name in ("label", "clean_score", "adversarial_score")), threshold)
    assert order.tolist() == list(range(len(order)))


def test_the_command_reads_back_as_the_same_audit(done, store, name, tiny):
    about = yaml.safe_load((done / "audit.yaml").read_text())
    assert about["devices"] == {"jobs": "cpu", "checks": "cpu", "first_look": "cpu"}
    words = about["command"].split()
    assert words[:3] == ["assay", "audit", name]
    assert suite.read(words[words.index("--suite") + 1]).plain() == tiny.plain()


def test_every_check_passed(done):
    assert [row["check"] for row in read(done, "checks").to_pylist() if row["required"] and not row["passed"]] == []


def test_figures_are_those_of_sklearn_on_the_worst_scores(done):
    table = scores(done).to_pandas()
    threshold = yaml.safe_load((done / "audit.yaml").read_text())["threshold"]["value"]
    found = read(done, "metrics").to_pandas()
    found = found[(found.attack == "worst") & (found.defect == "all")].set_index(
        ["norm", "epsilon", "regime", "metric"]
    )
    labels = table.groupby("sample").label.first()
    clean = table.groupby("sample").clean_score.first()
    budgets = table[["norm", "epsilon"]].drop_duplicates().itertuples(index=False)
    compared = 0
    for norm, epsilon in budgets:
        reach = table[(table.norm == norm) & (table.epsilon <= epsilon)]
        low, high = (reach.groupby("sample").adversarial_score.agg(way) for way in ("min", "max"))
        low, high = np.minimum(low, clean), np.maximum(high, clean)
        for regime, values in {
            "both": np.where(labels == 1, low, high),
            "evasion": np.where(labels == 1, low, clean),
            "false_alarm": np.where(labels == 1, clean, high),
        }.items():
            expected = {
                "auroc": roc_auc_score(labels, values),
                "average_precision": average_precision_score(labels, values),
                "miss_rate": np.mean(values[labels == 1] <= threshold),
                "false_alarm_rate": np.mean(values[labels == 0] > threshold),
            }
            for metric, value in expected.items():
                assert found.loc[(norm, epsilon, regime, metric)].value == pytest.approx(value, abs=1e-12)
                compared += 1
    assert compared == 5 * 3 * 4
    assert found.xs("auroc", level="metric").value.between(0.2, 0.99).any(), "figures that say something"


def test_the_same_audit_again_computes_nothing_and_says_the_same(store, name, tiny, done, monkeypatch):
    before = results(done)
    monkeypatch.setattr(attack_job.AttackJob, "compute", lambda *_: pytest.fail("computed again"))
    told = []
    assert audit.run(store, name, tiny, on_progress=told.append) == done.name
    checks = self_checks.names()
    assert [one.work for one in told[TOTAL:]] == [f"check {check}" for check in checks]
    total = TOTAL + len(checks)
    assert [(one.done, one.total) for one in told] == [(i + 1, total) for i in range(total)]
    assert {one.seconds for one in told} == {0.0}
    assert all(new.equals(old) for new, old in zip(results(done), before, strict=True))
    assert store.names("audits") == [done.name]


def attacks(work):
    """The pieces of work that are attacks, without the checks after them."""
    return [one for one in work if not one.startswith("check ")]


class PowerCutError(Exception):
    """Everything stops."""


def test_an_audit_killed_half_way_goes_on_and_ends_the_same(store, name, tiny, done):
    whole = results(done)
    shutil.rmtree(done)
    told = []

    def pull_the_plug(progress):
        told.append(progress.work)
        if progress.done == 2:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        audit.run(store, name, tiny, on_progress=pull_the_plug)
    assert not (done / "audit.yaml").exists(), "an audit without audit.yaml is unfinished"
    kept = {part: part.stat().st_mtime_ns for part in done.glob("scores/*/*.parquet")}
    assert len(kept) == 2
    assert audit.run(store, name, tiny) == done.name
    assert all(new.equals(old) for new, old in zip(results(done), whole, strict=True))
    assert all(part.stat().st_mtime_ns == at for part, at in kept.items())


@pytest.mark.parametrize("folder", ["scores", "candidates"])
def test_lost_parts_are_made_again(store, name, tiny, done, folder):
    whole = results(done)
    next(done.glob(f"{folder}/pgd-linf/*.parquet")).unlink()
    computed = []
    audit.run(store, name, tiny, on_progress=lambda one: computed.append(one.work) if one.seconds else None)
    assert attacks(computed) == ["pgd-linf"]
    assert all(new.equals(old) for new, old in zip(results(done), whole, strict=True))


@pytest.mark.parametrize("folder", ["scores", "candidates"])
@pytest.mark.parametrize("damage", [b"", b"PAR1 not really", None])
def test_a_damaged_part_is_named_and_made_again(store, name, tiny, done, folder, damage):
    part = next(done.glob(f"{folder}/pgd-linf/*.parquet"))
    content = bytearray(part.read_bytes())
    content[4:80] = bytes(76)
    part.write_bytes(bytes(content) if damage is None else damage)
    with pytest.raises(DataError, match=r"pgd-linf.*is damaged .*; delete it and run the same audit again"):
        audit.run(store, name, tiny)
    part.unlink()
    audit.run(store, name, tiny)
    assert [row["check"] for row in read(done, "checks").to_pylist() if row["required"] and not row["passed"]] == []


def test_four_ray_workers_find_the_same_bits_as_none(store, name, tiny, done, monkeypatch):
    support = str(Path(__file__).parents[1] / "support")
    monkeypatch.setenv("PYTHONPATH", support, prepend=os.pathsep)  # a worker imports toy_audit too
    whole = results(done)
    shutil.rmtree(done)
    steps = []
    with connection.connected(cpus=4):
        monkeypatch.setattr(connection, "connected", lambda *_, **__: nullcontext({}))  # one start is enough
        with monkeypatch.context() as patch:
            patch.setattr(self_checks, "outcome", lambda *_: 1 / 0)  # not here: the workers make the checks
            audit.run(store, name, tiny, workers=4, on_progress=steps.append)
        computed = [step.work for step in steps]
        assert [step.done for step in steps] == list(range(1, steps[-1].total + 1))
        assert sorted(computed[-len(self_checks.names()) :]) == sorted(f"check {name}" for name in self_checks.names())
        assert sorted(attacks(computed)) == sorted(entry.name for entry in tiny.attacks)
        assert all(new.equals(old) for new, old in zip(results(done), whole, strict=True))

        images, _ = audit.test_split(model_folder.load(store, name))
        about = {"audit": "a", "model": "gone", "dataset": "d", "seed": 0, "headline": ("linf", 0.1), "threshold": 0.0}
        gone = [attack_job.AttackJob(**about, entry=e.plain(), parameters=e.hash, images=images) for e in tiny.attacks]
        with pytest.raises(StoreError, match="no such file"):  # as the worker raised it
            fan_out.run(gone, str(store.root), workers=4, on_done=lambda *_: None)


def test_other_code_samples_seed_or_device_are_another_audit(store, name, tiny, monkeypatch, tmp_path):
    loaded = model_folder.load(store, name)
    images, _ = audit.test_split(loaded)
    some = take(images, range(5))
    several = [("d", images, 0, "cpu"), ("e", images, 0, "cpu"), ("d", some, 0, "cpu"), ("d", images, 1, "cpu")]
    names = {audit.name_of(loaded, tiny, *one) for one in [*several, ("d", images, 0, "cuda")]}
    monkeypatch.setattr(audit, "code_hash", lambda: "changed")
    names |= {audit.name_of(loaded, tiny, "d", images, 0, "cpu")}
    assert len(names) == 6
    mine = tmp_path / "my_attack.py"
    mine.write_text("from assay.attacks.fgsm import fgsm as go\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = {"name": "mine", "attack": "my_attack:go", "threat": "linf", "epsilons": ["2/255"]}
    own = suite.read(toy_audit.write_suite(tmp_path / "own.yaml", attacks=[entry]))
    first = audit.name_of(loaded, own, "d", images, 0, "cpu")
    mine.write_text("from assay.attacks.fgsm import fgsm as go  # mended\n")
    assert audit.name_of(loaded, own, "d", images, 0, "cpu") != first, "an attack of the user's own that was changed"


def test_limit_takes_samples_of_each_class_from_everywhere(store, name, tiny):
    found = store.path(f"audits/{audit.run(store, name, tiny, limit=4)}")
    table = scores(found).to_pandas()
    per_class = table.groupby("label")["sample"].nunique()
    assert per_class.to_dict() == {0: 4, 1: 4}
    assert set(table.defect) == {"normal", "spot", "stain"}, "the first four anomalies are of one kind"
    info = Audit(found).info
    assert (info["limit"], info["samples"]) == (4, {"normals": 4, "anomalies": 4})
    assert "--limit 4" in info["command"]
    with pytest.raises(InputError, match="at least 1"):
        audit.run(store, name, tiny, limit=0)


@pytest.fixture
def own(tmp_path, own_cache):
    """A store with a model of a dataset of its own, which a test may change: (store, model, folder of images)."""
    store = Store(tmp_path / "own")
    return store, toy_audit.write_model(store, toy_audit.pictures(tmp_path / "images")), tmp_path / "images"


def test_images_that_changed_since_training_are_refused(own, tiny):
    store, name, images = own
    picture = images / "good" / "003.png"
    pixels = np.asarray(Image.open(picture)).copy()
    pixels[0, 0] += 1
    Image.fromarray(pixels).save(picture)
    with pytest.raises(DataError, match="not what the model was trained with"):
        audit.run(store, name, tiny)
    assert store.names("audits") == []


def test_an_image_that_is_gone_is_refused(own, tiny):
    store, name, images = own
    (images / "spot" / "001.png").unlink()
    with pytest.raises(DataError, match="not what the model was trained with"):
        audit.run(store, name, tiny)


def test_images_under_other_names_are_another_audit(own, tiny):
    store, name, images = own
    first = audit.run(store, name, tiny)
    for picture in sorted(images.rglob("*.png")):  # in the same order, so that the split is the same
        picture.rename(picture.with_name(f"x{picture.name}"))
    second = audit.run(store, name, tiny)
    assert first != second
    for found, start in ((first, ""), (second, "x")):
        samples = scores(store.path(f"audits/{found}"))["sample"].to_pylist()
        assert len(samples) == 24 * 7
        assert all(Path(sample).name.startswith(start) for sample in samples)


@pytest.mark.parametrize("file", ["manifest.json", "model.safetensors"])
def test_a_model_that_was_tampered_with_is_refused(store, name, tiny, file):
    path = store.path(f"models/{name}/{file}")
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelError, match="chang"):
        audit.run(store, name, tiny)


def test_an_audit_leaves_the_process_as_it_was(store, name, tiny, done):
    shutil.rmtree(done)
    torch.set_num_threads(2)
    state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    audit.run(store, name, tiny)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numbers)
    assert torch.get_num_threads() == 2
    detector = model_folder.loaded(str(store.root), name, "cpu")
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in detector.parameters())
