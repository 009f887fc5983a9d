"""An audit: every attack of a suite against one model on the test split, its metrics and checks, in one folder."""

from __future__ import annotations

import datetime
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import yaml

from assay import data as data_module
from assay import fan_out, metrics, parquet, self_check, shelves, tables
from assay import model as model_module
from assay.checks._context import Context
from assay.contracts import Images
from assay.errors import DataError, InputError, ModelError
from assay.evaluation import BATCH, batches, some_of_each, take
from assay.model import Model
from assay.provenance import code_hash, environment, own_code
from assay.shard import Shard, one_thread
from assay.store import Store, canonical, digest
from assay.suite import Suite

SHOWN = 12  # pictures of worst samples


@dataclass(frozen=True)
class Progress:
    """Told after every shard: how many are done of how many, and what the last one was."""

    done: int
    total: int
    attack: str
    seconds: float


def test_split(model: Model) -> tuple[Images, str]:
    """The test images of the dataset a model was made with, and the dataset's hash.

    Raises ModelError where the manifest names no dataset, DataError where today's files are not those of training.
    """
    wanted = model.manifest.get("dataset", {})
    item = wanted.get("item")
    if not item:
        raise ModelError(f"models/{model.hash}: the manifest names no dataset to audit on")
    name, parameters = shelves.normal_form(item)
    function = shelves.load("datasets", name)
    dataset = function(**shelves.bind(function, parameters))
    found = data_module.dataset_hash(dataset)
    if found != wanted["hash"]:
        raise DataError(
            f"dataset '{name}' is not what the model was trained with (hash {found[:12]}, in the manifest "
            f"{wanted['hash'][:12]}); its test images may have been trained on. Restore the files, or train again"
        )
    return data_module.test_images(dataset), found


def name_of(model: Model, suite: Suite, dataset: str, images: Images, seed: int, device: str) -> str:
    """The audit's id: the same audit by the same code has the same id, and so resumes; other code begins anew."""
    code = [code_hash(), *map(own_code, [model.manifest["trainable"], *(e.attack.name for e in suite.attacks)])]
    content = [model.hash, suite.plain(), dataset, images.ids, seed, device, code]
    return f"{model.hash[:12]}-{suite.name}-{digest(canonical(content))[:8]}"


def run(
    store: Store,
    name: str,
    suite: Suite,
    *,
    seed: int = 0,
    limit: int | None = None,
    workers: int = 1,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> str:
    """Audit the model of that hash and return the audit's id; an interrupted audit resumes where it stopped.

    limit: attack only so many samples of each class (a screen: the report says so). workers: Ray workers.
    """
    started = time.monotonic()
    model = model_module.load(store, name)
    images, dataset = test_split(model)
    if limit is not None:
        if limit < 1:
            raise InputError(f"--limit {limit}: attack at least 1 sample of each class")
        images = take(images, some_of_each(images.labels, limit))
    audit = name_of(model, suite, dataset, images, seed, device)
    headline = (suite.headline.norm, suite.headline.epsilon)
    shards = [
        Shard(audit, name, dataset, entry.plain(), entry.hash, headline, model.threshold, piece, first, seed, device)
        for entry in suite.attacks
        for first, piece in slices(images)
    ]
    done = 0

    def on_done(shard: fan_out.Work, seconds: float) -> None:
        nonlocal done
        done += 1
        on_progress(Progress(done, len(shards), shard.label, seconds))

    kept: list[Shard] = []
    todo: list[Shard] = []
    for shard in shards:
        (kept if shard.done(store) else todo).append(shard)
    for shard in kept:
        on_done(shard, 0.0)
    fan_out.run(todo, str(store.root), workers=min(workers, len(todo)), on_done=on_done)

    parts = {shard.key: parquet.load(store, shard.key, tables.SCORES) for shard in shards}
    scores = pa.concat_tables(parts.values())
    figures = metrics.table(scores, threshold=model.threshold)
    context = Context(model.detector.to(device), images, suite, columns(scores), columns(figures), device)
    folder = f"audits/{audit}"
    with one_thread():
        checked = self_check.table(context)
    candidates = [parquet.load(store, shard.worst_key, tables.WORST) for shard in shards]
    store.write(f"{folder}/metrics.parquet", parquet.dump(figures))
    store.write(f"{folder}/checks.parquet", parquet.dump(checked))
    store.write(f"{folder}/worst.parquet", parquet.dump(worst(pa.concat_tables(candidates))))
    store.write(f"{folder}/manifest.json", store.read(f"models/{name}/manifest.json"))
    sweep = model.manifest.get("sweep", {}).get("name")
    if sweep and store.exists(f"sweeps/{sweep}/trials.parquet"):
        store.write(f"{folder}/trials.parquet", store.read(f"sweeps/{sweep}/trials.parquet"))
    before = sum(sum(parts[shard.key]["seconds"].to_pylist()) for shard in kept)  # spent by runs that were interrupted
    about = describe(model, suite, audit, images, seed, limit, device, before + time.monotonic() - started)
    store.write(f"{folder}/audit.yaml", yaml.safe_dump(about, sort_keys=False, allow_unicode=True).encode())
    return audit


def describe(
    model: Model,
    suite: Suite,
    audit: str,
    images: Images,
    seed: int,
    limit: int | None,
    device: str,
    seconds: float,
) -> dict[str, Any]:
    """The content of audit.yaml: what was audited, how, and the command that does it again."""
    sweep = model.manifest.get("sweep", {})
    command = ["assay", "audit", model.hash, "--suite", suite.source, "--seed", str(seed)]
    if limit is not None:
        command += ["--limit", str(limit)]
    if device != "cpu":
        command += ["--device", device]
    return {
        "audit": audit,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "model": model.hash,
        "sweep": sweep.get("name"),
        "trial": sweep.get("trial"),
        "suite": suite.plain(),
        "dataset": dict(model.manifest["dataset"]),
        "threshold": dict(model.manifest["threshold"]),
        "seed": seed,
        "limit": limit,
        "samples": {"normals": int((images.labels == 0).sum()), "anomalies": int((images.labels == 1).sum())},
        "command": shlex.join(command),
        "environment": environment(),
        "seconds": round(seconds, 1),
    }


def slices(images: Images, size: int = BATCH) -> list[tuple[int, Images]]:
    """(index of the first, the slice) for every `size` samples."""
    return [(first, take(images, range(first, last))) for first, last in batches(images, size)]


def worst(candidates: pa.Table) -> pa.Table:
    """The samples that moved furthest, each once, with their pictures (tables.WORST)."""
    table = candidates.sort_by([("shift", "descending")])
    seen: set[str] = set()
    keep: list[int] = []
    for i, sample in enumerate(table["sample"].to_pylist()):
        if sample not in seen and len(keep) < SHOWN:
            seen.add(sample)
            keep.append(i)
    return table.take(keep)


def columns(table: pa.Table) -> Mapping[str, Any]:
    """A table as numpy arrays by column name."""
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.schema.names}
