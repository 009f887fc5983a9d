"""Draws docs/robust-by-construction.svg: what is proven and what attacks leave, by epsilon; and one cell, attacked.

    python benchmarks/certified_curve.py            about 4 minutes on one core

ELPV mono, 64 px, validation images of split seed 0, linf. Attacked by PGD-20 and the ball's corners at each epsilon.
RESULT and the AUROC proven of each detector at 2/255.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from certified import attacked, proven
from matplotlib.figure import Figure
from robust_families import FAMILIES, trained
from torch import nn

from assay import delong, shelves
from assay.contracts import Images, ThreatModel
from assay.data import splits
from assay.datasets.elpv import elpv
from assay.models import certificates
from assay.models.scoring import clean_scores

FILE = Path(__file__).parents[1] / "docs" / "robust-by-construction.svg"
EPSILONS = (0, 1, 2, 3, 4, 6, 8)  # in 255
STEPS, SHOWN = 20, 2
DETECTORS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "monotone": ("#0b6e4f", "monotone", {"polarity": "dark"}),
    "neighbours on pixels": ("#b5651d", *FAMILIES["neighbours on pixels"]),
    "COBRA": ("#3b4cc0", *FAMILIES["cobra"]),
}
"""Label -> colour, trainable and parameters."""


def curves(detector: nn.Module, images: Images) -> tuple[list[float], list[float]]:
    """AUROC left by attacks and proven, at each of EPSILONS; nothing proven where there is no proof."""
    clean = delong.auroc(images.labels, clean_scores(detector, images)).value
    certified = "linf" in certificates.norms(detector)
    left, sure = [clean], [clean] * certified
    for epsilon in EPSILONS[1:]:
        threat = ThreatModel("linf", epsilon / 255)
        left.append(delong.auroc(images.labels, attacked(detector, images, threat, STEPS)).value)
        if certified:
            sure.append(delong.auroc(images.labels, proven(detector, images, threat)).value)
    return left, sure


def main() -> None:
    torch.set_num_threads(1)
    data = splits.training_data(elpv(cells="mono", image_size=64))
    images = data.validation
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=(4, 1.5, 1.5, 1.5))
    said = []
    for label, (colour, name, given) in DETECTORS.items():
        detector = trained(name, data, given)
        left, sure = curves(detector, images)
        axes[0].plot(EPSILONS, left, "--", color=colour, label=f"{label}, attacked")
        if sure:
            axes[0].plot(EPSILONS, sure, "-", color=colour, label=f"{label}, proven")
            said.append(f"{label.split()[0]}={sure[EPSILONS.index(SHOWN)]:.3f}")
        print(f"{label}: attacked {np.round(left, 3)}, proven {np.round(sure, 3)}", flush=True)
        if label == "COBRA":
            _cell(axes[1:], detector, images)
    axes[0].set(xlabel="epsilon, linf, in 1/255", ylabel="AUROC, validation", ylim=(0, 1))
    axes[0].grid(alpha=0.3)
    axes[0].legend(fontsize=7, loc="lower left")
    figure.savefig(FILE, metadata={"Date": None})
    print(f"RESULT {' '.join(said)}")


def _cell(axes: Any, detector: nn.Module, images: Images) -> None:
    """A cell with a defect, the same as an attacker of a detector leaves it, and the difference."""
    row = int(np.flatnonzero(images.labels == 1)[0])
    cell = torch.from_numpy(images.pixels[row : row + 1].copy()).float() / 255
    attack = shelves.load("attacks", "pgd")
    threat, random = ThreatModel("linf", SHOWN / 255), [torch.Generator().manual_seed(0)]
    found = attack(detector, cell, torch.tensor([-1]), threat, random, **shelves.bind(attack, {"steps": STEPS}))
    change = (found.images - cell)[0, 0] * 255
    for axis, title, picture, limits in (
        (axes[0], "a cell", cell[0, 0], (0, 1)),
        (axes[1], f"attacked, {SHOWN}/255", found.images[0, 0], (0, 1)),
        (axes[2], "the change, x 60", change, (-SHOWN, SHOWN)),
    ):
        axis.imshow(picture, cmap="gray", vmin=limits[0], vmax=limits[1])
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()


if __name__ == "__main__":
    main()
