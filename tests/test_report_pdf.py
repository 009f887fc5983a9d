"""The report as a PDF: what the command writes, what it says without WeasyPrint, and that nothing is fetched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from assay import cli, pdf, report
from assay.errors import AssayError


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A small page with the report's own style, which asks for a file, a site and a picture inside it."""
    path = tmp_path / "report.html"
    path.write_text(
        "<html><head><meta charset='utf-8'><title>Audit: PASS</title></head><body><h1>Grüße</h1>"
        f"<img src='{(tmp_path / 'secret.png').as_uri()}'><img src='http://127.0.0.1:9/x.png'></body></html>"
    )
    return path


def test_pdf_stands_beside_the_page_and_fetches_nothing(page, tmp_path, caplog):
    pytest.importorskip("weasyprint")
    assert pdf.write(page) == tmp_path / "report.pdf"
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert caplog.text.count("disallowed protocol") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.pdf"]


def test_pages_are_numbered_and_the_title_runs(audit_folder):
    weasyprint = pytest.importorskip("weasyprint")
    document = weasyprint.HTML(string=report.render(audit_folder)).render()
    assert len(document.pages) > 5
    for number, page in enumerate(document.pages, start=1):
        margins = "".join(_words(box) for box in page._page_box.children[1:])
        assert f"{number} / {len(document.pages)}" in margins
        assert "Robustness audit of cobra on elpv" in margins
        assert "not decided yet" in margins


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (ImportError("No module named 'weasyprint'"), "the package WeasyPrint"),
        (OSError("cannot load library 'libpango-1.0-0'"), r"libraries of the system \(cannot load library 'libpango"),
    ],
)
def test_missing_library_says_what_to_install(page, monkeypatch, fault, told):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "weasyprint":
                raise fault

    for name in [name for name in sys.modules if name.partition(".")[0] == "weasyprint"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(AssayError, match=told) as caught:
        pdf.write(page)
    assert "pip install 'assay[pdf]'" in str(caught.value)
    assert "libpango" in str(caught.value)
    assert not page.with_suffix(".pdf").exists()


def test_command_writes_the_pdf_only_when_asked(audit_folder, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(pdf, "write", lambda page: asked.append(page) or page.with_suffix(".pdf"))
    store = tmp_path / "store"
    (store / "audits").mkdir(parents=True)
    audit_folder.rename(store / "audits" / "one")
    for options in ([], ["--pdf"]):
        result = CliRunner().invoke(cli.main, ["report", "one", *options, "--store", str(store)])
        assert result.exit_code == 0, result.output
        assert ("pdf: " in result.output) == bool(options)
    assert asked == [store / "audits" / "one" / "report.html"]


def _words(box) -> str:
    return getattr(box, "text", "") + "".join(_words(child) for child in getattr(box, "children", ()))
