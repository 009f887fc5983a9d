"""Validation without labelled anomalies: some of the held-out normals are turned into pseudo-anomalies.

The resulting figures measure how well a detector finds this kind of pseudo-anomaly, not how well it finds real defects.
"""

from __future__ import annotations

import numpy as np
import torch

from assay import shelves
from assay.contracts import Images
from assay.data.grouped_split import split
from assay.data.images import pixel_hash

STRATEGY = "cutpaste"
SEED = 0
BATCH = 64


def with_pseudo_anomalies(normals: Images, keys: list[str]) -> Images:
    """About half of the normals unchanged, with a pseudo-anomaly in place of each of the others.

    keys: normals with the same key are either all kept or all replaced.
    Ids become `<id>#cutpaste`, defects `pseudo:cutpaste`. Images that the strategy did not change are dropped.
    The same normals always give the same result: all draws use a fixed seed. The result is held in memory.
    """
    sides = split(keys, {"kept": 0.5, "replaced": 0.5}, SEED, STRATEGY)
    kept = [index for index, side in enumerate(sides) if side == "kept"]
    sources = [index for index, side in enumerate(sides) if side == "replaced"]
    made = _made_from(normals.pixels[sources])
    changed = [row for row, index in enumerate(sources) if not np.array_equal(made[row], normals.pixels[index])]
    anomalies = [sources[row] for row in changed]
    return Images(
        pixels=np.concatenate([normals.pixels[kept], made[changed]]),
        labels=np.array([0] * len(kept) + [1] * len(anomalies), dtype=np.int64),
        ids=tuple([normals.ids[i] for i in kept] + [f"{normals.ids[i]}#{STRATEGY}" for i in anomalies]),
        defects=tuple([normals.defects[i] for i in kept] + [f"pseudo:{STRATEGY}"] * len(anomalies)),
        hashes=tuple([normals.hashes[i] for i in kept] + [pixel_hash(made[row]) for row in changed]),
        groups=tuple(normals.groups[i] for i in [*kept, *anomalies]) if normals.groups else (),
    )


def _made_from(pixels: np.ndarray) -> np.ndarray:
    """Pseudo-anomalies uint8 (N, C, H, W) of images uint8 (N, C, H, W)."""
    item = shelves.Item("pseudo_anomalies", STRATEGY, {})
    generator = torch.Generator().manual_seed(SEED)
    made = np.empty_like(pixels)
    for start in range(0, len(pixels), BATCH):
        images = torch.from_numpy(pixels[start : start + BATCH].astype(np.float32) / 255)
        changed = item.function(images, generator, **item.arguments()).images
        made[start : start + BATCH] = (changed * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return made
