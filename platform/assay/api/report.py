"""The report on an audit, as one HTML page and as a PDF."""

from __future__ import annotations

from pathlib import Path

from assay.api.arguments import StoreLike, store_of
from assay.errors import InputError
from assay.store import references
from assay.store.store import Store


def report(
    audit: str = "latest", *, pdf: bool = False, output: Path | str | None = None, store: StoreLike = None
) -> str:
    """Write report.html of an audit, and report.pdf where asked, and return where the page lies.

    audit: as in `assay.open_audit`. output: a folder to write into instead of the audit's own; needed for a signed
    audit, whose folder must stay as it was signed. Raises UnknownName or InputError.

    >>> assay.report("latest", store=store, output=folder).endswith("report.html")
    True
    """
    from assay.approval import predecessor, signature
    from assay.reports import page
    from assay.reports import pdf as printer

    place = store_of(store)
    name = references.audit(place, audit)
    folder = references.folder(place, name)
    if output is None and signature.signatures(folder):
        raise InputError(f"audit {name} is signed, and a file written into its folder would break that; add --output .")
    predecessor.comparison(place, name)
    into = Store(output) if output is not None else folder
    written = page.write(folder, into)
    if pdf:
        printer.write(into)
    return written
