"""Checkpoints of anomalib loaded by Assay against anomalib's own engine, on the same files at their own size.

Seven models with random backbones are trained for an epoch by anomalib, on images drawn here, and saved. anomalib's
engine predicts from each checkpoint; Assay's loader scores the same pixels, with and without a gradient. The engine
decides with its post-processing, and predicts again without, as normalised scores are clipped; differences are in
standard deviations of its raw scores.

The files are then scored as Assay decodes them, too: anomalib multiplies a byte by 1/255 and Assay divides it by 255,
which differ in a float32's last bit. As anomalib's threshold is the score of one of its images, that bit may decide
for that image; its distance from the threshold is printed. Needs the environment of `make test-anomalib`.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
import toy_anomalib

from assay.models import model_folder


class Row(NamedTuple):
    """Of one model; differences in standard deviations, and images that are decided otherwise."""

    difference: float
    decisions: int
    gradient: float
    decoded: float
    decoded_decisions: int
    nearest: float


def own_scores(detector: torch.nn.Module, images: Tensor, gradient: bool = False) -> Tensor:
    """Raw scores (N,) of Assay's detector for images (N, 3, H, W)."""
    with torch.set_grad_enabled(gradient):
        parts = images.split(toy_anomalib.BATCH)
        return torch.cat([detector(part.clone().requires_grad_(gradient)).detach() for part in parts])


def compare(name: str, images: Path, folder: Path) -> Row:
    """Scores and decisions of Assay against those of anomalib's engine."""
    model, engine, checkpoint = toy_anomalib.trained(name, images, folder)
    files = sorted(images.glob("*/*.png"))
    flagged = toy_anomalib.predicted("pred_label", engine, model, checkpoint, files)
    model.post_processor = None
    expected = toy_anomalib.predicted("pred_score", toy_anomalib.engine_in(folder), model, None, files)
    manifest = {"kind": "anomalib", "higher_is": "anomalous"}
    detector = model_folder.build(checkpoint.name, manifest, checkpoint.read_bytes())
    same = toy_anomalib.as_anomalib_reads(files)
    raw, decoded = own_scores(detector, same), own_scores(detector, toy_anomalib.native(files))
    opened = own_scores(detector, same, gradient=True)

    def apart(one: Tensor, other: Tensor) -> float:
        return float((one - other).abs().max() / expected.std())

    return Row(
        apart(raw, expected),
        int(((raw > detector.threshold) != flagged).sum()),
        apart(opened, raw),
        apart(decoded, expected),
        int(((decoded > detector.threshold) != flagged).sum()),
        float((expected - detector.threshold).abs().min() / expected.std()),
    )


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        images = toy_anomalib.write_images(Path(folder) / "images")
        for name in toy_anomalib.MODELS:
            rows[name] = compare(name, images, Path(folder) / name)
    for name, row in rows.items():
        print(
            f"{name:20} {row.difference:.1e} sd apart, {row.decisions} decisions differ, {row.gradient:.1e} sd with a "
            f"gradient; decoded by Assay {row.decoded:.1e} sd, {row.decoded_decisions} decisions; an image is "
            f"{row.nearest:.1e} sd from the threshold"
        )
    decisions, decoded = (sum(getattr(row, of) for row in rows.values()) for of in ("decisions", "decoded_decisions"))
    largest = Row(*(max(values) for values in zip(*rows.values(), strict=True)))
    print(
        f"RESULT score_difference_sd={largest.difference:.2g} decisions_differ={decisions} "
        f"gradient_difference_sd={largest.gradient:.2g} decoded_difference_sd={largest.decoded:.2g} "
        f"decoded_decisions_differ={decoded}"
    )


if __name__ == "__main__":
    main()
