"""A tiny model on tiny images, and attacks that break the rules: what the tests of audits are made of.

Named `toy_audit:Toy`, `toy_audit:cheat` and so on, as a user's own items are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from assay import shelves
from assay.contracts import Attacked
from assay.data import splits
from assay.metrics import detection
from assay.models import model_folder
from assay.models.scoring import clean_scores, normal_scores, threshold_of
from assay.runtime.provenance import environment
from assay.shelves import normal_form
from assay.store.store import Store

SIZE = 16
SUITE = {
    "name": "tiny",
    "version": 1,
    "why": "to be over in a second",
    "headline": {"norm": "linf", "epsilon": "2/255"},
    "threats": {
        "linf": {"norm": "linf", "epsilons": ["1/255", "2/255", "4/255", "8/255"], "why": "nobody sees it"},
        "l2": {"norm": "l2", "epsilons": [0.1, 0.3], "why": "few pixels"},
    },
    "attacks": [
        {"name": "noise-linf", "attack": {"noise": {"draws": 4}}, "threat": "linf", "epsilons": ["1/255", "2/255"]},
        {
            "name": "pgd-linf",
            "attack": {"pgd": {"steps": 5}},
            "threat": "linf",
            "epsilons": ["1/255", "2/255", "8/255"],
        },
        {"name": "apgd-l2", "attack": {"apgd": {"steps": 8}}, "threat": "l2"},
    ],
    "unbounded": {"steps": 20, "samples": 8},
}


class Detector(nn.Module):
    """Images (B, C, H, W) -> how much light there is after a 3 x 3 blur and a soft saturation."""

    def __init__(self, flaw: str) -> None:
        super().__init__()
        self.flaw = flaw
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 9).reshape(1, 1, 3, 3) / 9)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,)."""
        light = nn.functional.conv2d(images[:, :1], self.weight, padding=1)
        score = torch.tanh(2 * light).flatten(1).mean(1)
        if self.flaw == "masked":  # a staircase: the gradient is zero nearly everywhere
            return torch.floor(score * 50) / 50 + 0 * score
        return score


class Toy:
    """A trainable whose detector is finished before it starts."""

    epochs = 1

    def __init__(self, data: Any, *, seed: int, device: str = "cpu", flaw: Literal["none", "masked"] = "none") -> None:
        """Nothing to prepare."""

    @classmethod
    def build(cls, *, channels: int, image_size: int, flaw: str) -> nn.Module:
        """The detector."""
        return Detector(flaw)


def cheat(score, images, direction, threat, random, *, start=None) -> Attacked:
    """Leaves [0, 1]."""
    moved = images + 2 * direction.reshape(-1, 1, 1, 1)
    return _told(score, moved, direction, 0)


def stubborn(score, images, direction, threat, random, *, start=None) -> Attacked:
    """Moves by 4/255 whatever epsilon is."""
    moved = (images + 4 / 255 * direction.reshape(-1, 1, 1, 1)).clamp(0, 1)
    return _told(score, moved, direction, 0)


def idle(score, images, direction, threat, random, *, start=None) -> Attacked:
    """Gives the clean images back."""
    return _told(score, images.clone(), direction, 0)


def backward(score, images, direction, threat, random, *, start=None) -> Attacked:
    """Moves every score the owner's way."""
    moved = (images - threat.epsilon * direction.reshape(-1, 1, 1, 1)).clamp(0, 1)
    return _told(score, moved, direction, 0)


def forgetful(score, images, direction, threat, random, *, start=None) -> Attacked:
    """Finds a better image and gives the clean one back."""
    moved = (images + threat.epsilon / 2 * direction.reshape(-1, 1, 1, 1)).clamp(0, 1)
    with torch.no_grad():
        score(moved)
    return _told(score, images.clone(), direction, 0)


def boast(score, images, direction, threat, random, *, start=None) -> Attacked:
    """Gives the clean images back and says that it won."""
    return _told(score, images.clone(), direction, 100)


def tired(score, images, direction, threat, random, *, start=None) -> Attacked:
    """Works at the first epsilon only; later it gives back where it was told to begin."""
    moved = (images + threat.epsilon * direction.reshape(-1, 1, 1, 1)).clamp(0, 1) if start is None else start
    return _told(score, moved, direction, 0)


def _told(score, images, direction, more) -> Attacked:
    count = torch.ones(len(images), dtype=torch.int64)
    with torch.no_grad():
        return Attacked(images, score(images) + more * direction, count, count)


def pictures(folder: Path, normals: int = 24, anomalies: int = 18) -> dict[str, Any]:
    """Write 16 x 16 PNGs and return the dataset item: 12 normals and 12 anomalies of two kinds are test."""
    rng = np.random.default_rng(0)
    for kind, count in (("good", normals), ("spot", anomalies // 2), ("stain", anomalies - anomalies // 2)):
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            pixels = rng.normal(90, 12, (SIZE, SIZE))
            if kind != "good":
                top, left = rng.integers(0, SIZE - 6, 2)
                pixels[top : top + 6, left : left + 6] += rng.uniform(20, 110)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / kind / f"{number:03d}.png")
    item = {"root": str(folder), "normal": "good", "anomalous": ["spot", "stain"], "image_size": SIZE, "channels": 1}
    return {"name": "folder", **item, "train_fraction": 0.25, "validation_fraction": 0.25}


def write_model(store: Store, item: dict[str, Any], trainable: str = "toy_audit:Toy", **parameters: Any) -> str:
    """Write a model of that dataset, as a trial does, and return its hash."""
    name, arguments = normal_form(item)
    function = shelves.load("datasets", name)
    found = splits.training_data(function(**shelves.bind(function, arguments)))
    bound = shelves.bind(shelves.load("trainables", trainable), parameters)
    detector = shelves.load("trainables", trainable).build(channels=1, image_size=SIZE, **bound)
    clean = clean_scores(detector, found.validation)
    figures = {"clean_auroc": detection.auroc(found.validation.labels, clean)}
    manifest = {
        "trainable": trainable,
        "parameters": parameters,
        "channels": 1,
        "image_size": SIZE,
        "seed": 0,
        "dataset": {"item": item, **found.description},
        "sweep": {"name": "no-sweep", "trial": 0, "epoch": 1},
        "threshold": threshold_of(found.validation.labels, clean, 0.2),
        "normal_scores": normal_scores(found.validation.labels, clean),
        "figures": {"split": "validation", **figures, "robust_auroc": 0.8},
        "evaluation": {"attack": "pgd", "epsilon": 2 / 255, "steps": 5},
        "environment": environment(),
        "documentation": "A toy.",
    }
    return model_folder.write(store, detector, manifest)


def write_suite(path: Path, **changes: Any) -> str:
    """Write the tiny suite, some keys changed, and return its path."""
    path.write_text(yaml.safe_dump({**SUITE, **changes}, sort_keys=False))
    return str(path)
