"""The samples an attacker gained most on, as pictures: before, after, and what changed."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from assay.errors import DataError
from assay.metrics.worst_case import worst_first
from assay.reports.sections._html import Section, section
from assay.store.audit_reader import Audit, ThreatBudget

ORDER = 70
SOURCES = ("worst.parquet", "audit.yaml")
SIDE = 192
"""Pixels of the longer side of a picture on the page, at most; it is shown half as large."""

TEMPLATE = """
{% if samples %}
<p>First the samples that the attack pushed across the threshold, the furthest beyond it before the others; then those
that held, the nearest to it first; last those that were wrong without any attack.
Difference: grey is no change, lighter is raised and darker is lowered, amplified so that the largest change
fills the range. Threshold {{ threshold | number }}.</p>
<div class="samples">
{% for sample in samples %}
<div class="sample">
<div class="pictures">
{% for word, picture in sample.pictures.items() %}
<div><img src="{{ picture }}" alt="{{ sample.id }}: {{ word }}">{{ word }}</div>
{% endfor %}
</div>
<p><strong>{{ sample.id }}</strong></p>
<p>{{ sample.kind }}; {{ sample.attack }}, {{ sample.budget | budget }}</p>
<p>Score {{ sample.clean | number }} → {{ sample.adversarial | number }}: {{ sample.outcome }}</p>
<p class="note">{{ sample.amplified }}</p>
</div>
{% endfor %}
</div>
{% if shrunk %}
<p class="note">Large pictures are shrunk for this page; <code>worst.parquet</code> keeps them as they were scored.</p>
{% endif %}
{% else %}
<p>The audit kept no pictures: <code>worst.parquet</code> is empty.</p>
{% endif %}
"""


def worst_samples(audit: Audit) -> Section:
    """Clean image, adversarial image and amplified difference of the worst samples, with ids and scores."""
    w = audit.worst
    threshold = float(audit.info["threshold"]["value"])
    order = worst_first(w["label"], w["clean_score"], w["adversarial_score"], threshold)
    samples = [_sample(audit, row, threshold) for row in map(int, order)]
    shrunk = any(sample.side > SIDE for sample in samples)
    return section("Worst samples", TEMPLATE, samples=samples, threshold=threshold, shrunk=shrunk)


class WorstSample(NamedTuple):
    """A sample before and after the attack. pictures: word -> data URL. side: the longer one, in pixels as scored."""

    id: str
    kind: str
    attack: str
    budget: ThreatBudget
    clean: float
    adversarial: float
    outcome: str
    amplified: str
    pictures: dict[str, str]
    side: int


def _sample(audit: Audit, row: int, threshold: float) -> WorstSample:
    w = audit.worst
    anomalous, before, after = (w[name][row] for name in ("label", "clean_score", "adversarial_score"))
    try:
        clean, adversarial = (_pixels(w[name][row]) for name in ("clean_png", "adversarial_png"))
        change = adversarial.astype(int) - clean
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise DataError(
            f"{audit.folder.place('worst.parquet')}: the pictures of sample {w['sample'][row]!r} cannot be compared "
            f"({error}); delete it and make it with: {audit.command}"
        ) from error
    largest = int(np.abs(change).max())
    gain = 127 / largest if largest else 1.0
    return WorstSample(
        id=str(w["sample"][row]),
        kind=f"anomaly, {w['defect'][row]}" if anomalous else "normal",
        attack=str(w["attack"][row]),
        budget=ThreatBudget(str(w["norm"][row]), float(w["epsilon"][row])),
        clean=float(before),
        adversarial=float(after),
        outcome=_outcome(bool(anomalous), bool(before > threshold), bool(after > threshold)),
        amplified=f"difference amplified ×{gain:.3g}; largest change {largest}/255"
        if largest
        else "no change at 8 bits",
        pictures={
            "clean": _url(clean),
            "attacked": _url(adversarial),
            "difference": _url(np.clip(128 + change * gain, 0, 255).astype(np.uint8)),
        },
        side=max(clean.shape[:2]),
    )


def _outcome(anomalous: bool, before: bool, after: bool) -> str:
    """before, after: whether the sample was flagged without and with the attack."""
    if anomalous:
        return "detected, then missed" if before and not after else "still detected" if after else "missed all along"
    return (
        "accepted, then a false alarm" if after and not before else "still accepted" if not after else "alarm all along"
    )


def _pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("L" if image.mode == "L" else "RGB"))


def _url(pixels: np.ndarray) -> str:
    """A picture as a data URL: exact where it is small, else shrunk to what the page shows on a fine screen."""
    picture, stream, form = Image.fromarray(pixels), io.BytesIO(), "png"
    if max(picture.size) > SIDE:
        picture.thumbnail((SIDE, SIDE))
        form = "jpeg"
    picture.save(stream, format=form)
    return f"data:image/{form};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
