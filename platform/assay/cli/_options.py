"""Options that several verbs share."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
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
        metavar="FOLDER|URL",
        help="Folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX of sweeps, models and audits; also from ASSAY_STORE.",
    )(function)


def public_keys(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--key PUBLIC_KEY`, once for each person who signed."""
    return click.option(
        "--key",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Public key (PEM) of the person who signed; give it for each of several.",
    )(function)


def keep_head(heads: Sequence[str]) -> str:
    """A line about the end of the register, which nobody who writes to the store can change where it is kept."""
    given = " ".join(f"--head {one}" for one in heads)
    return f"keep this outside of the store, to see that no record was removed: assay verify ... {given}"


def allow_import(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--allow-import MODULE`."""
    return click.option(
        "--allow-import",
        multiple=True,
        metavar="MODULE",
        help="An installed module that the store may name; a store's own files are never imported.",
    )(function)


def data(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--data NAME=FOLDER`, valid until the command ends."""

    def told(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
        if values:
            from assay.data import moved

            context.with_resource(moved.told(values))
        return values

    return click.option(
        "--data",
        multiple=True,
        metavar="NAME=FOLDER",
        callback=told,
        expose_value=False,
        help="Where the images of dataset NAME lie now (others are refused by hash); also from ASSAY_DATA.",
    )(function)


def keys(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--keys FILE`."""
    return click.option(
        "--keys",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="YAML file that says whose key is whose; by default ASSAY_KEYS or ~/.config/assay/keys.yaml.",
    )(function)


def store_option() -> str:
    """` --store FOLDER` as the running command was given it, for commands that are proposed; empty for the default."""
    root = str(click.get_current_context().params["root"])
    known = (DEFAULT_STORE, os.environ.get("ASSAY_STORE"))
    return "" if root in known else f" --store {shlex.quote(root)}"
