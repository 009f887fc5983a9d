"""An audit: every attack of a suite against one model on the test split, its metrics and checks, in one folder."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from assay.audits import check_job, fan_out, forecast, self_checks, tables
from assay.audits.attack_job import AttackJob
from assay.audits.checks.manifest_reproduced import validation_of
from assay.audits.examination import Examination
from assay.audits.forecast import Forecast
from assay.audits.job import Job, notes
from assay.audits.plan import LeftOut, Plan, applicable
from assay.audits.progress_file import ProgressFile
from assay.audits.suite import Suite
from assay.contracts import Dataset, Images
from assay.data import splits as data_module
from assay.data.missing import without_figures
from assay.data.reduced import take
from assay.errors import DataError, InputError, ModelError
from assay.hashing import canonical, digest
from assay.metrics import localisation
from assay.models import deployed_file, preflight, trained_on
from assay.models import model_folder as model_module
from assay.models.model_folder import Model
from assay.models.preflight import Finding
from assay.models.scoring import some_of_each
from assay.runtime import devices
from assay.runtime.float32 import exact_float32
from assay.runtime.provenance import code_hash, environment, own_code
from assay.runtime.threads import one_thread
from assay.store import formats, parquet, schemas
from assay.store.audit_reader import NO_CATEGORIES, Content
from assay.store.store import Store


@dataclass(frozen=True)
class Progress:
    """Reported after every job and every check: how many are done of how many, and which was the last."""

    done: int
    total: int
    work: str
    seconds: float


def test_split(model: Model) -> tuple[Images, str]:
    """The test images of the dataset a model was made with, and the dataset's hash.

    Raises ModelError where the manifest names no dataset, DataError where today's files are not those of training.
    """
    dataset, wanted = _dataset(model), model.manifest["dataset"]
    actual = data_module.dataset_hash(dataset)
    if actual != wanted["hash"]:
        raise DataError(
            f"dataset '{dataset.name}' is not what the model was trained with (hash {actual[:12]}, in the manifest "
            f"{wanted['hash'][:12]}); its test images may have been trained on. Restore the files, or train again"
        )
    return data_module.test_images(dataset), actual


def _dataset(model: Model) -> Dataset:
    item = model.manifest.get("dataset", {}).get("item")
    if not item:
        raise ModelError(f"models/{model.hash}: the manifest names no dataset to audit on")
    return model_module.dataset_of(item)


def name_of(
    model: Model, suite: Suite, dataset: str, images: Images, seed: int, device: str, surrogate: str | None = None
) -> str:
    """The audit's id: the same audit by the same code has the same id, and so resumes; other code starts afresh."""
    corruptions = suite.corruptions.names if suite.corruptions else []
    own = [model.made_by, *(entry.attack.name for entry in suite.attacks), *corruptions]
    code = [code_hash(), *map(own_code, own)]
    content = [model.hash, suite.plain(), dataset, images.ids, seed, device, surrogate, code]
    if groups := images.group_names:
        content.append(groups)
    return f"{model.hash[:12]}-{suite.name}-{digest(canonical(content))[:8]}"


def run(
    store: Store,
    name: str,
    suite: Suite,
    *,
    seed: int = 0,
    limit: int | None = None,
    workers: int | None = 1,
    gpus: float = 0.0,
    memory_gb: float | None = None,
    address: str | None = None,
    device: str = "cpu",
    surrogate: str | None = None,
    on_progress: Callable[[Progress], object] = lambda progress: None,
    on_forecast: Callable[[Forecast], object] | None = None,
) -> str:
    """Audit the model of that hash and return the audit's id; an interrupted audit resumes where it stopped.

    limit: attack only so many samples of each class (a screen: the report says so). workers: jobs at a
    time, None for as many as there are cores; gpus: the share of a GPU that each takes; memory_gb: what each
    asks for; address: the Ray cluster that does the work. surrogate: the hash of another model, for attacks on
    it instead.
    on_forecast: called with a forecast before the work; without it none is made.
    """
    started = time.monotonic()
    store.require_writable()
    prepared = prepare(store, name, suite, seed=seed, limit=limit, address=address, device=device, surrogate=surrogate)
    plan, images = prepared.plan, prepared.plan.images
    if on_forecast:
        on_forecast(foresee(store, prepared, workers))
    checks, audit = self_checks.names(), plan.audit
    on_progress = progress = ProgressFile(store, audit, on_progress)
    jobs, made = len(plan.jobs), set[str]()

    def on_check(check: str, seconds: float) -> None:
        if check not in made:  # by a worker: what collects the results comes by it again
            made.add(check)
            on_progress(Progress(jobs + len(made), jobs + len(checks), f"check {check}", seconds))

    where: dict[str, Any] = {
        "workers": workers,
        "gpus": gpus,
        "memory_gb": memory_gb,
        "address": address,
        "audit": audit,
    }
    folder = f"audits/{audit}"
    with fan_out.cluster(device, workers=workers, gpus=gpus, address=address) as spread:
        before = _work(store, plan, len(checks), on_progress, **where)
        with one_thread(), exact_float32():
            written, given, mark = tables.made(store, plan)
        _write(store, folder, written)
        masks = localisation.masks(_dataset(plan.model), images.ids)
        about_detector = Examination(audit=audit, model=name, device=device, given=given, mark=mark, masks=masks)
        if spread:
            there = dataclasses.replace(about_detector, given=functools.partial(given, **_sent(plan)))
            check_job.spread(store, there, on_check, **where)
        if address is not None and device != "cpu":  # this machine may have no GPU, or another one
            fan_out.run([there], str(store.root), **where, on_done=lambda _, spent: on_check(checks[-1], spent))
        else:
            _write(store, folder, about_detector.tables(store, plan.model.detector, on_check))
    store.write(f"{folder}/manifest.json", store.read(f"models/{name}/manifest.json"))
    seconds = before + time.monotonic() - started
    remarks = [*_spared(suite, prepared.suite, images), *notes(plan.jobs, store)]
    about = describe(prepared, suite, limit, remarks, seconds)
    doubts = trained_on.findings(plan.model.manifest, written["metrics"])
    about["findings"] += [dataclasses.asdict(finding) for finding in [*doubts, *_about_categories(images)]]
    sweep = about["sweep"]
    if sweep and store.exists(f"sweeps/{sweep}/trials.parquet"):
        store.write(f"{folder}/trials.parquet", store.read(f"sweeps/{sweep}/trials.parquet"))
        _write(store, folder, tables.of_sweep(store, about))
    progress.remove()
    store.write(f"{folder}/audit.yaml", yaml.safe_dump(about, sort_keys=False, allow_unicode=True).encode())
    return audit


@dataclass(frozen=True)
class Prepared:
    """An audit that was checked and can begin. suite: as it was asked for, made to fit the images' size.

    here: the device of what this machine does itself: the first look at the detector, and the forecast.
    """

    plan: Plan
    suite: Suite
    left_out: Sequence[LeftOut]
    here: str


def prepare(
    store: Store,
    name: str,
    suite: Suite,
    *,
    seed: int = 0,
    limit: int | None = None,
    address: str | None = None,
    device: str = "cpu",
    surrogate: str | None = None,
) -> Prepared:
    """Check a model on the images of its audit and plan the work, without doing any; arguments as of `run`."""
    here = devices.here(device, address)
    model = model_module.load(store, name)
    images, dataset = test_split(model)
    if limit is not None:
        if limit < 1:
            raise InputError(f"--limit {limit}: attack at least 1 sample of each class")
        images = take(images, some_of_each(images.labels, limit))
    if surrogate is not None:
        model_module.load(store, surrogate)  # an error now, not in a worker
    if "deployed" in model.manifest:
        deployed_file.load(store, name)
    with one_thread(), exact_float32():
        seen = preflight.inspect(model.detector.to(here), images, model.threshold, here)
    facts = dataclasses.replace(seen, stochastic=seen.stochastic or model.stochastic)
    fitting = suite.spared(*images.pixels.shape[2:])
    able, left_out = applicable(fitting, facts, surrogate)
    audit = name_of(model, able, dataset, images, seed, device, surrogate)
    plan = Plan(audit, model, dataset, able, facts, images, seed, device, surrogate)
    return Prepared(plan, fitting, left_out, here)


def foresee(store: Store, prepared: Prepared, workers: int | None) -> Forecast:
    """The forecast of an audit's work ahead, by passes that are timed on this machine."""
    plan, root = prepared.plan, str(store.root)
    with one_thread(), exact_float32():
        others = [model_module.loaded(root, plan.surrogate, prepared.here)] if plan.surrogate else []
        if "deployed" in plan.model.manifest:
            others.append(deployed_file.loaded(root, plan.model.hash, prepared.here))
        return forecast.of(store, plan, workers, prepared.here, others)


def _sent(plan: Plan) -> dict[str, Images]:
    """The images that the checks need, in memory, for a machine that may not have the dataset."""
    needed = {"images": plan.images, "validation": validation_of(plan.model.manifest)}
    return {name: take(images, range(len(images))) for name, images in needed.items() if images is not None}


def _long(job: Job) -> bool:
    """Whether a job takes long: a search by decisions alone asks for many."""
    return isinstance(job, AttackJob) and job.entry["knowledge"] == "label"


def _spared(suite: Suite, fitting: Suite, images: Images) -> list[str]:
    """A remark where attacks were cut short because images are large."""
    large = suite.large_images
    if fitting is suite or large is None:
        return []
    height, width = images.pixels.shape[2:]
    return [
        f"images of {width} x {height} pixels are large for the suite {suite.name}: attacks make at most {large.most} "
        f"steps, draws or queries, and checks attack {large.samples} images of each class at first with "
        f"{large.steps} steps; robustness looks better than under a suite that spares nothing"
    ]


def _write(store: Store, folder: str, written: Mapping[str, pa.Table]) -> None:
    for table, content in written.items():
        store.write(f"{folder}/{table}.parquet", parquet.dump(content))


def _work(store: Store, plan: Plan, further: int, on_progress: Callable[[Progress], object], **where: Any) -> float:
    """Do the jobs that are not done; returns the seconds that interrupted runs had spent on those that are.

    further: how many pieces of work follow.
    """
    jobs, done = plan.jobs, 0

    def on_done(job: Job, seconds: float) -> None:
        nonlocal done
        done += 1
        on_progress(Progress(done, len(jobs) + further, job.label, seconds))

    kept: list[Job] = []
    todo: list[Job] = []
    for job in jobs:
        (kept if job.done(store) else todo).append(job)
    todo.sort(key=_long, reverse=True)  # so that at the end no worker waits for one that began it last
    for job in kept:
        on_done(job, 0.0)
    fan_out.run(todo, str(store.root), on_done=on_done, **where)
    keys = [job.key for job in kept if isinstance(job, AttackJob)]
    return sum(float(pc.sum(parquet.load(store, key, schemas.SCORES)["seconds"]).as_py()) for key in keys)


def _groups(images: Images) -> dict[str, int]:
    """How many groups hold the normals, and how many the anomalies."""
    named = zip(images.parts, images.labels.tolist(), strict=True)
    of_class = Counter(label for _, label in set(named))
    return {"normals": of_class[0], "anomalies": of_class[1]}


def _about_categories(images: Images) -> Iterator[Finding]:
    """Why there are no figures by category, where there are categories."""
    if images.categories and (why := without_figures(images.categories, images.labels.tolist())):
        yield Finding(NO_CATEGORIES, why)


def describe(prepared: Prepared, suite: Suite, limit: int | None, notes: Sequence[str], seconds: float) -> Content:
    """The content of audit.yaml: what was audited, how, and the command that does it again.

    suite: as it was asked for; `left_out` names what could not be made of it.
    """
    plan = prepared.plan
    model, images = plan.model, plan.images
    sweep = model.manifest.get("sweep", {})
    command = ["assay", "audit", model.hash, "--suite", suite.source, "--seed", str(plan.seed)]
    if limit is not None:
        command += ["--limit", str(limit)]
    if plan.device != "cpu":
        command += ["--device", plan.device]
    if plan.surrogate is not None:
        command += ["--surrogate", plan.surrogate]
    return {
        formats.FIELD: formats.written("audit"),
        "audit": plan.audit,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "model": model.hash,
        "sweep": sweep.get("name"),
        "trial": sweep.get("trial"),
        "suite": plan.suite.plain(),
        "left_out": [dataclasses.asdict(one) for one in prepared.left_out],
        "attacked_as": "white box" if plan.facts.differentiable else "black box",
        "findings": [dataclasses.asdict(finding) for finding in plan.facts.findings],
        "notes": list(notes),
        "surrogate": plan.surrogate,
        "dataset": dict(model.manifest["dataset"]),
        "threshold": dict(model.manifest["threshold"]),
        **({"deployed": dict(model.manifest["deployed"])} if "deployed" in model.manifest else {}),
        "seed": plan.seed,
        "devices": {"jobs": plan.device, "checks": plan.device, "first_look": prepared.here},
        "limit": limit,
        "samples": {"normals": int((images.labels == 0).sum()), "anomalies": int((images.labels == 1).sum())},
        **({"groups": _groups(images)} if images.group_names else {}),
        "command": shlex.join(command),
        "environment": environment(),
        "seconds": round(seconds, 1),
    }
