"""Text from a file, as a terminal may show it."""

from __future__ import annotations

import click


def plain(text: str) -> str:
    """The text on one line, without what a terminal acts on or cannot print: a name may hide no line and write none."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def say(text: str) -> None:
    """Print a line that holds names from a file or a store."""
    click.echo(plain(text))
