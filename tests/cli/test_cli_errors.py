"""Errors on the command line: one line, the right exit code, and a traceback only when asked for."""

from __future__ import annotations

import errno
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from assay import __version__
from assay.cli import main
from assay.errors import InputError, SpecError, StoreError
from assay.runtime.interrupt import Terminated


@pytest.fixture
def failing(monkeypatch):
    """A function that makes `assay ls` raise an error, and runs it."""

    def run(error: BaseException, *options: str):
        @click.command()
        def command():
            raise error

        monkeypatch.setattr("assay.cli.ls.command", command)
        return CliRunner().invoke(main, [*options, "ls"])

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("epsilon is what?"), 2, "Error: epsilon is what?"),
        (SpecError("a.yaml", []), 2, "Error: a.yaml: 0 faults"),
        (StoreError("gone"), 1, "Error: gone"),
        (KeyboardInterrupt(), 130, "Error: stopped by Ctrl-C"),
        (Terminated(), 143, "Error: stopped by SIGTERM"),
        (
            OSError(errno.ENOSPC, "No space", "x.parquet"),
            1,
            "Error: no space left on the disk for x.parquet; free some",
        ),
        (PermissionError(errno.EACCES, "denied", "x.parquet"), 1, "Error: not permitted: x.parquet; check who"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), 1, "Error: No such file: x; run again with --debug"),
        (KeyError("size"), 1, "Error: unexpected KeyError: 'size'; run again with --debug"),
        (SystemExit(0), 1, "Error: code that was run ended the command (exit 0); nothing was decided"),
        (click.UsageError("no"), 2, "Usage: main ls"),
    ],
)
def test_each_kind_of_error_is_a_line_and_a_code(failing, error, code, line):
    result = failing(error)
    assert result.exit_code == code
    assert result.stderr.startswith(line)
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_debug_shows_the_traceback_too(failing):
    result = failing(KeyError("size"), "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "Error: unexpected KeyError: 'size'" in result.stderr


def test_an_unknown_verb_names_the_nearest():
    result = CliRunner().invoke(main, ["vaildate"])
    assert result.exit_code == 2
    assert "did you mean 'validate'?" in result.output


def test_help_and_version():
    for flag in ("-h", "--help"):
        result = CliRunner().invoke(main, [flag])
        assert result.exit_code == 0
        assert {"ls", "show", "validate"} <= {line.split()[0] for line in result.output.splitlines() if line.strip()}
    assert __version__ in CliRunner().invoke(main, ["--version"]).output


def test_every_verb_has_help():
    for verb in main.list_commands(click.Context(main)):
        result = CliRunner().invoke(main, [verb, "--help"])
        assert result.exit_code == 0
        assert main.get_command(click.Context(main), verb).help


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom assay.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'ray', 'pydantic', 'optuna', 'numpy', 'yaml', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_a_reader_who_leaves_is_no_error():
    code = "from assay.cli import main\nmain(['ls', '--json'])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1


def test_models_of_a_store_that_is_not_there(tmp_path):
    result = CliRunner().invoke(main, ["models", "--store", str(tmp_path / "typo")])
    assert result.exit_code == 0
    assert result.output == f"there is nothing in the store {tmp_path}/typo, or no such store; --store names another\n"
