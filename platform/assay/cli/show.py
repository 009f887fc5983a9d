"""`assay show`: an item of a shelf, and what a YAML file may set of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


@click.command()
@click.argument("shelf")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(shelf: str, name: str, as_json: bool) -> None:
    """Show an item: what it does and its parameters, with their limits and defaults.

    NAME is a name on the shelf or module:attribute of an item of your own.

    \b
      assay show attacks pgd
      assay show trainables my_package.my_module:MyTrainable
    """
    import inspect

    from assay import parameters, shelves
    from assay.cli._table import table

    shelves.names(shelf)  # an unknown shelf is an error also for module:attribute
    item = shelves.load(shelf, name)
    document = inspect.getdoc(item) or ""
    found = list(parameters.of(shelves.signature(item)))
    if as_json:
        listed = [_plain(path, field) for path, field in found]
        click.echo(json.dumps({"shelf": shelf, "name": name, "doc": document, "parameters": listed}, indent=2))
        return
    click.echo(f"{name} ({shelf})\n\n{document}\n")
    heads = ("parameter", "default", "may be")
    rows = [
        (path, "required" if field.is_required() else _shown(field), parameters.words(field)) for path, field in found
    ]
    click.echo(table([heads, *rows]) if rows else "It has no parameters.")


def _plain(path: str, field: FieldInfo) -> dict[str, Any]:
    from assay import parameters

    default = None if field.is_required() else parameters.plain_default(field)
    return {"name": path, "limits": parameters.words(field), "required": field.is_required(), "default": default}


def _shown(field: FieldInfo) -> str:
    from assay import parameters, units

    default = parameters.plain_default(field)
    if parameters.is_epsilon(field) and default:
        return units.in_255(default)
    if isinstance(default, dict) and set(default) == {"name"}:
        return str(default["name"])
    return default if isinstance(default, str) else json.dumps(default)
