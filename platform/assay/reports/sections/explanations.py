"""Where the detector looks: maps of a few anomalies beside their masks, and how well maps find the defects."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from assay.metrics.localisation import FEWEST
from assay.reports.sections._html import Section, section
from assay.reports.sections._sweep import kept
from assay.store.audit_reader import Audit, Columns
from assay.store.schemas import EXPLANATIONS, LOCALISATION

ORDER = 75
SOURCES = ("explanations.parquet", "localisation.parquet", "audit.yaml")

TEMPLATE = """
{% if why %}
<p>{{ why }}</p>
{% else %}
<p>A map shows how much each pixel moves the score: the gradient of the score, smoothed; white is the map's own largest
value, so brightness compares within a picture and not between two. It shows what the score depends on, and not why.
First the anomalies with the lowest scores, which are missed first, then those with the highest.
Threshold {{ threshold | number }}.</p>
<div class="samples">
{% for sample in samples %}
<div class="sample">
<div class="pictures">
{% for word, picture in sample.pictures.items() %}
<div><img src="data:image/png;base64,{{ picture }}" alt="{{ sample.id }}: {{ word }}">{{ word }}</div>
{% endfor %}
</div>
<p><strong>{{ sample.id }}</strong></p>
<p>anomaly, {{ sample.defect }}; score {{ sample.score | number }}, {{ sample.outcome }}</p>
<p>{{ sample.place }} of {{ sample.anomalies }} from the lowest score
{{- "; pixel AUROC %.3f of this map" | format(sample.auroc) if sample.auroc is not none }}</p>
{% if "mask" not in sample.pictures %}<p class="note">no mask</p>{% endif %}
</div>
{% endfor %}
</div>
<h3>Localisation</h3>
{% if rows %}
<p>Whether the maps find what the masks mark. Pixel AUROC: the chance that a pixel of the defect has a larger value than
another one of the same image, averaged over images; 0.5 is chance. AUPRO: the share of each defect that is covered, at
false-alarm rates of pixels up to 0.3; 0.15 is chance.</p>
{% call table("Localisation") %}
<caption>In brackets {{ (confidence * 100) | round | int }}% intervals: the images redrawn, those of a group
together; none where fewer than {{ fewest }} have a mask</caption>
<thead><tr><th>Defect</th><th>Pixel AUROC</th><th>AUPRO</th><th>Images with a mask</th><th>Regions</th></tr></thead>
<tbody>
{% for row in rows %}
<tr{% if loop.first %} class="chosen"{% endif %}><th class="name">{{ row.defect }}</th>
<td>{{ row.pixel_auroc | estimate }}</td><td>{{ row.aupro | estimate }}</td>
<td>{{ row.images }}{{ ", %d without" | format(row.left_out) if row.left_out }}</td><td>{{ row.regions }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
{% else %}
<p>No masks: the dataset does not say where its defects are, so nobody can say how well the maps find them.</p>
{% endif %}
{% endif %}
"""


def explanations(audit: Audit) -> Section:
    """Image, gradient map and mask of a few anomalies; pixel AUROC and AUPRO of the maps, with intervals."""
    title, explained = "Where the detector looks", kept(audit, "explanations", EXPLANATIONS)
    if explained is None:
        return section(title, TEMPLATE, why=_why_not(audit))
    localised = kept(audit, "localisation", LOCALISATION)
    threshold = float(audit.info["threshold"]["value"])
    return section(
        title,
        TEMPLATE,
        why=None,
        threshold=threshold,
        fewest=FEWEST,
        samples=[_sample(explained, row, threshold) for row in range(len(explained["sample"]))],
        rows=_localised(localised) if localised else [],
        confidence=float(localised["confidence"][0]) if localised else None,
    )


def _why_not(audit: Audit) -> str:
    if audit.info.get("attacked_as") == "black box":
        return "No maps: the score has no gradient with respect to the pixels, so none can show what it depends on."
    return (
        "No maps: the audit was made before they were, or the gradient is not finite (see the check gradients). "
        f"To try again: {audit.command}"
    )


class ExplainedSample(NamedTuple):
    """An anomaly and its map. place: by score among the anomalies, 1 the lowest. pictures: word -> base64 of a PNG."""

    id: str
    defect: str
    score: float
    outcome: str
    place: int
    anomalies: int
    auroc: float | None
    pictures: dict[str, str]


def _sample(explained: Columns, row: int, threshold: float) -> ExplainedSample:
    pictures = {"image": "image_png", "map": "map_png", "mask": "mask_png"}
    score, auroc = float(explained["score"][row]), float(explained["pixel_auroc"][row])
    return ExplainedSample(
        id=str(explained["sample"][row]),
        defect=str(explained["defect"][row]),
        score=score,
        outcome="detected" if score > threshold else "missed",
        place=int(explained["place"][row]),
        anomalies=int(explained["anomalies"][row]),
        auroc=auroc if np.isfinite(auroc) else None,
        pictures={
            word: base64.b64encode(explained[name][row]).decode("ascii")
            for word, name in pictures.items()
            if explained[name][row] is not None
        },
    )


class Bounded(NamedTuple):
    """A figure whose bounds are None where too few images have a mask."""

    value: float | None
    lower: float | None
    upper: float | None


@dataclass
class LocalisedRow:
    """How well maps find one kind of defect, by both metrics."""

    defect: str
    images: int
    left_out: int
    regions: int
    pixel_auroc: Bounded | None = None
    aupro: Bounded | None = None


def _localised(localised: Columns) -> list[LocalisedRow]:
    """One row per kind of defect, both metrics beside each other."""
    rows: dict[str, LocalisedRow] = {}
    for at in range(len(localised["defect"])):
        kind = str(localised["defect"][at])
        images, left_out, regions = (int(localised[name][at]) for name in ("images", "left_out", "regions"))
        row = rows.setdefault(kind, LocalisedRow(kind, images, left_out, regions))
        values = (float(localised[name][at]) for name in ("value", "lower", "upper"))
        figure = Bounded(*(value if np.isfinite(value) else None for value in values))
        if localised["metric"][at] == "aupro":
            row.aupro = figure
        else:
            row.pixel_auroc = figure
    return list(rows.values())
