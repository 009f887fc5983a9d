"""Text as a terminal may show it: names from a file, and rows in columns."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

import click


def plain(text: str) -> str:
    """The text on one line, without what a terminal acts on or cannot print: a name may hide no line and write none."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def say(text: str) -> None:
    """Print a line that holds names from a file or a store."""
    click.echo(plain(text))


def table(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Rows of equally many cells, columns aligned two spaces apart; the last column wraps at the terminal's width."""
    if not rows:
        return ""
    widths = [max(len(cell) for cell in column) for column in list(zip(*rows, strict=True))[:-1]]
    left = len(indent) + sum(width + 2 for width in widths)
    room = max(30, shutil.get_terminal_size((120, 24)).columns - left)
    lines: list[str] = []
    for *cells, last in rows:
        start = indent + "".join(f"{cell:<{width + 2}}" for cell, width in zip(cells, widths, strict=True))
        first, *more = textwrap.wrap(last, room, break_long_words=False, break_on_hyphens=False) or [""]
        lines += [(start + first).rstrip(), *(" " * left + line for line in more)]
    return "\n".join(lines)
