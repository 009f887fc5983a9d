"""The report of an audit as a PDF: the page, printed by WeasyPrint."""

from __future__ import annotations

from pathlib import Path

from assay import report
from assay.errors import AssayError

INSTALL = """the PDF needs {what}; install
  pip install 'assay[pdf]'                                              WeasyPrint
  apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0    what it draws with (macOS: brew install pango)
or open report.html in a browser and print it"""


def write(page: Path) -> Path:
    """Prints a report.html into report.pdf beside it, whole or not at all, and returns its path; fetches nothing.

    Raises AssayError, with what to install, where WeasyPrint or a library of the system is missing.
    """
    try:
        import weasyprint
        from weasyprint.urls import URLFetcher
    except ImportError as error:
        raise AssayError(INSTALL.format(what="the package WeasyPrint")) from error
    except OSError as error:  # it looks for the system's libraries when it is imported
        raise AssayError(INSTALL.format(what=f"libraries of the system ({error.args[0]})")) from error
    document = weasyprint.HTML(string=page.read_text("utf-8"), url_fetcher=URLFetcher(allowed_protocols=["data"]))
    return report.put(page.with_suffix(".pdf"), document.write_pdf())
