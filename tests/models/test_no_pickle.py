"""A pickle that would run code, planted in every kind of file of a store: nothing is run, and it is said in words."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import toy_audit
import toy_runs
import yaml
from click.testing import CliRunner

from assay.cli import main
from assay.config import reader
from assay.data import splits
from assay.errors import StoreError
from assay.hashing import canonical, digest
from assay.models import model_folder
from assay.store import trial_log, trials_table
from assay.store.store import Store
from assay.sweeps.study import Study
from assay.sweeps.trial import DIGEST_LENGTH, Trial

MARK = "ran"


class Bomb:
    """Unpickled, it leaves a mark in the working folder."""

    def __reduce__(self):
        return Path.touch, (Path(MARK),)


def pickled() -> bytes:
    return pickle.dumps({"state": Bomb()})


def saved(*, archive: bool) -> bytes:
    content = io.BytesIO()
    torch.save({"run": Bomb(), "epoch": 1}, content, _use_new_zipfile_serialization=archive)
    return content.getvalue()


def in_parquet() -> bytes:
    """A table whose column says that it is of a pickled type, and whose notes hold the pickle, too."""
    bomb = pickle.dumps(Bomb())
    about = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": bomb}
    schema = pa.schema([pa.field("metric", pa.string(), metadata=about)], metadata={"pandas": bomb})
    content = io.BytesIO()
    pq.write_table(pa.table({"metric": ["auroc"]}, schema=schema), content)
    return content.getvalue()


BOMBS = {
    "pickle": pickled(),
    "torch": saved(archive=True),
    "torch-legacy": saved(archive=False),
    "parquet": in_parquet(),
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder in which nothing was run, before and after."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not Path(MARK).exists()


def say(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(arguments))
    return done.exit_code, done.output


@pytest.mark.parametrize("bomb", [pickled(), saved(archive=True), saved(archive=False)])
def test_the_bombs_would_go_off(bomb):
    if bomb == BOMBS["pickle"]:
        pickle.loads(bomb)
    else:
        torch.load(io.BytesIO(bomb), weights_only=False)
    assert Path(MARK).exists()
    Path(MARK).unlink()


PLACES = [
    ("models/*/model.safetensors", "pickle"),
    ("models/*/model.safetensors", "torch"),
    ("models/*/manifest.json", "pickle"),
    ("audits/*/audit.yaml", "pickle"),
    ("audits/*/manifest.json", "pickle"),
    ("audits/*/scores/*/part-*.parquet", "pickle"),
    ("audits/*/scores/*/part-*.parquet", "parquet"),
    ("audits/*/metrics.parquet", "torch"),
    ("audits/*/metrics.parquet", "parquet"),
    ("audits/*/checks.parquet", "parquet"),
    ("audits/*/worst.parquet", "parquet"),
    ("audits/*/verdict.json", "pickle"),
]


@pytest.mark.parametrize(("pattern", "bomb"), PLACES)
def test_nothing_of_a_model_or_an_audit_is_unpickled(pristine_store, tmp_path, pattern, bomb):
    root = Path(shutil.copytree(pristine_store, tmp_path / "store"))
    [name] = [path.name for path in (root / "models").iterdir()]
    toy_audit.write_suite(Path("tiny.yaml"))
    files = list(root.glob(pattern)) or [next(root.glob("audits/*")) / Path(pattern).name]
    for file in files:
        file.write_bytes(BOMBS[bomb])
    told = [
        say(*command, "--store", str(root)) for command in (("report", "latest"), ("verify", "latest"), ("models",))
    ]
    if "audits" in pattern:
        told.append(say("approve", "latest", "--policy", "demo", "--store", str(root)))
    if "models" in pattern or "scores" in pattern:  # the rest is written anew by an audit, and not read
        told.append(say("audit", name, "--suite", "tiny.yaml", "--workers", "1", "--no-wandb", "--store", str(root)))
    assert "unexpected" not in "".join(output for _, output in told), told
    assert any(code == 1 and file.name in output.replace("\n", "") for code, output in told for file in files), told


def test_a_consistent_model_of_pickled_weights_is_refused(pristine_store, tmp_path):
    """With all its hashes right, as who plants it can make them."""
    store = Store(shutil.copytree(pristine_store, tmp_path / "store"))
    [name] = store.names("models")
    content = BOMBS["torch"]
    manifest = {**model_folder.read_manifest(store, name), "weights_sha256": digest(content)}
    planted = digest(canonical(manifest))[: model_folder.HASH_LENGTH]
    store.write(f"models/{planted}/model.safetensors", content)
    store.write(f"models/{planted}/manifest.json", canonical(manifest))
    toy_audit.write_suite(Path("tiny.yaml"))
    code, output = say("audit", planted, "--suite", "tiny.yaml", "--no-wandb", "--store", str(tmp_path / "store"))
    assert code == 1
    assert "unexpected" not in output


@pytest.fixture
def swept(tmp_path, own_cache):
    """A sweep whose first trial has one epoch behind it and a checkpoint: the search space, its order, data, store."""
    raw = toy_runs.search_space(tmp_path, search={"sampler": "random", "trials": 2, "seed": 0, "startup": 1})
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(raw))
    found, store = reader.read(tmp_path / "toy.yaml"), Store(tmp_path / "store")
    training = splits.training_data(found.dataset.function(**found.dataset.arguments()))
    study = Study(found, store)
    order = study.next_order()
    study.report(order.number, Trial(order, training, store).step())
    study.log.close()
    trials_table.write(store, found, study.records)
    store.write("sweeps/toy/spec.yaml", yaml.safe_dump(found.plain()).encode())
    return order, training, store


@pytest.mark.parametrize("bomb", ["pickle", "torch", "torch-legacy"])
def test_nothing_of_a_checkpoint_is_run_though_its_seal_is_right(swept, bomb):
    order, training, store = swept
    Trial(order, training, store)
    content = BOMBS[bomb]
    seal = digest(content).encode()
    assert len(seal) == DIGEST_LENGTH
    store.write(order.checkpoint, content + seal)
    with pytest.raises(StoreError, match="holds more than tensors and plain values, which is never loaded; delete it"):
        Trial(order, training, store)


@pytest.mark.parametrize(
    ("key", "bomb"),
    [
        ("sweeps/toy/spec.yaml", b"trainable: !!python/object/apply:pathlib.Path.touch [ran]\n"),
        ("sweeps/toy/spec.yaml", BOMBS["pickle"]),
        ("sweeps/toy/log/0000.jsonl", BOMBS["pickle"] + b"\n{}\n"),
        ("sweeps/toy/trials.parquet", BOMBS["parquet"]),
        ("sweeps/toy/trials.parquet", BOMBS["torch"]),
    ],
)
def test_nothing_of_a_sweep_is_unpickled(swept, tmp_path, key, bomb):
    _, _, store = swept
    store.write(key, bomb)
    told = [
        say("trials", "toy", "--store", str(tmp_path / "store")),
        say("audit", "toy:best", "--suite", "quick", "--no-wandb", "--store", str(tmp_path / "store")),
    ]
    if "parquet" not in key:
        told.append(say("sweep", "--resume", "toy", "--store", str(tmp_path / "store")))
        assert [code for code, _ in told] == [1, 1, 1] or [code for code, _ in told] == [2, 2, 2], told
    else:
        assert trial_log.read(store, "toy")  # the table is made anew from the log, and never read by a sweep
    assert "unexpected" not in "".join(output for _, output in told), told
