"""`assay score`: is an image anomalous?"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from assay.cli import _options
from assay.cli._plain import plain

if TYPE_CHECKING:
    from assay.deploy.score_files import Scored, Unread

ANOMALOUS = 3
"""Exit code where something is anomalous, if asked for."""


@click.command()
@click.argument("model", metavar="MODEL|SERVICE|SWEEP:best")
@click.argument("inputs", nargs=-1, required=True, metavar="FILE...|FOLDER|-")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "jsonl", "csv", "parquet"]),
    help="Default: by the ending of --output, else a table.",
)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to write it; default: here.")
@click.option("--map", "maps", type=click.Path(path_type=Path), metavar="FOLDER", help="Heat maps over the images.")
@click.option("--fail-on-anomaly", is_flag=True, help="Exit with 3 if an image is anomalous.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@_options.allow_import
@_options.store
def command(
    model: str,
    inputs: tuple[str, ...],
    form: str | None,
    output: Path | None,
    maps: Path | None,
    fail_on_anomaly: bool,
    device: str,
    allow_import: tuple[str, ...],
    root: str,
) -> None:
    """Score image files, all images in and below a folder, or the files whose names come on standard input (-).

    Of each: score, threshold, decision, and the p-value among the validation normals (small for an anomaly). Images are
    decoded and resized as in the audit. A file that is no image does not stop the others.

    Exit codes: 0 all were scored, 1 some could not be read, 3 one is anomalous and --fail-on-anomaly; 2 usage.

    \b
      assay score line-9 part.png
      assay score line-9 /data/today --format csv --output today.csv --map maps/
      find /data -name '*.png' | assay score line-9 - --format jsonl
    """
    from assay.api.score import opened
    from assay.deploy import score_output

    chosen = score_output.form_of(form, output)
    detector = opened(model, store=root, allow_import=allow_import)
    count = Counter[str]()
    results = _counted(detector.results(_names(inputs), maps=maps, device=device), count)
    if chosen == "parquet" and output:
        score_output.write_parquet(results, output)
    elif chosen == "table":
        _write(_table(results), output)
    else:
        with _stream(output) as stream:
            score_output.write(results, chosen, stream)
    total = sum(count.values())
    words = f"{total} image{'s' if total != 1 else ''}: {count['anomalous']} anomalous, {count['normal']} normal"
    click.echo(words + (f", {count['unread']} could not be read" if count["unread"] else ""), err=True)
    if "normal_scores" not in detector.model.manifest:
        click.echo("there are no p-values: the model was made before scores of validation normals were kept", err=True)
    code = ANOMALOUS if fail_on_anomaly and count["anomalous"] else 1 if count["unread"] else 0
    click.get_current_context().exit(code)


def _counted(results: Iterable[Scored | Unread], count: Counter[str]) -> Iterator[Scored | Unread]:
    """The same results, counted as they pass."""
    from assay.deploy.score_output import row

    for one in results:
        count[row(one)["decision"] or "unread"] += 1
        yield one


def _table(results: Iterable[Scored | Unread]) -> str:
    """Aligned columns, a line for each image."""
    from assay.cli._plain import table
    from assay.deploy.score_output import row

    rows = [("score", "threshold", "decision", "p", "file")]
    for one in results:
        cells = row(one)
        if cells["error"]:
            rows.append(("-", "-", "not read", "-", plain(cells["error"])))
            continue
        p = "-" if cells["p_value"] is None else f"{cells['p_value']:.3g}"
        rows.append((f"{cells['score']:.5g}", f"{cells['threshold']:.5g}", cells["decision"], p, plain(cells["file"])))
    return table(rows)


@contextmanager
def _stream(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    with output.open("w", encoding="utf-8", newline="") as file:
        yield file


def _write(text: str, output: Path | None) -> None:
    with _stream(output) as stream:
        stream.write(text + "\n")


def _names(inputs: Iterable[str]) -> Iterator[str]:
    """The inputs, and in place of `-` the lines of standard input."""
    for one in inputs:
        if one == "-":
            yield from (name for line in sys.stdin if (name := line.rstrip("\r\n")))
        else:
            yield one
