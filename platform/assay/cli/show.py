"""`assay show`: an item of a shelf, and what a YAML file may set of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic.fields import FieldInfo


@click.command()
@click.argument("shelf", required=False, metavar="SHELF")
@click.argument("name", required=False, metavar="NAME")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--image", type=click.Path(path_type=Path), help="Draw a contact sheet of what the item makes of this file."
)
@click.option("--output", type=click.Path(path_type=Path), help="Where the contact sheet goes: sheet.png.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="For the sheet: --set area=0.3.")
@click.option("--seed", default=0, show_default=True, help="Of what the sheet draws.")
def command(
    shelf: str | None,
    name: str | None,
    as_json: bool,
    image: Path | None,
    output: Path | None,
    changes: tuple[str, ...],
    seed: int,
) -> None:
    """Show an item: what it does and its parameters, with their limits and defaults.

    NAME is a name on the shelf or module:attribute of an item of your own. With --image and --output a picture is
    written: of a pseudo-anomaly the image, eight draws and their masks; of a corruption the five severities.

    \b
      assay show attacks pgd
      assay show trainables my_package.my_module:MyTrainable
      assay show pseudo_anomalies cutpaste --image cell.png --output sheet.png --set area=0.3
    """
    if (image is None) != (output is None):
        raise click.UsageError("a contact sheet needs both --image and --output")
    if image is None and changes:
        raise click.UsageError("--set is for a contact sheet; give --image and --output too")
    import inspect

    from assay import shelves
    from assay.cli._plain import table
    from assay.config import parameters

    if shelf is None:
        raise click.UsageError(f"name a shelf and an item of it; the shelves are {', '.join(sorted(shelves.PACKAGES))}")
    items = shelves.names(shelf)  # an unknown shelf is an error also for module:attribute
    if name is None:
        raise click.UsageError(f"name an item of {shelf}, or module:attribute; there is {', '.join(items)}")
    item = shelves.load(shelf, name)
    if image and output:
        _draw(shelf, name, item, changes, image, output, seed)
        return
    document = inspect.getdoc(item) or ""
    fields = list(parameters.of(shelves.signature(item)))
    if as_json:
        listed = [_plain(path, field) for path, field in fields]
        click.echo(json.dumps({"shelf": shelf, "name": name, "doc": document, "parameters": listed}, indent=2))
        return
    click.echo(f"{name} ({shelf})\n\n{document}\n")
    heads = ("parameter", "default", "may be")
    rows = [
        (path, "required" if field.is_required() else _shown(field), parameters.words(field)) for path, field in fields
    ]
    click.echo(table([heads, *rows]) if rows else "It has no parameters.")


def _draw(
    shelf: str, name: str, item: Callable[..., Any], changes: tuple[str, ...], image: Path, output: Path, seed: int
) -> None:
    """Write a contact sheet; raises SpecError for a parameter that the item does not take."""
    import pydantic

    from assay import shelves
    from assay.config import overrides, validation
    from assay.data import contact_sheet
    from assay.errors import SpecError

    values, wrong = overrides.apply({}, changes)
    if wrong:
        raise SpecError("--set", wrong)
    try:
        sheet = contact_sheet.draw(shelf, item, values, image, seed)
    except pydantic.ValidationError as error:
        raise SpecError(
            f"--set, for {name}", validation.from_validation(error, shelves.signature(item), values)
        ) from error
    contact_sheet.save(sheet, output)
    click.echo(f"{output}: {name} on {image}")


def _plain(path: str, field: FieldInfo) -> dict[str, object]:
    from assay.config import parameters

    default = None if field.is_required() else parameters.plain_default(field)
    return {"name": path, "limits": parameters.words(field), "required": field.is_required(), "default": default}


def _shown(field: FieldInfo) -> str:
    from assay import units
    from assay.config import parameters

    default = parameters.plain_default(field)
    if parameters.is_epsilon(field) and default:
        return units.in_255(default)
    if isinstance(default, dict) and set(default) == {"name"}:
        return str(default["name"])
    return default if isinstance(default, str) else json.dumps(default)
