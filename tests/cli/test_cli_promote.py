"""`assay promote`: what is printed of names that somebody else wrote."""

from __future__ import annotations

from click.testing import CliRunner

from assay.api import promote as api
from assay.approval.registry import Standing
from assay.cli import main

STEERING = "\x1b[2K\x1b]0;title\x07\u202e\nmodel z serves"


def test_names_of_a_store_steer_no_terminal_and_write_no_line(monkeypatch):
    name = f"demo{STEERING}"
    one = Standing("a" * 64, name, name, "approved", "2026-01-01", name, name, f"PASS ({name} 1)")
    monkeypatch.setattr(api, "promote", lambda *_, **__: api.Promotion(one, name, one, name, signed=True))
    result = CliRunner().invoke(main, ["promote", "demo:best"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
