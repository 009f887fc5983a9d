"""A leaderboard: signed audits of many detectors, best first, as a static folder that any web server can show.

Only audits of the same test images by the same suite stand in one table. Nothing is stored beside the audits
themselves: the page and the table are made from the folders below `audits/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from assay.approval import review
from assay.approval.verdict import verdict_of
from assay.errors import DataError
from assay.reports.sections._html import compiled, style
from assay.store.audit_reader import Audit
from assay.store.figures import Figure
from assay.store.store import Store

SCHEMA = pa.schema(
    [
        ("audit", pa.string()),
        ("model", pa.string()),  # hash of the model folder
        ("detector", pa.string()),
        ("dataset", pa.string()),
        ("dataset_hash", pa.string()),  # of the images and their split
        ("suite", pa.string()),
        ("suite_version", pa.string()),
        ("norm", pa.string()),
        ("epsilon", pa.float64()),  # of the headline, pixel scale
        *((name + end, pa.float64()) for name in ("clean", "worst", "certified") for end in ("", "_lower", "_upper")),
        ("verdict", pa.string()),
        ("policy", pa.string()),
        ("reviewer", pa.string()),
        ("date", pa.date32()),
    ]
)  # fmt: skip
"""A row for each audit; AUROC on test images, with bounds; NaN where nothing is proven."""

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Leaderboard</title>
<style>{{ css }}</style>
</head>
<body>
<header><h1>Leaderboard</h1>
<p class="identity">Signed audits, most robust first. All figures are AUROC on test images, with 95% intervals; two of
overlapping intervals may not differ. To check one: <code>assay verify audits/NAME --key PUBLIC_KEY</code></p></header>
<main>
{% for entries in boards %}
{% set first = entries[0] %}
<section id="board-{{ loop.index }}"><h2>{{ first.dataset }}, {{ first | budget }}</h2>
<p class="identity">suite {{ first.suite }}, version {{ first.suite_version }}; images
<code>{{ first.dataset_hash[:12] }}</code></p>
{% call table(first.dataset) %}
<thead><tr><th>Detector</th><th>Worst case</th><th>Proven</th><th>Clean</th><th>Verdict</th><th>Signed by</th>
<th>Date</th></tr></thead>
<tbody>
{% for entry in entries %}
<tr><th class="name"><a href="audits/{{ entry.audit }}/report.html">{{ entry.detector }}</a>
<code>{{ entry.model[:12] }}</code></th>
<td>{{ entry.worst | estimate }}</td><td>{{ entry.certified | estimate if entry.certified else "–" }}</td>
<td>{{ entry.clean | estimate }}</td><td>{{ entry.verdict }} by {{ entry.policy }}</td><td>{{ entry.reviewer }}</td>
<td>{{ entry.date }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
</section>
{% endfor %}
</main>
</body>
</html>
"""


@dataclass(frozen=True)
class Entry:
    """An audit on the board; figures of its headline's norm and epsilon."""

    audit: str
    model: str
    detector: str
    dataset: str
    dataset_hash: str
    suite: str
    suite_version: str
    norm: str
    epsilon: float
    clean: Figure
    worst: Figure
    certified: Figure | None
    verdict: str
    policy: str
    reviewer: str
    date: object

    @property
    def board(self) -> tuple[str, ...]:
        """What audits must share to stand in one table."""
        return (self.dataset, self.dataset_hash, self.suite, self.suite_version, self.norm, f"{self.epsilon:.6g}")

    def row(self) -> Mapping[str, object]:
        """A row of SCHEMA."""
        nothing = float("nan")
        figures = {"clean": self.clean, "worst": self.worst, "certified": self.certified}
        bounds: dict[str, object] = {}
        for name, figure in figures.items():
            bounds |= {
                name: figure.value if figure else nothing,
                f"{name}_lower": figure.lower if figure else nothing,
                f"{name}_upper": figure.upper if figure else nothing,
            }
        return {**{key: value for key, value in vars(self).items() if key not in figures}, **bounds}


def entry(folder: Store) -> Entry:
    """What an audit's folder says for the board; raises DataError for one that cannot stand there."""
    audit = Audit(folder)
    info, place = audit.info, folder.place()
    if info.get("limit"):
        raise DataError(f"{place} is a screen of {info['limit']} images of each class, not of the whole test split")
    headline = info["suite"].get("headline") or {}
    if not headline or not info["dataset"].get("hash"):
        raise DataError(f"{place} names no headline or no hash of its images; audit it with this version of Assay")
    budget = audit.shown(headline["norm"])
    clean, worst = audit.clean("auroc"), audit.attacked("auroc", budget)
    verdict, signed = verdict_of(audit), review.read(folder)
    if clean is None or worst is None or verdict is None or signed is None:
        raise DataError(f"{place} has no verdict, or no worst case at its headline; approve it with --key first")
    return Entry(
        audit=str(info["audit"]),
        model=str(info["model"]),
        detector=str(audit.manifest.get("trainable") or audit.manifest.get("name") or "detector"),
        dataset=str(info["dataset"]["name"]),
        dataset_hash=str(info["dataset"]["hash"]),
        suite=str(info["suite"]["name"]),
        suite_version=str(info["suite"].get("version", "")),
        norm=budget.norm,
        epsilon=budget.epsilon,
        clean=clean,
        worst=worst,
        certified=audit.attacked("auroc", budget, attack="certified"),
        verdict=verdict.verdict,
        policy=f"{verdict.policy.name} {verdict.policy.version}",
        reviewer=signed.reviewer or "",
        date=signed.date,
    )


def table(entries: Iterable[Entry]) -> pa.Table:
    """SCHEMA: a row for each audit."""
    return pa.Table.from_pylist([dict(one.row()) for one in entries], schema=SCHEMA)


def render(entries: Sequence[Entry]) -> str:
    """The page: a table for every set of test images and suite, ordered by the worst case."""
    boards: dict[tuple[str, ...], list[Entry]] = {}
    for one in sorted(entries, key=lambda one: (one.board, -one.worst.value, one.audit)):
        boards.setdefault(one.board, []).append(one)
    return compiled(TEMPLATE).render(boards=list(boards.values()), css=style())
