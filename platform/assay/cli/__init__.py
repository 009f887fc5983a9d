"""The command line: `assay VERB`. One file here is one verb, named for it, with the click command `command` in it.

A verb's module imports click and the standard library only; what does the work is imported inside the function, so
that `assay --help` stays quick. Errors are turned into words and exit codes here and nowhere else:

    1  something went wrong   2  what was written is wrong   130  stopped by Ctrl-C
"""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from assay import __version__
from assay.errors import AssayError, suggest
from assay.redaction import redacted


class Verbs(click.Group):
    """The group whose commands are the modules of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the modules, those that begin with an underscore left out."""
        return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, its module imported only now."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, and for a verb there is none of: the nearest there is."""
        known = self.list_commands(ctx)
        if args[0] not in known:
            ctx.fail(f"no verb '{args[0]}'{suggest(args[0], known)}; there is: {', '.join(known)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb, and turn whatever it raises into words and an exit code."""
        with _in_words(ctx, debug=ctx.params["debug"]):
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result


@contextmanager
def _in_words(ctx: click.Context, debug: bool) -> Iterator[None]:
    try:
        yield
    except (click.exceptions.Exit, click.Abort, click.ClickException):
        raise
    except AssayError as error:
        _leave(ctx, str(error), error.exit_code, debug)
    except SystemExit as error:  # of somebody's detector or module: no exit code of ours, least of all PASS
        _leave(ctx, f"code that was run ended the command (exit {error.code}); nothing was decided", 1, debug)
    except KeyboardInterrupt as error:
        from assay.runtime.interrupt import Terminated

        how, code = ("SIGTERM", 143) if isinstance(error, Terminated) else ("Ctrl-C", 130)
        _leave(ctx, f"stopped by {how}", code, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to say to a reader who has left
        ctx.exit(1)
    except OSError as error:
        _leave(ctx, _system(error), 1, debug)
    except Exception as error:  # noqa: BLE001 - the one place where any error becomes one line
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        _leave(ctx, f"unexpected {line}; run again with --debug for the traceback", 1, debug)


def _leave(ctx: click.Context, message: str, code: int, debug: bool) -> None:
    if debug:
        click.echo(redacted(traceback.format_exc()), err=True)
    from assay.cli._plain import plain

    click.echo("\n".join(plain(line) for line in redacted(f"Error: {message}").splitlines()), err=True)
    ctx.exit(code)


def _system(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"no space left on the disk{where and ' for'}{where}; free some and run again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"not permitted:{where or ' a file or folder'}; check who may read and write it"
    return f"{error.strerror or error}{where and ':'}{where}; run again with --debug for the traceback"


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="On an error, print the traceback too: assay --debug VERB ...")
@click.version_option(__version__, prog_name="assay")
def main(debug: bool) -> None:
    """Find adversarially robust anomaly detectors, audit them under attack, decide whether one may be deployed."""
    from assay import consent

    if str(Path.cwd()) not in sys.path and not consent.in_a_store(Path.cwd()):
        sys.path.append(str(Path.cwd()))  # a user's own module:attribute lies where the command is given
