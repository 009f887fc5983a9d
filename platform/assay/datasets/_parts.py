"""Which split every image of a table goes to: groups stay whole, and no group with an anomaly trains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from assay.contracts import Split
from assay.data.grouped_split import split

ENOUGH = 0.5
"""Share of the wanted train normals that groups without anomalies must hold; else groups train whatever they hold."""


@dataclass(frozen=True)
class Placed:
    """An image to be placed. key: images with the same one stay together. split: the published one, if any.

    category: each is shared out as if it were alone.
    """

    key: str
    label: int
    kind: str
    split: Literal["train", "validation", "test"] | None
    stratum: str
    category: str = ""


Shares = Callable[[Placed, int], dict[Split, float]]


def parts(images: Sequence[Placed], shares: Shares, seed: int, seen: AbstractSet[str] | None) -> list[Split | None]:
    """A split for every image, None for one that no split can use: an anomaly whose group or split is to train on.

    shares: of each split in a stratum, given one of its images and their number. seen: kinds that may leave the test
    split; groups with another kind are test. Anomalies are shared out first, and the normals of their groups go with
    them, unless that leaves too few normals to train on: then groups are shared out by their normals.
    """
    part_of: dict[str, Split] = {}
    for one in images:
        if one.label and seen is not None and one.kind not in seen:
            part_of[one.key] = "test"
    held_out = {one.key for one in images if one.label and one.split != "train"}
    trainable = [one for one in images if one.label == 0 and one.split in ("train", None)]
    wanted = sum(shares(one, len(trainable))["train"] for one in trainable)
    free = sum(one.key not in held_out for one in trainable)
    last = free < ENOUGH * wanted  # whether anomalies are shared out last
    strata: dict[tuple[int, str, str], list[Placed]] = {}
    for one in images:
        strata.setdefault((one.label, one.stratum, one.category), []).append(one)
    for _, mine in sorted(strata.items(), reverse=not last):
        _place(mine, part_of, shares, seed)
    placed = [part_of[one.key] for one in images]
    return [None if one.label and part == "train" else part for one, part in zip(images, placed, strict=True)]


def _place(mine: Sequence[Placed], part_of: dict[str, Split], shares: Shares, seed: int) -> None:
    """Give the keys of one stratum that have no split yet one."""
    first = mine[0]
    if first.split == "train" and first.label:  # an anomaly that was published for training
        part_of |= {one.key: "train" for one in mine if one.key not in part_of}
        return
    if first.split == "validation" or (first.split == "test" and not first.label):
        part_of |= {one.key: first.split for one in mine if one.key not in part_of}
        return
    placed = Counter(part for one in mine if (part := part_of.get(one.key)) is not None)
    free = [one.key for one in mine if one.key not in part_of]
    part_of |= zip(free, split(free, shares(first, len(mine)), seed, first.stratum, placed), strict=True)
