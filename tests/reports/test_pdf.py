"""The report as a PDF: what the command writes, what it says without WeasyPrint, and that nothing is fetched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from assay import cli
from assay.errors import AssayError
from assay.reports import page as report
from assay.reports import pdf


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
    assert pdf.write(page.parent) == str(tmp_path / "report.pdf")
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
        (OSError("cannot load library 'libpango-1.0-0'"), r"system libraries \(cannot load library 'libpango"),
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
        pdf.write(page.parent)
    assert "pip install 'assay[pdf]'" in str(caught.value)
    assert "libpango" in str(caught.value)
    assert not page.with_suffix(".pdf").exists()


@pytest.fixture
def store(audit_folder: Path, tmp_path: Path) -> Path:
    """A store with one audit, called `one`."""
    (tmp_path / "store" / "audits").mkdir(parents=True)
    audit_folder.rename(tmp_path / "store" / "audits" / "one")
    return tmp_path / "store"


@pytest.fixture
def asked(monkeypatch) -> list[Path]:
    """The pages of which a PDF was asked for; none is made."""
    pages: list[Path] = []

    def write(folder):
        pages.append(folder.path("report.html"))
        return folder.place("report.pdf")

    monkeypatch.setattr(pdf, "write", write)
    return pages


def test_command_writes_the_pdf_only_when_asked(store, asked):
    for options in ([], ["--pdf"]):
        result = CliRunner().invoke(cli.main, ["report", "one", *options, "--store", str(store)])
        assert result.exit_code == 0, result.output
        assert ("pdf: " in result.output) == bool(options)
    assert asked == [store / "audits" / "one" / "report.html"]


def test_signed_audit_is_left_as_it_is(store, asked, tmp_path):
    folder = store / "audits" / "one"
    (folder / f"{'ab' * 32}.sig").write_text("{}")
    before = sorted(folder.iterdir())
    result = CliRunner().invoke(cli.main, ["report", "one", "--pdf", "--store", str(store)])
    assert result.exit_code == 2
    assert "is signed" in result.output
    assert "--output ." in result.output
    result = CliRunner().invoke(cli.main, ["report", "one", "--pdf", "--output", str(tmp_path), "--store", str(store)])
    assert result.exit_code == 0, result.output
    assert sorted(folder.iterdir()) == before
    assert asked == [tmp_path / "report.html"]


def test_new_page_takes_the_pdf_of_the_former_one_away(audit_folder):
    (audit_folder / "report.pdf").write_text("former")
    report.write(audit_folder)
    assert not (audit_folder / "report.pdf").exists()


def _words(box) -> str:
    return getattr(box, "text", "") + "".join(_words(child) for child in getattr(box, "children", ()))
