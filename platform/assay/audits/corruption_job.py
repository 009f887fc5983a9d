"""The work of an audit that corrupts one slice of the test images, and the figures made of all slices. Needs no Ray.

No attacker chooses a corruption: it comes at random, so every image has one draw of it, the same in each severity.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assay import shelves
from assay.audits.attack_job import scored
from assay.audits.job import written
from assay.contracts import Images
from assay.errors import DataError
from assay.hashing import canonical, digest
from assay.metrics import bootstrap, detection
from assay.metrics.intervals import Interval, newcombe, wilson
from assay.models import model_folder
from assay.store import parquet
from assay.store.schemas import CORRUPTED
from assay.store.store import Store
from assay.sweeps.evaluation import pixels

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

MEAN = "corruptions"
"""Name, in place of a corruption's, of the figures that are the mean over all of them."""

CHANCE = 0.01
"""That `monotone` finds a fall, anywhere in an audit, where there is only noise."""

FLAT = 0.1
"""Of an effect: how much less a more severe corruption may have. Scores come to an end, and then turn a little."""

SAME = 1e-3
"""Of the standard deviation of the clean scores: how far arithmetic may move a score."""


@dataclass(frozen=True)
class Corrupting:
    """What a worker is told, in plain values: one corruption, its severities, and the images, `first` the index of one.

    Every image draws from a stream of its own, which seed, corruption and the image's index decide.
    """

    audit: str
    model: str
    dataset: str
    corruption: str
    severities: tuple[int, ...]
    images: Images
    first: int
    seed: int
    device: str = "cpu"

    @property
    def label(self) -> str:
        """What progress calls it."""
        return self.corruption

    @functools.cached_property
    def key(self) -> str:
        """The store's key of the scores."""
        samples = [list(self.images.ids), list(self.images.hashes), self.images.labels.tolist()]
        content = [self.model, self.dataset, self.corruption, list(self.severities), samples, self.first, self.seed]
        part = digest(canonical(content))[:16]
        return f"audits/{self.audit}/corrupted/corruption={self.corruption}/part-{part}.parquet"

    def done(self, store: Store) -> bool:
        """Whether the scores are there."""
        return store.exists(self.key)

    def run(self, root: str) -> float:
        """Compute and write the scores unless they are there; returns the seconds spent."""
        return written(self, root, lambda: corrupt(self, model_folder.loaded(root, self.model, self.device)))


def works(
    corruptions: Sequence[str],
    severities: Sequence[int],
    slices: Sequence[tuple[int, Images]],
    *,
    audit: str,
    model: str,
    dataset: str,
    seed: int,
    device: str = "cpu",
) -> list[Corrupting]:
    """The works that make every corruption on every slice; slices: (index of the first, images) of each."""
    return [
        Corrupting(audit, model, dataset, corruption, tuple(severities), images, first, seed, device)
        for corruption in corruptions
        for first, images in slices
    ]


def corrupt(work: Corrupting, detector: nn.Module) -> pa.Table:
    """CORRUPTED of one slice; raises DataError where a corruption or the detector gives what it may not."""
    images, function = work.images, shelves.load("corruptions", work.corruption)
    clean = pixels(images, 0, len(images), work.device)
    clean_scores = scored(detector, clean, "clean").cpu().numpy()
    parts = []
    for severity in work.severities:
        began = time.monotonic()
        corrupted = _as_stored(function(clean, severity, streams(work)), clean, work.corruption)
        scores = scored(detector, corrupted, f"{work.corruption} {severity}").cpu().numpy()
        columns = {
            "model": work.model,
            "dataset": work.dataset,
            "sample": list(images.ids),
            "sample_hash": list(images.hashes),
            "label": images.labels,
            "defect": list(images.defects),
            "corruption": work.corruption,
            "severity": severity,
            "clean_score": clean_scores,
            "score": scores,
            "seconds": (time.monotonic() - began) / len(images),
            "seed": work.seed,
        }
        parts.append(parquet.table(columns, CORRUPTED))
    return pa.concat_tables(parts)


def streams(work: Corrupting) -> list[torch.Generator]:
    """A generator for each image, always at its beginning: severities differ in strength, not in their draws."""
    import torch

    name = int(digest(work.corruption.encode())[:8], 16)
    seeds = (np.random.SeedSequence([work.seed, work.first + i, name]) for i in range(len(work.images)))
    return [torch.Generator(work.device).manual_seed(int(seed.generate_state(1)[0])) for seed in seeds]


def _as_stored(images: Tensor, clean: Tensor, corruption: str) -> Tensor:
    """The images as a file of 8 bits would hold them, as it holds the clean ones."""
    if images.shape != clean.shape or not bool(((images >= 0) & (images <= 1)).all()):
        raise DataError(
            f"corruption '{corruption}' must give images {tuple(clean.shape)} in [0, 1]; it gave {tuple(images.shape)} "
            f"from {images.min():.3g} to {images.max():.3g}"
        )
    return (images * 255).round() / 255


class Cube(NamedTuple):
    """The scores of an audit under corruption, sorted: severities (S,), kinds (K,), samples (N,)."""

    severities: NDArray[np.int64]
    kinds: list[str]
    labels: NDArray[np.int64]
    clean: NDArray[np.float64]
    scores: NDArray[np.float64]  # (S, K, N)


def cube(corrupted: pa.Table | Mapping[str, Any]) -> Cube:
    """The columns of CORRUPTED as a cube; raises DataError where a sample lacks a corruption or a severity."""
    columns = {name: np.asarray(corrupted[name]) for name in ("severity", "corruption", "sample", "label")}
    severities, severity = np.unique(columns["severity"].astype(np.int64), return_inverse=True)
    kinds, kind = np.unique(columns["corruption"].astype(np.str_), return_inverse=True)
    samples, sample = np.unique(columns["sample"].astype(np.str_), return_inverse=True)
    shape = (len(severities), len(kinds), len(samples))
    place = np.ravel_multi_index((severity, kind, sample), shape)
    if not np.array_equal(np.sort(place), np.arange(np.prod(shape))):
        raise DataError(
            "not every sample has one score for each corruption and severity; run the same audit again, which makes "
            "what is missing"
        )
    order = np.argsort(place)
    clean, scores = (np.asarray(corrupted[name], dtype=np.float64)[order] for name in ("clean_score", "score"))
    labels = columns["label"][order][: len(samples)].astype(np.int64)
    return Cube(severities, kinds.tolist(), labels, clean[: len(samples)], scores.reshape(shape))


def figures(
    corrupted: pa.Table, *, threshold: float, replicates: int = 1000, confidence: float = 0.95, seed: int = 0
) -> list[dict[str, Any]]:
    """Rows of METRICS: every corruption at every severity, and `corruptions`, the mean over all of them.

    norm: corruption. epsilon: the severity. regime: natural. Raises DataError.
    """
    found = cube(corrupted)
    counts = {"normals": int((found.labels == 0).sum()), "anomalies": int((found.labels == 1).sum())}
    options: dict[str, Any] = {"threshold": threshold, "replicates": replicates, "confidence": confidence, "seed": seed}
    rows = []
    for severity, scores in zip(found.severities, found.scores, strict=True):
        of_kinds = [detection.figures(found.labels, of_kind, **options) for of_kind in scores]
        mean = _mean_figures(found.labels, scores, of_kinds, **options)
        where = {"norm": "corruption", "epsilon": float(severity), "regime": "natural", "defect": "all"}
        rows += [
            {"attack": name, **where, "metric": metric, **interval._asdict(), "confidence": confidence, **counts}
            for name, intervals in zip([*found.kinds, MEAN], [*of_kinds, mean], strict=True)
            for metric, interval in intervals.items()
        ]
    return rows


def _mean_figures(
    labels: NDArray[np.int64],
    scores: NDArray[np.float64],
    of_kinds: list[dict[str, Interval]],
    *,
    threshold: float,
    replicates: int,
    confidence: float,
    seed: int,
) -> dict[str, Interval]:
    """The mean of each figure over the kinds, scores (K, N), with an interval.

    Every resample of the images gives one mean; the percentile interval of those is widened where the closed form for
    one figure of that value reaches further, so that perfect figures have a width too.
    """
    normals, anomalies = scores[:, labels == 0], scores[:, labels == 1]
    wrong = {
        "miss_rate": (1, ~detection.flagged(anomalies, threshold)),
        "false_alarm_rate": (0, detection.flagged(normals, threshold)),
    }
    drawn: dict[str, list[NDArray[np.float64]]] = {metric: [] for metric in of_kinds[0]}
    for block in bootstrap.blocks(replicates, len(labels), seed):
        counts = block.drawn(0, normals.shape[1]), block.drawn(1, anomalies.shape[1])
        ranked = [bootstrap.ranking(*pair, counts) for pair in zip(normals, anomalies, strict=True)]
        for metric in bootstrap.METRICS:
            drawn[metric].append(np.mean([one[metric] for one in ranked], axis=0))
        for metric, (label, errors) in wrong.items():
            drawn[metric].append(counts[label] @ errors.mean(axis=0) / errors.shape[1])
    result = {}
    for metric, values in drawn.items():
        mean = float(np.mean([of_kind[metric].value for of_kind in of_kinds]))
        few = (normals if metric in ("fpr95", "false_alarm_rate") else anomalies).shape[1]
        closed = (
            newcombe(mean, normals.shape[1], anomalies.shape[1], confidence)
            if metric == "auroc"
            else wilson(mean, few, confidence)
        )
        lower, upper = bootstrap.percentiles(np.concatenate(values), confidence)
        result[metric] = Interval(mean, min(lower, closed[0]), max(upper, closed[1]))
    return result


def monotone(corrupted: pa.Table | Mapping[str, Any]) -> tuple[bool, str, float]:
    """Whether each corruption moves scores more the more severe it is: (passed, evidence, largest fall / allowed).

    Compared is the mean over the samples of how far a score moved, from each severity to the next. A fall by a tenth
    passes, and whatever noise of the samples adds to it, with one chance in a hundred over all comparisons.
    """
    found = cube(corrupted)
    moved = np.abs(found.scores - found.clean)
    steps = np.diff(moved, axis=0)  # (S - 1, K, N)
    if not steps.size or len(found.labels) < 2:
        return True, "there is one severity, so there is nothing to compare", 0.0
    deviations = NormalDist().inv_cdf(1 - CHANCE / (steps.shape[0] * steps.shape[1]))
    error = steps.std(axis=2, ddof=1) / len(found.labels) ** 0.5
    effect = moved.mean(axis=2)
    allowed = FLAT * effect[:-1] + deviations * error + SAME * found.clean.std()
    ratio = -steps.mean(axis=2) / np.maximum(allowed, np.finfo(float).tiny)
    at, kind = np.unravel_index(ratio.argmax(), ratio.shape)
    value = float(max(0.0, ratio.max()))
    before, after = effect[at : at + 2, kind]
    evidence = (
        f"{int((ratio > 1).sum())} of {ratio.size} steps in severity lose more than a tenth of the effect and noise; "
        f"nearest to it {found.kinds[kind]} from {found.severities[at]} to {found.severities[at + 1]}: mean "
        f"move {before:.3g}, then {after:.3g}"
    )
    return value <= 1, evidence, value
