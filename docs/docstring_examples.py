"""Lets the site show the examples of our docstrings, which stand at their end without a heading, as code."""

from __future__ import annotations

import textwrap
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Puts the example at the end of a docstring under the heading `Examples:`, where Griffe looks for it."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of a function, class or module that has been read."""
        if obj.docstring:
            text, prompt, example = obj.docstring.value.partition("\n>>> ")
            if prompt:
                obj.docstring.value = f"{text}\nExamples:\n" + textwrap.indent(f">>> {example}", "    ")
