"""Text of an artefact within Markdown: shown as it is, in one line, and never read as Markdown, HTML or an address."""

from __future__ import annotations

import html
import re

SPECIAL = re.compile(r"([\\`*_{}\[\]|~#$!@]|(?<=:)/|(?i:(?<=www))\.)")
"""What Markdown acts on, and the beginning of a bare address."""


def _one_line(value: object) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def escaped(value: object) -> str:
    """A value as text on one line, in which nothing is read as Markdown or HTML."""
    return SPECIAL.sub(r"\\\1", html.escape(_one_line(value), quote=False))


def code(value: object) -> str:
    """A value as code on one line; it cannot end the code."""
    return f"`{_one_line(value).replace('`', chr(39))}`"
