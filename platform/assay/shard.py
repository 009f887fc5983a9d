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

from assay import model as model_module
from assay import parquet, tables
from assay.attacks._ball import size, to_8_bit
from assay.contracts import Images, Norm, ThreatModel
from assay.errors import DataError
from assay.evaluation import pixels
from assay.shelves import Item
from assay.store import Store, canonical, digest

if TYPE_CHECKING:
    from torch import Tensor, nn

SHOWN_PER_SHARD = 3  # candidates for the pictures of the worst samples


@dataclass(frozen=True)
class Shard:
    """What a worker is told, in plain values.

    entry, parameters: an entry of the suite and its hash. headline: the (norm, epsilon) whose worst samples are kept as
    pictures. images: the slice of the test split, `first` the index of its first.
    """

    audit: str
    model: str
    dataset: str
    entry: Mapping[str, Any]
    parameters: str
    headline: tuple[str, float]
    images: Images
    first: int
    seed: int
    device: str = "cpu"

    @property
    def key(self) -> str:
        """The store's key of this shard's scores."""
        samples = [list(self.images.ids), list(self.images.hashes), self.images.labels.tolist()]
        content = [self.model, self.dataset, dict(self.entry), samples, self.first, self.seed]
        return f"audits/{self.audit}/scores/attack={self.entry['name']}/part-{digest(canonical(content))[:16]}.parquet"

    @property
    def worst_key(self) -> str:
        """The store's key of this shard's candidates for the pictures of the worst samples."""
        return self.key.replace("/scores/", "/candidates/")

    def done(self, store: Store) -> bool:
        """Whether both of its files are there."""
        return store.exists(self.key) and store.exists(self.worst_key)


@functools.lru_cache(maxsize=2)
def _loaded(root: str, name: str, device: str) -> nn.Module:
    return model_module.load(Store(root), name).detector.to(device)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for the block: sums then have one order, and a score the same bits in every process."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run(shard: Shard, root: str) -> float:
    """Compute a shard unless it is done; returns the seconds spent."""
    store = Store(root)
    if shard.done(store):
        return 0.0
    started = time.monotonic()
    with one_thread():
        scores, worst = attack(shard, _loaded(root, shard.model, shard.device))
    store.write(shard.worst_key, parquet.dump(pa.Table.from_pylist(worst, schema=tables.WORST)))
    store.write(shard.key, parquet.dump(pa.Table.from_pylist(scores, schema=tables.SCORES)))
    return time.monotonic() - started


def attack(shard: Shard, detector: nn.Module) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of SCORES and of WORST of one shard."""
    import torch

    entry, images = shard.entry, shard.images
    item = Item("attacks", entry["attack"], entry["parameters"])
    clean = pixels(images, 0, len(images), shard.device)
    direction = torch.from_numpy(1 - 2 * images.labels).to(shard.device)
    clean_scores = scored(detector, clean, "clean")
    seed = np.random.SeedSequence([shard.seed, shard.first, int(digest(entry["name"].encode())[:8], 16)])
    generator = torch.Generator(shard.device).manual_seed(int(seed.generate_state(1)[0]))
    scores: list[dict[str, Any]] = []
    worst: list[dict[str, Any]] = []
    start = None
    for epsilon in entry["epsilons"]:
        threat = ThreatModel(entry["norm"], epsilon)
        began = time.monotonic()
        found = item.function(detector, clean, direction, threat, generator, start=start, **item.arguments())
        seconds = (time.monotonic() - began) / len(images)
        start = found.images
        rounded = to_8_bit(found.images, clean, threat)
        columns = {
            "clean_score": clean_scores,
            # Scored here again: an attack's own account of its success is not evidence.
            "adversarial_score": scored(detector, found.images, entry["name"]),
            "rounded_score": scored(detector, rounded, entry["name"]),
            "linf": distance(found.images, clean, "linf"),
            "l2": distance(found.images, clean, "l2"),
            "l1": distance(found.images, clean, "l1"),
            "forwards": found.forwards,
            "backwards": found.backwards,
            "broken_at": torch.full_like(found.forwards, -1) if found.broken_at is None else found.broken_at,
        }
        values = {name: column.tolist() for name, column in columns.items()}
        rows = [
            {
                "model": shard.model,
                "dataset": shard.dataset,
                "sample": images.ids[i],
                "sample_hash": images.hashes[i],
                "label": int(images.labels[i]),
                "defect": images.defects[i],
                "attack": entry["name"],
                "parameters": shard.parameters,
                "norm": entry["norm"],
                "epsilon": epsilon,
                "regime": "evasion" if images.labels[i] else "false_alarm",
                "direction": int(direction[i]),
                "seconds": seconds,
                "seed": shard.seed,
                **{name: column[i] for name, column in values.items()},
            }
            for i in range(len(images))
        ]
        scores += rows
        if (entry["norm"], epsilon) == tuple(shard.headline) and entry["knowledge"] != "none":
            worst += worst_rows(rows, clean, rounded)
    return scores, worst


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


def worst_rows(rows: list[dict[str, Any]], clean: Tensor, rounded: Tensor) -> list[dict[str, Any]]:
    """The samples of the slice whose score moved furthest, with their pictures as an 8-bit file would hold them."""
    shifts = [row["direction"] * (row["adversarial_score"] - row["clean_score"]) for row in rows]
    order = np.argsort(shifts)[::-1][:SHOWN_PER_SHARD]
    return [
        {
            **{name: rows[i][name] for name in tables.WORST.names if name in rows[i]},
            "shift": shifts[i],
            "clean_png": png(clean[i]),
            "adversarial_png": png(rounded[i]),
        }
        for i in map(int, order)
    ]


def png(image: Tensor) -> bytes:
    """An image (C, H, W) in [0, 1] as a PNG file, C of 1 or 3."""
    from PIL import Image

    values = (image.cpu().numpy() * 255).round().astype(np.uint8).transpose(1, 2, 0)
    content = io.BytesIO()
    Image.fromarray(values.squeeze(2) if values.shape[2] == 1 else values).save(content, "PNG")
    return content.getvalue()
