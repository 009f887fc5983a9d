"""`assay leaderboard`: signed audits of many detectors, best first, as a static folder."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli import _options


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.argument("audits", nargs=-1, metavar="[AUDIT]...")
@_options.public_keys
@_options.store
def command(folder: Path, audits: tuple[str, ...], key: tuple[Path, ...], root: str) -> None:
    """Put signed AUDITs on the leaderboard in FOLDER and write its page and table anew.

    An AUDIT is one of the store, or the folder of somebody else's, anywhere. Every signature is checked, also those of
    the audits that are on the board already; screens (--limit) and audits without a verdict are refused. FOLDER is
    static: any web server can show it.

    \b
      assay leaderboard board latest --key public.pem
      assay leaderboard board received/audits/d0da2750a763-standard-b68ee719 --key theirs.pem
    """
    from assay.api.leaderboard import leaderboard
    from assay.cli._plain import say

    board = leaderboard(folder, audits, key=key, store=root)
    say(f"{len(board)} audit{'s' if len(board) != 1 else ''}: {folder / 'index.html'}")
