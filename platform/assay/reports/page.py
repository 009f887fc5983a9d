"""An audit folder as one self-contained HTML page: no network, no script, no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from assay import shelves
from assay.approval.verdict import verdict_of
from assay.reports import pdf
from assay.reports.sections._html import ENVIRONMENT, Section, style
from assay.store.audit_reader import Audit
from assay.store.store import Store, opened

FILE = "report.html"


def render(folder: Store | Path) -> str:
    """The report on the audit in `folder`; the same files give the same text. Raises DataError for a bad file."""
    with opened(folder).near() as near:  # every file is read, some twice
        return _page(Audit(near))


def _page(audit: Audit) -> str:
    templates = resources.files("assay.reports") / "templates"
    verdict = verdict_of(audit)
    page = ENVIRONMENT.from_string((templates / "report.html").read_text(encoding="utf-8"))
    return page.render(
        title=f"Robustness audit of {_detector(audit.manifest)} on {audit.info['dataset']['name']}",
        word=verdict.verdict if verdict else "not decided yet",
        css=style(),
        info=audit.info,
        sections=_sections(audit),
    )


def write(folder: Store | Path, into: Store | Path | None = None) -> str:
    """Renders report.html into the audit's folder or another one, whole or not at all; returns where it lies.

    A report.pdf beside it was printed from an older page, and is removed.
    """
    content = render(folder).encode()
    target = opened(into or folder)
    target.remove(pdf.FILE)
    target.write(FILE, content)
    return target.place(FILE)


def _detector(manifest: Mapping[str, Any]) -> str:
    """The name of the detector: its trainable, or its own name where it comes from elsewhere."""
    names = (manifest.get(key) for key in ("trainable", "name", "detector"))
    return next((str(name) for name in names if name), "a detector")


def _sections(audit: Audit) -> list[tuple[str, Section, Sequence[str]]]:
    """Id, section and the files it was read from, of the whole shelf, by the ORDER that each file states."""
    functions = {name: shelves.load("sections", name) for name in shelves.names("sections")}
    order = {name: (shelves.stated(function, "ORDER", 0), name) for name, function in functions.items()}
    return [
        (name.replace("_", "-"), functions[name](audit), audit.there(shelves.stated(functions[name], "SOURCES", ())))
        for name in sorted(functions, key=lambda name: order[name])
    ]
