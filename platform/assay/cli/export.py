"""`assay export`: a model as one file for the line."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli import _options
from assay.cli._plain import say


@click.command()
@click.argument("model", metavar="MODEL|SERVICE|SWEEP:best")
@click.option(
    "--format",
    "form",
    type=click.Choice(["onnx", "pt2", "openvino"]),
    default="onnx",
    show_default=True,
    help="ONNX, PyTorch's exported program, or OpenVINO's .xml and .bin.",
)
@click.option(
    "--output",
    metavar="FILE|FOLDER/",
    help="Default: here, named by the service or the beginning of the hash.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Images to compare file and detector on; default: the validation images.",
)
@_options.data
@_options.allow_import
@_options.store
def command(
    model: str, form: str, output: str | None, images: Path | None, allow_import: tuple[str, ...], root: str
) -> None:
    """Write a model as one file that does everything but decoding: resize, normalisation, score, threshold, map.

    It takes images uint8 (B, C, H, W) of any number and size. It is run on images as they are on disk, and left behind
    only if its scores and decisions are the detector's. Beside it lie FILE.json, which says what was compared, and a
    card for `assay audit`.

    Exit codes: 0 written; 2 usage, 1 the detector cannot be exported, or the file differs from it.

    \b
      assay export line-9 --format onnx
      assay export demo:best --format openvino --output deploy/
    """
    from assay.api.export import export

    made = export(model, form, output=output, images=images, store=root, allow_import=allow_import)  # type: ignore[arg-type]
    found = made.parity
    say(f"{made.file}: model {made.model[:12]}, to be checked with: assay verify {made.file}{_options.store_option()}")
    say(
        f"compared on {found.images} images of {found.sizes} sizes: scores differ by at most "
        f"{found.largest_difference:.2g} ({found.difference_in_deviations:.1g} of their deviation; rounding is up to "
        f"{found.tolerance:.2g}), decisions by {found.decisions_differ - found.at_threshold}"
    )
    if found.at_threshold:
        say(f"{found.at_threshold} of the scores lie so near the threshold that rounding decides")
    say(f"beside it: {made.sidecar.name}, and the card {made.card.name}")
