"""Does an audit notice that it cannot be trusted? Seven planted faults, three sound detectors, one real audit each.

    .venv/bin/python benchmarks/planted_faults.py        about 6 minutes on 2 cores

Five faults are in the detector: a score that saturates, one in stairs, one with hidden noise, batch norm left in
training mode, and a wrong sign. Two are in the suite: an attack that works on normalised images, and one that is told
the wrong direction. Each is made of a plainly trained COBRA on monocrystalline ELPV cells of 64 px, and audited with
the attacks of suite `quick` on --limit test images of each class. A fault counts as found when a required check fails,
which makes the verdict INVALID, or when the audit refuses the detector before it begins. A sound detector (that COBRA,
one trained against an adversary, and nearest neighbours) for which any required check fails is a false alarm.

Target: RESULT found=7 planted=7 false_alarms=0.

Rival in the same run: the two warnings that attack libraries have, by labels, on the same detectors and attacks. The
score becomes the logits [0, score - threshold] under cross-entropy; a warning is raised where an image has no gradient
at all, or where an attack without bounds leaves an accuracy above 1 / classes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import yaml
from audit_bites import DATASET, trained
from torch import Tensor, nn
from torch.nn import functional as F

from assay import shelves
from assay.attacks.apgd import apgd
from assay.attacks.pgd import pgd
from assay.audits import audit
from assay.audits import suite as suite_module
from assay.contracts import Attacked, ThreatModel, TrainingData
from assay.data import splits as data_module
from assay.data.reduced import take
from assay.errors import ModelError
from assay.metrics import detection
from assay.models import model_folder as model_module
from assay.models.scoring import clean_scores, pixels, some_of_each, threshold_of
from assay.norm_balls import streams
from assay.shelves import Item, Shelf
from assay.store import parquet, schemas
from assay.store.store import Store
from assay.units import Positive

PLAIN = {"epochs": 8, "adversary": {"epsilon": 0.0}, "loss": {"classification": 1.0}}
SOUND = {
    "plain": ("cobra", PLAIN),
    "adversarial": ("cobra", {**PLAIN, "epochs": 10, "adversary": {"epsilon": 2 / 255}}),
    "neighbours": ("neighbours", {"backbone": {"name": "pixels"}}),
}
IN_DETECTOR = ("saturated", "stairs", "noisy", "batch_norm", "wrong_sign")
IN_SUITE = ("normalised", "wrong_way")
REPLACED = "apgd-linf"  # of the suite `quick`, by an attack with a fault
RATE = 0.05  # false alarms among validation normals at the threshold
MEAN, DEVIATION = 0.5, 0.25  # what `normalised` believes images to be scaled by
UNBOUNDED = ThreatModel("linf", 1.0)
ROW = "{:<12} {:<8} {:<7} {:<5} {}".format


class Faulty(nn.Module):
    """A detector with something done to its score; images (B, C, H, W) in [0, 1] -> scores (B,)."""

    def __init__(self, inner: nn.Module, fault: str, spread: float) -> None:
        super().__init__()
        self.inner, self.fault, self.spread = inner, fault, spread
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous (but for `wrong_sign`)."""
        if self.fault == "batch_norm":
            images = F.batch_norm(images, None, None, training=True) / 4 + 0.5
        score: Tensor = self.inner(images)
        if self.fault == "saturated":
            return torch.sigmoid(50 * score / self.spread)
        if self.fault == "stairs":
            return torch.round(20 * score / self.spread)
        if self.fault == "noisy":
            return score + self.spread * torch.randn(score.shape, generator=self.generator)
        return -score if self.fault == "wrong_sign" else score


class Planted:
    """What builds a Faulty again from a manifest; it trains nothing."""

    epochs = 1

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        inner: Annotated[Item, Shelf("trainables")],
        fault: Literal["saturated", "stairs", "noisy", "batch_norm", "wrong_sign"],
        spread: Positive,
    ) -> None:
        """Nothing to prepare. spread: the standard deviation of the inner detector's scores."""

    @classmethod
    def build(cls, *, channels: int, image_size: int, inner: Item, fault: str, spread: float) -> nn.Module:
        """The detector inside, with the fault around it."""
        built: Any = inner.function
        return Faulty(built.build(channels=channels, image_size=image_size, **inner.arguments()), fault, spread)


def normalised(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    generator: torch.Generator,
    *,
    start: Tensor | None = None,
) -> Attacked:
    """Steps of epsilon and no box, on images that were normalised before they came: the commonest of all faults."""
    at = (images - MEAN) / DEVIATION
    asked = at.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad((direction * score(asked)).sum(), asked)
    at = at + threat.epsilon * gradient.sign()
    once = torch.ones(len(images), dtype=torch.int64)
    with torch.no_grad():
        return Attacked(at, score(at), once, once)


def wrong_way(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: list[torch.Generator],
    *,
    start: Tensor | None = None,
) -> Attacked:
    """APGD that raises anomalies and lowers normals."""
    return apgd(score, images, -direction, threat, random, start=start, steps=20)


def main() -> None:
    """Train, plant, audit everything, print a line for each and the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=int, default=16, help="test images of each class that are attacked")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {options.limit} test images of each class")
    print(ROW("planted", "audit", "rival", "s", "required checks that failed"))
    with tempfile.TemporaryDirectory() as folder:
        store, source = Store(Path(folder) / "store"), shelves.load("datasets", DATASET["name"])
        dataset = source(**shelves.bind(source, {key: value for key, value in DATASET.items() if key != "name"}))
        training = data_module.training_data(dataset)
        sound = {name: trained(store, training, name, *made) for name, made in SOUND.items()}
        torch.set_num_threads(1)
        bench = Bench(store, training, options.limit, Path(folder))
        alarms = [bench.line(name, found, None) for name, found in sound.items()]
        planted = [bench.line(fault, bench.planted(sound["plain"], fault), None) for fault in IN_DETECTOR]
        planted += [bench.line(fault, sound["plain"], fault) for fault in IN_SUITE]
    found, false = (sum(audited for audited, _ in lines) for lines in (planted, alarms))
    theirs, theirs_false = (sum(rival for _, rival in lines) for lines in (planted, alarms))
    met = found == len(planted) and not false
    print(f"rival: found {theirs} of {len(planted)}, false alarms {theirs_false} of {len(alarms)}")
    print(f"target: all found, no false alarm: {'met' if met else 'MISSED'}")
    print(f"RESULT found={found} planted={len(planted)} false_alarms={false}")


class Bench:
    """Where models and audits are, and how large an audit is."""

    def __init__(self, store: Store, training: TrainingData, limit: int, folder: Path) -> None:
        self.store, self.training, self.limit, self.folder = store, training, limit, folder

    def planted(self, name: str, fault: str) -> str:
        """The hash of that model with the fault around its detector, written as a trial would write it."""
        base, validation = model_module.load(self.store, name), self.training.validation
        spread = float(clean_scores(base.detector, validation).std())
        detector = model_module.freeze(Faulty(base.detector, fault, spread))
        inner = {"name": base.manifest["trainable"], **base.manifest["parameters"]}
        scores = clean_scores(detector, validation)
        manifest = {
            **{key: value for key, value in base.manifest.items() if key not in ("format", "weights_sha256")},
            "trainable": "planted_faults:Planted",
            "parameters": {"inner": inner, "fault": fault, "spread": spread},
            "threshold": threshold_of(validation.labels, scores, RATE),
            "figures": {**base.manifest["figures"], "clean_auroc": detection.auroc(validation.labels, scores)},
        }
        return model_module.write(self.store, detector, manifest)

    def suite(self, attack: str | None) -> suite_module.Suite:
        """`quick` without its corruptions, or a copy of that in which one attack is faulty."""
        plain = suite_module.read("quick")
        values = plain.model_dump(exclude={"attacks", "corruptions"})
        values["name"] = attack or "attacks-of-quick"
        values["attacks"] = [
            {
                "name": entry.name,
                "threat": entry.threat,
                "attack": f"planted_faults:{attack}" if attack and entry.name == REPLACED else entry.attack.plain(),
            }
            for entry in plain.attacks
        ]
        file = self.folder / "suite.yaml"
        file.write_text(yaml.safe_dump(values))
        return suite_module.read(str(file))

    def line(self, name: str, found: str, attack: str | None) -> tuple[bool, bool]:
        """Audit a model, print a line; whether the audit noticed something, and whether the rival did."""
        began = time.monotonic()
        try:
            identity = audit.run(self.store, found, self.suite(attack), limit=self.limit)
            rows = parquet.load(self.store, f"audits/{identity}/checks.parquet", schemas.CHECKS).to_pylist()
            failed = [row["check"] for row in rows if row["required"] and not row["passed"]]
            noticed, told = bool(failed), ", ".join(failed) or "none"
        except ModelError as error:
            noticed, told = True, f"refused: {error}"
        seconds, theirs = time.monotonic() - began, self.rival(found, attack)
        words = ("found" if noticed else "-", "found" if theirs else "-", f"{seconds:.0f}", told)
        print(ROW(name, *words), flush=True)
        return noticed, theirs

    def rival(self, name: str, attack: str | None) -> bool:
        """Whether a warning by labels is raised: an image without a gradient, or accuracy left without bounds."""
        model = model_module.load(self.store, name)
        images, _ = audit.test_split(model)
        few = take(images, some_of_each(images.labels, self.limit))
        clean, labels = pixels(few, 0, len(few)), torch.from_numpy(few.labels)

        def loss(at: Tensor) -> Tensor:
            margin = model.detector(at) - model.threshold
            return F.cross_entropy(torch.stack([torch.zeros_like(margin), margin], 1), labels, reduction="none")

        asked = clean.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(asked).sum(), asked)
        dead = (gradient.flatten(1) == 0).all(1).any()
        made: Mapping[str, Any] = {"normalised": normalised, "wrong_way": wrong_way}
        up, generator = torch.ones(len(few)), torch.Generator().manual_seed(0)
        moved = made.get(attack or "", pgd)(loss, clean, up, UNBOUNDED, streams(generator, clean)).images
        with torch.no_grad():
            right = ((model.detector(moved) > model.threshold) == labels.bool()).float().mean()
        return bool(dead) or bool(right > 0.5)


if __name__ == "__main__":
    main()
