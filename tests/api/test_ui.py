"""`assay ui` before it serves anything: what it needs, and a port that is taken."""

from __future__ import annotations

import socket
import sys

import pytest
from click.testing import CliRunner

from assay.cli import main


def test_a_port_that_is_taken_is_refused_in_words(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        told = CliRunner().invoke(main, ["ui", "--port", str(port), "--store", str(tmp_path)])
    assert told.exit_code == 2
    assert told.stderr.startswith(f"Error: --port {port} is taken or not allowed")


@pytest.mark.parametrize("missing", ["uvicorn", "starlette.applications"])
def test_the_extra_that_is_missing_is_named(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    told = CliRunner().invoke(main, ["ui", "--store", str(tmp_path)])
    assert told.exit_code == 1
    assert told.stderr == "Error: the page needs Starlette and Uvicorn; install: pip install 'assay[ui]'\n"


def test_a_store_that_cannot_be_read_is_told_before_anything_is_served():
    told = CliRunner().invoke(main, ["ui", "--store", "s3:/x"])
    assert (told.exit_code, told.stdout) == (2, "")
