"""The report of an audit as a PDF: the page, printed by WeasyPrint."""

from __future__ import annotations

from pathlib import Path

from assay.errors import AssayError
from assay.store.store import Store, opened

FILE = "report.pdf"
INSTALL = """the PDF needs {what}; install
  pip install 'assay[pdf]'                                              WeasyPrint
  apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0    what it draws with (macOS: brew install pango)
or open report.html in a browser and print it"""


def write(folder: Store | Path) -> str:
    """Prints the report.html in a folder into report.pdf beside it, whole or not at all; returns where that lies.

    Fetches nothing from the network. Raises AssayError, with what to install, where WeasyPrint or a system library is
    missing.
    """
    try:
        import weasyprint
        from weasyprint.urls import URLFetcher
    except ImportError as error:
        raise AssayError(INSTALL.format(what="the package WeasyPrint")) from error
    except OSError as error:  # it looks for the system's libraries when it is imported
        raise AssayError(INSTALL.format(what=f"system libraries ({error.args[0]})")) from error
    folder = opened(folder)
    page = folder.read("report.html").decode()
    document = weasyprint.HTML(string=page, url_fetcher=URLFetcher(allowed_protocols=["data"]))
    folder.write(FILE, document.write_pdf())
    return folder.place(FILE)
