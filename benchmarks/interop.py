"""Checkpoints of anomalib loaded by Assay against anomalib's own engine, on the same files at their own size.

Seven models with random backbones are trained for an epoch by anomalib, on images drawn here, and saved. anomalib's
engine predicts from each checkpoint; Assay's loader scores the same files, decoded alike, with and without a gradient.
The engine decides with its post-processing, and predicts again without, as normalised scores are clipped; differences
are in standard deviations of its raw scores. Needs the environment of `make test-anomalib`.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
import toy_anomalib

from assay.models import model_folder


def own_scores(detector: torch.nn.Module, files: list[Path], gradient: bool) -> Tensor:
    """Raw scores (N,) of Assay's detector."""
    parts = toy_anomalib.native(files).split(toy_anomalib.BATCH)
    return torch.cat([detector(part.requires_grad_(gradient)).detach() for part in parts])


def compare(name: str, images: Path, folder: Path) -> tuple[float, int, float]:
    """The largest difference in standard deviations, decisions that differ, and what the gradient changes."""
    model, engine, checkpoint = toy_anomalib.trained(name, images, folder)
    files = sorted(images.glob("*/*.png"))
    flagged = toy_anomalib.predicted("pred_label", engine, model, checkpoint, files)
    model.post_processor = None
    expected = toy_anomalib.predicted("pred_score", toy_anomalib.engine_in(folder), model, None, files)
    manifest = {"kind": "anomalib", "higher_is": "anomalous"}
    detector = model_folder.build(checkpoint.name, manifest, checkpoint.read_bytes())
    with torch.no_grad():
        raw = own_scores(detector, files, gradient=False)
    opened = float((own_scores(detector, files, gradient=True) - raw).abs().max() / raw.std())
    apart = float((raw - expected).abs().max() / expected.std())
    return apart, int(((raw > detector.threshold) != flagged).sum()), opened


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        images = toy_anomalib.write_images(Path(folder) / "images")
        for name in toy_anomalib.MODELS:
            rows[name] = compare(name, images, Path(folder) / name)
    for name, (apart, decisions, opened) in rows.items():
        print(f"{name:20} {apart:.1e} sd apart, {decisions} decisions differ, {opened:.1e} sd with a gradient")
    apart, decisions, opened = (max(values) for values in zip(*rows.values(), strict=True))
    print(f"RESULT score_difference_sd={apart:.2g} decisions_differ={decisions} gradient_difference_sd={opened:.2g}")


if __name__ == "__main__":
    main()
