"""`assay data`: what was read of a dataset and what it lacks; `assay data push` sends one to object storage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli._plain import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assay.data.summary import Summary

SHOWN = 5


class _Look(click.Group):
    """A group in which a file's name is a command, too: to look at it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; `look` stands before what is no command."""
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["look", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Look)
def command() -> None:
    """Look at a dataset without training (FILE: a search space or a card), or send a folder to object storage.

    \b
      assay data search_spaces/demo.yaml
      assay data card.yaml --output page.html
      assay data push /data/line-9 s3://my-bucket/line-9
    """


@command.command()
@click.argument("file", metavar="CARD.yaml|SPACE.yaml")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="PAGE.html", help="Also a page with a contact sheet."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def look(file: str, output: Path | None, as_json: bool) -> None:
    """Look at a dataset without training (in short: `assay data FILE`).

    What was read, from which files, and what a sweep would lack.

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


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("url", metavar="s3://BUCKET/PREFIX|gs://...")
def push(folder: Path, url: str) -> None:
    """Send a folder of images to object storage, with a table of hashes; what is there already is not sent again.

    The URL is then the `root` of the dataset, on every machine and for every verb. Nothing is deleted there.

    \b
      assay data push /data/line-9 s3://my-bucket/line-9
    """
    from assay.remote.mirror import amount
    from assay.remote.push import push as pushed

    found = pushed(folder, url, lambda done, total: say(f"{done} of {total} files sent"))
    say(f"{found.url}: {found.files} files; {found.sent} were sent ({amount(found.bytes)}), the others were there")
    say(f"write it into the search space: dataset: {{..., root: {found.url}}}")


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
