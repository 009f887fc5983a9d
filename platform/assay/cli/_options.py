"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

DEFAULT_STORE = "assay-store"


def store(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--store FOLDER`, also from ASSAY_STORE."""
    return click.option(
        "--store",
        "root",
        envvar="ASSAY_STORE",
        default=DEFAULT_STORE,
        show_default=True,
        metavar="FOLDER",
        help="Folder of sweeps, models and audits; also from ASSAY_STORE.",
    )(function)


def debugging() -> bool:
    """Whether `assay --debug` was asked for."""
    return bool(click.get_current_context().find_root().params.get("debug"))
