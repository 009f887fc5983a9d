"""`assay data`: what was read of a dataset, and what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli._plain import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assay.data.summary import Summary

SHOWN = 5


@click.command()
@click.argument("file", metavar="CARD.yaml|SPACE.yaml")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="PAGE.html", help="Also a page with a contact sheet."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def command(file: str, output: Path | None, as_json: bool) -> None:
    """Look at a dataset without training: what was read, from which files, and what a sweep would lack.

    Counts by split and kind, groups, sizes, bit depths, masks, images that are there twice or nearly twice; for what is
    missing, the key that helps. Only `dataset` of the file is read.

    Exit codes: 0 a sweep could start, 1 it could not, or images cannot be read; 2 the file is wrong.

    \b
      assay data search_spaces/demo.yaml
      assay data card.yaml --output page.html
    """
    import json

    from assay.api.data import read_data
    from assay.errors import InputError

    if output is not None and not output.absolute().parent.is_dir():
        raise InputError(f"--output {output}: there is no folder {output.absolute().parent}")
    found = read_data(file)
    if as_json:
        click.echo(json.dumps(found.summary.plain(), indent=2))
    else:
        _tell(found.summary)
    if output is not None:
        output.write_text(found.html(), encoding="utf-8")
        if not as_json:
            say(f"page: {output}")
    if found.summary.refused:
        click.get_current_context().exit(1)


def _tell(found: Summary) -> None:
    from assay.cli._plain import table

    say(f"dataset {found.name}: read as {found.input}; licence: {found.licence}")
    kinds = list(dict.fromkeys(kind for of in found.counts.values() for kind in of))
    rows = [["", *found.counts, ""]]
    rows += [[kind, *(str(of.get(kind, "-")) for of in found.counts.values()), ""] for kind in kinds]
    rows.append(["all", *(str(sum(of.values())) for of in found.counts.values()), ""])
    if found.groups:
        rows.append(["groups", *(str(found.groups[split]) for split in found.counts), ""])
    for line in table(rows, "  ").splitlines():
        say(line)
    say(f"sizes (height x width): {_first(found.sizes)}")
    turned = f"; {found.turned} turned by EXIF" if found.turned else ""
    deep = f"; largest value of 16-bit files: {found.largest}" if found.largest else ""
    say(f"files: {_first(found.files)}{turned}{deep}")
    say(f"masks: {found.masks}")
    say(f"repeats: {found.repeats} images ({found.what_of_repeats})")
    say(f"pairs nearly the same in two splits: {found.nearly}")
    for pair in found.pairs:
        say(f"  {pair}")
    if found.listed:
        say(f"  all: {found.listed}")
    for notice in found.notices:
        say(f"note: {notice}")
    for line in found.missing:
        say(f"missing: {line}")
    if found.refused:
        say(f"no sweep would start: {found.refused}")


def _first(counts: Mapping[str, int]) -> str:
    named = ", ".join(f"{count} of {name}" for name, count in list(counts.items())[:SHOWN])
    return named + (f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")
