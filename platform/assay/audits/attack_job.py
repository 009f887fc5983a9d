"""One shard of an audit: one attack of a suite, all its epsilons, on a slice of the samples. Needs no Ray.

A shard's part is named by the hash of everything that determines it; a part that exists is not computed again.
"""

from __future__ import annotations

import functools
import io
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from assay.contracts import Images, Norm, ThreatModel
from assay.errors import DataError
from assay.hashing import canonical, digest
from assay.metrics.worst_samples import worst_first
from assay.models import model_folder
from assay.norm_balls import size, to_8_bit
from assay.runtime import malloc
from assay.runtime.out_of_memory import halving
from assay.shelves import Item
from assay.store import parquet, schemas
from assay.store.store import Store
from assay.sweeps.evaluation import pixels, take

if TYPE_CHECKING:
    from torch import Tensor, nn

SHOWN_PER_SHARD = 3  # candidates for the pictures of the worst samples


@dataclass(frozen=True)
class Shard:
    """What a worker is told, in plain values.

    entry, parameters: an entry of the suite and its hash. headline: the (norm, epsilon) whose worst samples are kept as
    pictures. threshold: the detector's. images: the slice of the test split, `first` the index of its first.
    surrogate: the hash of another model in the store, for an attack that needs one.
    """

    audit: str
    model: str
    dataset: str
    entry: Mapping[str, Any]
    parameters: str
    headline: tuple[str, float]
    threshold: float
    images: Images
    first: int
    seed: int
    device: str = "cpu"
    surrogate: str | None = None

    @property
    def label(self) -> str:
        """What progress calls it."""
        return str(self.entry["name"])

    @functools.cached_property
    def key(self) -> str:
        """The store's key of this shard's scores."""
        samples = [list(self.images.ids), list(self.images.hashes), self.images.labels.tolist()]
        how = [self.threshold, self.seed, self.surrogate]
        content = [self.model, self.dataset, dict(self.entry), samples, self.first, how]
        return f"audits/{self.audit}/scores/attack={self.entry['name']}/part-{digest(canonical(content))[:16]}.parquet"

    @property
    def worst_key(self) -> str:
        """The store's key of this shard's candidates for the pictures of the worst samples."""
        return self.key.replace("/scores/", "/candidates/")

    @property
    def note_key(self) -> str:
        """The store's key of what has to be said about how this shard was computed; mostly there is nothing."""
        return self.key.replace("/scores/", "/notes/").replace(".parquet", ".txt")

    def done(self, store: Store) -> bool:
        """Whether its files are there."""
        return store.exists(self.key) and store.exists(self.worst_key)

    def run(self, root: str) -> float:
        """Compute it unless it is done; returns the seconds spent."""
        store = Store(root)
        if self.done(store):
            return 0.0
        started = time.monotonic()
        detector = model_folder.loaded(root, self.model, self.device)
        surrogate = model_folder.loaded(root, self.surrogate, self.device) if self.surrogate else None
        notes: list[str] = []
        with one_thread():
            parts = halving(lambda a, b: attack(self, detector, surrogate, a, b), len(self.images), notes.append)
        if notes:
            store.write(self.note_key, "\n".join(notes).encode())
        store.write(self.worst_key, parquet.dump(pa.concat_tables(worst for _, worst in parts)))
        store.write(self.key, parquet.dump(pa.concat_tables(scores for scores, _ in parts)))
        return time.monotonic() - started


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for the block: sums then have one order, and a score the same bits in every process."""
    import torch

    malloc.keep()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def attack(
    shard: Shard, detector: nn.Module, surrogate: nn.Module | None = None, first: int = 0, last: int | None = None
) -> tuple[pa.Table, pa.Table]:
    """SCORES and WORST of the samples first to last of a shard, by default all."""
    import torch

    entry, images = shard.entry, take(shard.images, range(first, len(shard.images) if last is None else last))
    item = Item("attacks", entry["attack"], entry["parameters"])
    arguments = item.arguments() | ({} if surrogate is None else {"surrogate": surrogate})
    clean = pixels(images, 0, len(images), shard.device)
    direction = torch.from_numpy(1 - 2 * images.labels).to(shard.device)
    clean_scores = scored(detector, clean, "clean")
    name = int(digest(entry["name"].encode())[:8], 16)
    seed = np.random.SeedSequence([shard.seed, shard.first + first, name])
    generator = torch.Generator(shard.device).manual_seed(int(seed.generate_state(1)[0]))
    scores, worst, start = [], [], None
    for epsilon in entry["epsilons"]:
        threat = ThreatModel(entry["norm"], epsilon, shard.threshold)
        began = time.monotonic()
        found = item.function(detector, clean, direction, threat, generator, start=start, **arguments)
        seconds = (time.monotonic() - began) / len(images)
        start = found.images
        rounded = to_8_bit(found.images, clean, threat)
        measured = {
            "clean_score": clean_scores,
            # Scored here again: an attack's own account of its success is not evidence.
            "adversarial_score": scored(detector, found.images, entry["name"]),
            "rounded_score": scored(detector, rounded, entry["name"]),
            "linf": distance(found.images, clean, "linf"),
            "l2": distance(found.images, clean, "l2"),
            "l1": distance(found.images, clean, "l1"),
            "patch": covering_square(found.images, clean),
            "forwards": found.forwards,
            "backwards": found.backwards,
            "broken_at": torch.full_like(found.forwards, -1) if found.broken_at is None else found.broken_at,
        }
        fixed = {
            "model": shard.model,
            "dataset": shard.dataset,
            "attack": entry["name"],
            "parameters": shard.parameters,
            "norm": entry["norm"],
            "epsilon": epsilon,
            "seconds": seconds,
            "seed": shard.seed,
        }
        columns = {
            **{key: np.repeat(value, len(images)) for key, value in fixed.items()},
            **{key: value.cpu().numpy() for key, value in measured.items()},
            "sample": np.array(images.ids),
            "sample_hash": np.array(images.hashes),
            "label": images.labels,
            "defect": np.array(images.defects),
            "regime": np.where(images.labels == 1, "evasion", "false_alarm"),
            "direction": direction.cpu().numpy(),
        }
        table = pa.table({field.name: pa.array(columns[field.name]).cast(field.type) for field in schemas.SCORES})
        scores.append(table)
        if (entry["norm"], epsilon) == tuple(shard.headline) and entry["knowledge"] != "none":
            worst.append(worst_samples(table, shard.threshold, clean, rounded))
    return pa.concat_tables(scores), pa.concat_tables([schemas.WORST.empty_table(), *worst])


def scored(detector: nn.Module, images: Tensor, what: str) -> Tensor:
    """The detector's scores (B,) float32 of images (B, C, H, W); raises DataError where one is not finite."""
    import torch

    with torch.no_grad():
        scores: Tensor = detector(images).float()
    if broken := int((~scores.isfinite()).sum()):
        raise DataError(
            f"the detector's score is not finite (NaN or infinite) for {broken} of {len(scores)} {what} images; "
            "a score that can be audited is finite everywhere"
        )
    return scores


def distance(images: Tensor, clean: Tensor, norm: Norm) -> Tensor:
    """(B,) how far each image lies from its clean one; infinite for one that left [0, 1], as it is no image."""
    inside = ((images >= 0) & (images <= 1)).flatten(1).all(dim=1)
    return size(images - clean, norm).masked_fill(~inside, float("inf"))


def covering_square(images: Tensor, clean: Tensor) -> Tensor:
    """(B,) share of the image's area of the smallest square around everything that differs from the clean image."""
    changed = (images != clean).any(dim=1)
    side = _extent(changed.any(dim=2)).maximum(_extent(changed.any(dim=1)))
    return side.double() ** 2 / changed[0].numel()


def _extent(changed: Tensor) -> Tensor:
    """(B,) how many places lie from the first to the last that is True in (B, N)."""
    behind, ahead = changed.int().cumsum(1), changed.int().flip(1).cumsum(1).flip(1)
    return ((behind > 0) & (ahead > 0)).sum(1)


def worst_samples(scores: pa.Table, threshold: float, clean: Tensor, rounded: Tensor) -> pa.Table:
    """WORST of a slice: the samples an attacker gained most on, with pictures as an 8-bit file would hold them."""
    label, before, after = (scores[name].to_numpy() for name in ("label", "clean_score", "adversarial_score"))
    order = worst_first(label, before, after, threshold)[:SHOWN_PER_SHARD]
    table = scores.append_column("shift", pa.array(scores["direction"].to_numpy() * (after - before))).take(order)
    for name, images in (("clean_png", clean), ("adversarial_png", rounded)):
        table = table.append_column(name, pa.array([png(images[i]) for i in map(int, order)], pa.binary()))
    return table.select(schemas.WORST.names).cast(schemas.WORST)


def png(image: Tensor) -> bytes:
    """An image (C, H, W) in [0, 1] as a PNG file, C of 1 or 3."""
    from PIL import Image

    values = (image.cpu().numpy() * 255).round().astype(np.uint8).transpose(1, 2, 0)
    content = io.BytesIO()
    Image.fromarray(values.squeeze(2) if values.shape[2] == 1 else values).save(content, "PNG")
    return content.getvalue()
