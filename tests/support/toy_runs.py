"""A small trainable that really trains, a data set of its own, and a search space over both, for tests of sweeps.

Named `toy_runs:Runs` and `toy_runs:squares`. Trouble can be ordered: a loss or a score that is not finite, an error,
a process that dies, an epoch that takes its time.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from assay.contracts import Dataset, Sample, TrainingData
from assay.shelves import Item, Shelf
from assay.units import Count, NonNegative, Positive

SIZE = 16
COUNTS = {("train", 0): 24, ("validation", 0): 12, ("validation", 1): 12, ("test", 0): 4, ("test", 1): 4}


def squares(*, root: str) -> Dataset:
    """Grey noise; anomalies have a bright square. The files are written below `root` where they are not there."""
    random, samples = np.random.default_rng(0), []
    for (split, label), count in COUNTS.items():
        for number in range(count):
            pixels = random.integers(60, 160, (SIZE, SIZE))
            if label:
                at, length = random.integers(0, 10), random.integers(2, 6)
                pixels[at : at + length, at : at + length] += 60
            path = Path(root) / split / f"{label}-{number}.png"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
            samples.append(Sample(f"{split}/{path.name}", path, label, split, "square" if label else "normal"))
    return Dataset("squares", tuple(samples), SIZE, 1, "labelled")


class Net(nn.Module):
    """Images (B, 1, 16, 16) -> scores (B,); `seen` is a buffer that grows while training, as a bank does."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 8), nn.Tanh(), nn.Linear(8, 1))
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        return self.layers(images - 0.4).squeeze(1) + 0 * self.seen.sum()


class Runs:
    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        epochs: Count = 4,
        learning_rate: Positive = 0.01,
        pseudo_anomaly: Annotated[Item, Shelf("pseudo_anomalies")] = Item("pseudo_anomalies", "cutpaste", {}),
        trouble: Literal["none", "nan_loss", "nan_score", "error", "dies_once", "dies", "hungry"] = "none",
        pause: NonNegative = 0,
        marks: str | None = None,
    ) -> None:
        """pause: seconds an epoch takes. marks: folder to note processes and deaths in;
        with it, epochs are printed. Trouble comes at epoch 2."""
        self.epochs, self.trouble, self.pause = epochs, trouble, pause
        self.marks = Path(marks) if marks else None
        if self.marks:
            (self.marks / f"pid-{os.getpid()}").touch()
        self.normals = torch.from_numpy(data.train.pixels.copy()).float() / 255
        self.generator = torch.Generator().manual_seed(seed)
        self.make, self.arguments = pseudo_anomaly.function, pseudo_anomaly.arguments()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.net = Net()
        self.optimizer = torch.optim.Adam(self.net.parameters(), learning_rate)
        self.epoch = 0

    @classmethod
    def build(cls, *, channels: int, image_size: int, **parameters: Any) -> nn.Module:
        """An untrained detector."""
        return Net()

    def train_epoch(self) -> dict[str, float]:
        """One step on all normals."""
        time.sleep(self.pause)
        self.epoch += 1
        if self.marks:
            print(f"epoch {self.epoch} is trained")
        if self.epoch == 2:
            self._have_trouble()
        order = torch.randperm(len(self.normals), generator=self.generator)[:16]
        normals = self.normals[order]
        images = torch.cat([normals, self.make(normals, self.generator, **self.arguments).images])
        labels = (torch.arange(32) >= 16).float()
        loss = F.binary_cross_entropy_with_logits(self.net(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.net.seen = torch.ones(self.epoch)
        return {"loss": float("nan") if self.trouble == "nan_loss" and self.epoch == 2 else loss.item()}

    def _have_trouble(self) -> None:
        if self.trouble == "error":
            raise RuntimeError("the wheel [/came] off")
        if self.trouble == "hungry":
            out_of_memory()
        died = self.marks and self.marks / "died"
        if self.trouble == "dies_once" and died and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.trouble == "dies":
            os.kill(os.getpid(), signal.SIGKILL)

    def detector(self) -> nn.Module:
        """A frozen copy."""
        copy = Net()
        copy.seen = self.net.seen.clone()
        copy.load_state_dict(self.net.state_dict())
        if self.trouble == "nan_score" and self.epoch > 1:
            nn.init.constant_(copy.layers[3].bias, float("nan"))
        return copy.eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """All there is."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on."""
        self.net.seen = torch.zeros_like(state["net"]["seen"])
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.epoch = state["epoch"]


def out_of_memory() -> None:
    """Really ask for more memory than this process may have."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**28, limits[1]))
    try:
        torch.ones(2**28)  # 1 GiB
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def search_space(folder: Path, **changes: Any) -> dict[str, Any]:
    """A search space as a YAML file holds it: four short trials, one parameter of them conditional."""
    space = {
        "learning_rate": {"loguniform": [0.001, 0.1]},
        "pseudo_anomaly": {"choice": [{"cutpaste": {"area": {"uniform": [0.02, 0.15]}}}, {"rotation": {}}]},
    }
    whole = {
        "name": "toy",
        "trainable": "toy_runs:Runs",
        "dataset": {"name": "toy_runs:squares", "root": str(folder / "squares")},
        "fixed": {"epochs": 4},
        "space": space,
        "evaluation": {"attack": "fgsm", "epsilon": "1/255", "every": 1},
        "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
        "search": {"sampler": "tpe", "trials": 4, "seed": 0, "startup": 2},
        "tracking": {"wandb": False},
    }
    return {**whole, **changes}
