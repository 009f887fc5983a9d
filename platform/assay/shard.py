"""One shard of an audit: one attack of a suite, all its epsilons, on a slice of the samples. Needs no Ray.

A shard's part is named by the hash of everything that determines it; a part that exists is not computed again.
"""

from __future__ import annotations

import functools
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay import model as model_module
from assay import tables
from assay.attacks._ball import size, to_8_bit
from assay.contracts import Images, Norm, ThreatModel
from assay.evaluation import pixels
from assay.shelves import Item
from assay.store import Store, canonical, digest

if TYPE_CHECKING:
    from torch import Tensor, nn

SHOWN_PER_SHARD = 3  # candidates for the pictures of the worst samples


@dataclass(frozen=True)
class Shard:
    """What a worker is told, in plain values.

    images: the slice of the test split. headline: the (norm, epsilon) whose worst samples are kept as pictures.
    """

    audit: str
    model: str
    dataset: str
    entry: Mapping[str, Any]
    headline: tuple[str, float]
    images: Images
    first: int
    seed: int
    device: str = "cpu"

    @property
    def key(self) -> str:
        """The store's key of this shard's scores."""
        content = [self.model, self.dataset, dict(self.entry), list(self.images.hashes), self.first, self.seed]
        return f"audits/{self.audit}/scores/attack={self.entry['name']}/part-{digest(canonical(content))[:16]}.parquet"

    @property
    def worst_key(self) -> str:
        """The store's key of this shard's candidates for the pictures of the worst samples."""
        return self.key.replace("/scores/", "/candidates/")


@functools.lru_cache(maxsize=2)
def _loaded(root: str, name: str, device: str) -> nn.Module:
    return model_module.load(Store(root), name).detector.to(device)


def run(shard: Shard, root: str, threads: int = 1) -> float:
    """Compute a shard unless its part exists; returns the seconds spent. One thread: the same bits everywhere."""
    import torch

    store = Store(root)
    if store.exists(shard.key):
        return 0.0
    torch.set_num_threads(threads)
    started = time.monotonic()
    scores, worst = attack(shard, _loaded(root, shard.model, shard.device))
    store.write(shard.worst_key, parquet(pa.Table.from_pylist(worst, schema=tables.WORST)))
    store.write(shard.key, parquet(pa.Table.from_pylist(scores, schema=tables.SCORES)))
    return time.monotonic() - started


def attack(shard: Shard, detector: nn.Module) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of SCORES and of WORST of one shard."""
    import torch

    entry, images = shard.entry, shard.images
    item = Item("attacks", entry["attack"], entry["parameters"])
    clean = pixels(images, 0, len(images), shard.device)
    direction = torch.from_numpy(1 - 2 * images.labels).to(shard.device)
    with torch.no_grad():
        clean_scores = detector(clean)
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
        with torch.no_grad():
            rounded_scores = detector(rounded)
        columns = {
            "clean_score": clean_scores,
            "adversarial_score": found.scores,
            "rounded_score": rounded_scores,
            "linf": distance(found.images, clean, "linf"),
            "l2": distance(found.images, clean, "l2"),
            "forwards": found.forwards,
            "backwards": found.backwards,
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
                "parameters": digest(canonical(dict(entry)))[:12],
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


def parquet(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()
