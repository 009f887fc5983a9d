"""Huge pages are asked for where large tensors are made, unless somebody said otherwise."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner

from assay import cluster, huge_pages
from assay.cli import main

VARIABLE = huge_pages.VARIABLE


@pytest.mark.parametrize(("set_to", "expected"), [(None, "1"), ("0", "0")])
def test_the_command_line_asks_for_them_and_so_do_workers_elsewhere(monkeypatch, set_to, expected):
    if set_to is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, set_to)
    assert cluster.code()["env_vars"][VARIABLE] == expected
    with monkeypatch.context() as context:
        context.setattr(os, "environ", dict(os.environ))  # what the command sets stays in it
        assert CliRunner().invoke(main, ["ls", "attacks"]).exit_code == 0
        assert os.environ[VARIABLE] == expected
