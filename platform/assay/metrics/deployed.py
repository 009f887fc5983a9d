"""The file that is deployed beside the detector that was audited: its figures, and how far the two agree.

Images found on the audited detector are replayed on the file, as by an attacker who has the one and attacks the other.
An attacker of the file itself may find more, so its robust figures are upper bounds, like all others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assay.metrics import detection, intervals
from assay.metrics import groups as grouping
from assay.metrics.detection import flagged
from assay.store import figures as figure_table
from assay.store import score_matrix
from assay.store.figures import Figure
from assay.store.score_matrix import ALL, CLEAN, DEPLOYED, SCORE, WORST

Floats = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]
DIFFER = "decisions_differ"


class Thresholds(NamedTuple):
    """Above which score each of the two flags an image. own_scale: whether the file's scores are on another scale."""

    audited: float
    deployed: float
    own_scale: bool = False


def thresholds(info: Mapping[str, Any]) -> Thresholds:
    """Those of a model's manifest, or of audit.yaml, which says the same about them."""
    deployed = info["deployed"]
    return Thresholds(info["threshold"]["value"], deployed["threshold"], deployed["own_scale"])


class Agreement(NamedTuple):
    """How far two detectors agree on the same images.

    Differences are the largest of any image, in standard deviations of the audited detector's clean scores. `clear`:
    decisions that differ although the audited score is further from the threshold than the tolerance. scale: by what
    the file's scores were multiplied, 1 if both are on the same scale. saturated: scores that were not compared, only
    their decisions, as the file clips them.
    """

    clean: float
    attacked: float
    clean_images: int
    attacked_images: int
    clean_decisions: int
    attacked_decisions: int
    clear: int
    scale: float
    saturated: int


def figures(
    deployed: pa.Table,
    thresholds: Thresholds,
    *,
    lines: Collection[tuple[str, str, str]] | None = None,
    replicates: int = 1000,
    confidence: float = 0.95,
) -> pa.Table:
    """METRICS of the file from DEPLOYED: what `detection.table` gives, each attack named `deployed:` and its name.

    Also `decisions_differ`, the share of the samples on which the two decide otherwise: for `clean` of the clean image,
    for `worst` of any image among the clean one and those found up to the budget. lines: as in `detection.table`, by
    the names without `deployed:`. Raises DataError.
    """
    matrix = score_matrix.read(deployed)
    table = detection.table(
        matrix, threshold=thresholds.deployed, lines=lines, replicates=replicates, confidence=confidence
    )
    rows = [*figure_table.read(table), *_differing(_columns(deployed), thresholds, confidence)]
    return figure_table.table(figure._replace(attack=DEPLOYED + figure.attack) for figure in rows)


def _differing(columns: Columns, thresholds: Thresholds, confidence: float) -> Iterator[Figure]:
    """The rows `decisions_differ`, named without `deployed:`."""
    samples, first, place = np.unique(columns["sample"], return_index=True, return_inverse=True)
    labels, groups = columns["label"][first], grouping.named(columns)
    parts = None if groups is None else groups[first]
    clean, attacked = _differ(columns, thresholds)
    yield _share((CLEAN, "", 0.0, ""), clean[first], labels, parts, confidence)
    for norm in sorted(set(columns["norm"])):
        of_norm = columns["norm"] == norm
        for epsilon in sorted(set(columns["epsilon"][of_norm].tolist())):
            within = of_norm & (columns["epsilon"] <= epsilon)
            differs = clean[first] | (np.bincount(place[within], attacked[within], len(samples)) > 0)
            tested = np.bincount(place[within], minlength=len(samples)) > 0
            held = None if parts is None else parts[tested]
            yield _share((WORST, norm, epsilon, "both"), differs[tested], labels[tested], held, confidence)


def _share(
    line: tuple[str, str, float, str],
    differs: NDArray[np.bool_],
    labels: NDArray[Any],
    groups: NDArray[np.object_] | None,
    confidence: float,
) -> Figure:
    hits, count = int(differs.sum()), len(differs)
    bounds = intervals.rate(hits, count, confidence, grouping.number(groups, count))
    samples = int((labels == 0).sum()), int((labels == 1).sum())
    held = grouping.counts(*samples, grouping.of(labels, groups))
    return Figure(*line, ALL, DIFFER, hits / count, *bounds, confidence, *samples, *held)


def agreement(columns: Columns, thresholds: Thresholds, tolerance: float) -> Agreement:
    """How far the audited detector and the file agree, from the columns of DEPLOYED.

    tolerance: in standard deviations of the clean scores. On a scale of its own the file's score is compared as
    `audited threshold + scale x (score - its threshold)`, the scale fitted to the clean scores (least squares).
    """
    _, first = np.unique(columns["sample"], return_index=True)
    audited, here = columns["audited_clean_score"][first], columns["clean_score"][first]
    spread = float(audited.std())
    reach = tolerance * spread
    low, high, scale = -np.inf, np.inf, 1.0
    if thresholds.own_scale:
        every = np.concatenate([audited, columns["audited_score"]]), np.concatenate([here, columns[SCORE]])
        low, high = _clipped(*every, reach)
        inside = (here > low) & (here < high)
        off = here[inside] - thresholds.deployed
        scale = float(off @ (audited[inside] - thresholds.audited) / max(float(off @ off), np.finfo(float).tiny))

    def apart(before: Floats, after: Floats) -> tuple[float, int]:
        inside = (after > low) & (after < high)
        moved = thresholds.audited + scale * (after[inside] - thresholds.deployed)
        if not thresholds.own_scale:
            moved = after
        return float(np.abs(moved - before[inside]).max(initial=0)) / spread, int((~inside).sum())

    clean, attacked = _differ(columns, thresholds)
    clean_apart, clean_saturated = apart(audited, here)
    attacked_apart, attacked_saturated = apart(columns["audited_score"], columns[SCORE])
    clear_clean = clean[first] & (np.abs(audited - thresholds.audited) > reach)
    clear = attacked & (np.abs(columns["audited_score"] - thresholds.audited) > reach)
    return Agreement(
        clean_apart,
        attacked_apart,
        len(first),
        len(attacked),
        int(clean[first].sum()),
        int(attacked.sum()),
        int(clear_clean.sum() + clear.sum()),
        scale,
        clean_saturated + attacked_saturated,
    )


def _clipped(audited: Floats, scores: Floats, reach: float) -> tuple[float, float]:
    """The lowest and the highest of the file's scores where they are clipped, else infinite.

    They are where audited scores that lie further apart than `reach` become the same score.
    """
    ends = (float(scores.min()), -np.inf), (float(scores.max()), np.inf)
    low, high = (end if np.ptp(audited[scores == end]) > reach else free for end, free in ends)
    return low, high


def _differ(columns: Columns, thresholds: Thresholds) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the two decide otherwise, of each row's clean and attacked image."""
    pairs = (("audited_clean_score", "clean_score"), ("audited_score", SCORE))
    clean, attacked = (
        flagged(columns[before], thresholds.audited) != flagged(columns[after], thresholds.deployed)
        for before, after in pairs
    )
    return clean, attacked


def _columns(table: pa.Table) -> Columns:
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.schema.names}
