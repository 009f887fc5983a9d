"""A job of an audit: one slice of the images, its tables written whole and never computed twice. Needs no Ray."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import pyarrow as pa

from assay.contracts import Images
from assay.data.reduced import take
from assay.hashing import canonical, digest
from assay.models import model_folder
from assay.runtime.float32 import exact_float32
from assay.runtime.out_of_memory import in_halves_if_out_of_memory
from assay.runtime.threads import one_thread
from assay.store import parquet
from assay.store.schemas import CATEGORY, GROUP
from assay.store.store import Store

if TYPE_CHECKING:
    from torch import nn


class About(TypedDict):
    """What all jobs of an audit share: its id, the hashes of model and dataset, its seed and the device."""

    audit: str
    model: str
    dataset: str
    seed: int
    device: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """The base of the five kinds of job: plain values, so that a job can be sent to a worker.

    FOLDERS: where each table that it always has goes within the audit, the main one first. images: the slice.
    A subclass says its label, its settings and how to compute.
    """

    FOLDERS: ClassVar[tuple[str, ...]]

    audit: str
    model: str
    dataset: str
    images: Images
    seed: int
    device: str = "cpu"

    @property
    def label(self) -> str:
        """The name of the job in progress messages, and of its folder within FOLDERS."""
        raise NotImplementedError

    @property
    def settings(self) -> list[Any]:
        """Everything else that decides what is computed, as plain values."""
        raise NotImplementedError

    @property
    def models(self) -> tuple[str, ...]:
        """The hashes of the models that it needs: the one that is audited, then any others."""
        return (self.model,)

    @property
    def folders(self) -> tuple[str, ...]:
        """Where its tables go."""
        return self.FOLDERS

    def detectors(self, root: str) -> list[nn.Module]:
        """What `compute` is given, from the store there: the audited detector, then any others."""
        return [model_folder.loaded(root, name, self.device) for name in self.models]

    def compute(self, images: Images, detector: nn.Module, *others: nn.Module) -> tuple[pa.Table, ...]:
        """The tables, one for each of `folders`, of some images of the slice; no row depends on another's image."""
        raise NotImplementedError

    @functools.cached_property
    def keys(self) -> tuple[str, ...]:
        """The store's key of each table, named by the hash of everything that decides its content."""
        samples = [list(self.images.ids), list(self.images.hashes), self.images.labels.tolist()]
        if groups := self.images.group_names:
            samples.append(list(groups))
        if self.images.categories:
            samples.append(list(self.images.categories))
        content = [self.model, self.dataset, self.seed, self.label, samples, self.settings]
        part = f"part-{digest(canonical(content))[:16]}.parquet"
        return tuple(f"audits/{self.audit}/{folder}/{self.label}/{part}" for folder in self.folders)

    @property
    def key(self) -> str:
        """The store's key of the main table."""
        return self.keys[0]

    @property
    def note_key(self) -> str:
        """The store's key of remarks on how it was computed; mostly there are none."""
        return self.key.replace(f"/{self.FOLDERS[0]}/", "/notes/").replace(".parquet", ".txt")

    def done(self, store: Store) -> bool:
        """Whether its tables are there."""
        return all(store.exists(key) for key in self.keys)

    def run(self, root: str) -> float:
        """Compute and write its tables unless they are there; returns the seconds spent."""
        store = Store(root)
        if self.done(store):
            return 0.0
        started = time.monotonic()
        detectors = self.detectors(root)
        notes: list[str] = []

        def compute(first: int, last: int) -> tuple[pa.Table, ...]:
            return self.compute(take(self.images, range(first, last)), *detectors)

        with one_thread(), exact_float32():
            parts = in_halves_if_out_of_memory(compute, len(self.images), notes.append)
        if notes:
            store.write(self.note_key, "\n".join(notes).encode())
        # The first table is written last: a job is done when it is there.
        for key, tables in reversed(list(zip(self.keys, zip(*parts, strict=True), strict=True))):
            store.write(key, parquet.dump(pa.concat_tables(tables)))
        return time.monotonic() - started

    def table(self, images: Images, schema: pa.Schema, columns: Mapping[str, Any]) -> pa.Table:
        """A row of `schema` for each image: the columns that say which model and image it is, and those given."""
        known = {
            "model": self.model,
            "dataset": self.dataset,
            "sample": list(images.ids),
            "sample_hash": list(images.hashes),
            "label": images.labels,
            "defect": list(images.defects),
            "seed": self.seed,
            GROUP: list(images.parts),
            **({CATEGORY: list(images.categories)} if images.categories else {}),
        }
        return parquet.table({**known, **columns}, schema).cast(schema)


def notes(jobs: Sequence[Job], store: Store) -> Iterator[str]:
    """The remarks on how parts were computed, such as that memory ran out."""
    for job in jobs:
        if store.exists(job.note_key):
            yield f"{job.label}: {store.read(job.note_key).decode()}"
