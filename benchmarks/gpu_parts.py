"""What `gpu.py` works on and measures with: images made in code, a network, detectors, attacks, and clocks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assay import shelves
from assay.contracts import Images, ThreatModel, TrainingData
from assay.norm_balls import streams
from assay.runtime.float32 import exact_float32
from assay.shelves import Item
from trainables.backbones._resnet import ResNet

EPSILONS = {"linf": 2 / 255, "l2": 0.5, "l1": 10.0, "patch": 0.05, "spatial": 0.5}
INNER = {"patch": {"patch": {"steps": 4, "restarts": 1}}, "spatial": {"spatial": {"queries": 30}}}
DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "neighbours_cosine": ("neighbours", {"backbone": "resnet18", "distance": "cosine"}),
    "neighbours_euclid": ("neighbours", {"backbone": "resnet18"}),
    "patchcore": ("patchcore", {"backbone": "resnet18", "coreset": 0.1}),
    "gaussian": ("gaussian", {"backbone": "resnet18"}),
    "cobra": ("cobra", {"backbone": "small_resnet", "epochs": 1}),
    "simplenet": ("simplenet", {"backbone": "resnet18", "epochs": 1}),
    "deep_svdd": ("deep_svdd", {"epochs": 1}),
    "draem": ("draem", {"epochs": 1}),
    "local_pixels": ("local_pixels", {}),
}


class Scale:
    """How large everything is: as in the text on a GPU, tiny on a CPU."""

    def __init__(self, device: str) -> None:
        self.device, self.tiny = device, device == "cpu"
        self.side, self.large = (16, 16) if self.tiny else (64, 224)
        self.count, self.batch, self.many = (4, 2, 4) if self.tiny else (64, 48, 300)
        self.steps, self.rounds = (1, 1) if self.tiny else (20, 5)


def textures(count: int, side: int, seed: int = 0) -> Images:
    """Normals are woven textures; every second image has a scratch and is anomalous."""
    rng, places = np.random.default_rng(seed), np.arange(side)
    weave = 110 + 30 * np.sin(places[:, None] * rng.uniform(0.4, 0.9)) * np.cos(places * rng.uniform(0.4, 0.9))
    pixels = (weave + rng.normal(0, 8, (count, 3, side, side))).clip(0, 255)
    for image in pixels[1::2]:
        row, column = rng.integers(0, side // 2, 2)
        for step in range(side // 3):
            image[:, row + step, column + step // 2 : column + step // 2 + 2] += 70
    names = tuple(f"{seed}-{number}" for number in range(count))
    kinds = tuple("scratch" if number % 2 else "normal" for number in range(count))
    return Images(pixels.clip(0, 255).astype(np.uint8), np.arange(count) % 2, names, kinds, names)


def training(count: int, side: int) -> TrainingData:
    """Normals to train on and a validation split with both classes."""
    some = textures(2 * count, side)
    names = some.ids[::2]
    normals = Images(some.pixels[::2].copy(), np.zeros(count, np.int64), names, ("normal",) * count, names)
    return TrainingData(
        train=normals, validation=textures(count, side, seed=1), description={"channels": 3, "image_size": side}
    )


def floats(images: Images, device: str) -> Tensor:
    """The images (B, C, H, W) in [0, 1]."""
    return torch.from_numpy(images.pixels).to(device).float().div_(255)


class Network(nn.Module):
    """A ResNet-18 with a linear score; random weights, batch norms calibrated on the textures."""

    def __init__(self, side: int, small: bool, stem: Any = "imagenet") -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            self.net = ResNet(3, width=8 if small else 64, blocks=1 if small else 2, stem=stem)
            self.head = nn.Linear(self.net.features, 1)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        with torch.no_grad():
            self(floats(textures(16, side), "cpu"))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,)."""
        score: Tensor = self.head(self.net(images)).squeeze(1)
        return score


def milliseconds(work: Callable[[], object], scale: Scale) -> float:
    """Of one call, after what was begun before it has ended."""
    if scale.tiny:
        began = time.perf_counter()
        work()
        return 1000 * (time.perf_counter() - began)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end))


def in_turn(ways: dict[str, Callable[[], object]], scale: Scale) -> dict[str, float]:
    """The median milliseconds of each way; they take turns, and the first round only warms up."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(scale.rounds + 1):
        for name, work in ways.items():
            one = milliseconds(work, scale)
            taken[name] += [one] if number or scale.tiny else []
    return {name: statistics.median(found) for name, found in taken.items()}


def kernels(work: Callable[[], object], scale: Scale) -> tuple[int, float]:
    """How many kernels the GPU runs for it, and the share of the time in which it runs none."""
    if scale.tiny:
        return 0, 0.0
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        wall = milliseconds(work, scale)
    events = [event for event in seen.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    return len(events), max(0.0, 1 - sum(event.device_time for event in events) / 1000 / wall)


def attacks() -> list[tuple[str, str]]:
    """Every attack in every norm that it knows."""
    names = shelves.names("attacks")
    return [(name, norm) for name in names for norm in shelves.stated(shelves.load("attacks", name), "NORMS", ())]


def attacked(name: str, norm: str, detector: nn.Module, images: Images, scale: Scale, device: str, **more: Any) -> Any:
    """The result of one attack with few steps, in float32; None where it needs more of a detector.

    more: of its parameters.
    """
    item = shelves.load("attacks", name)
    if shelves.stated(item, "NEEDS", None):
        return None
    most = {"queries": 5 * scale.steps, "draws": scale.steps, "steps": scale.steps, "pairs": 4, "probes": 8}
    given: dict[str, Any] = {key: value for key, value in most.items() if key in shelves.fields(item)}
    if "precision" in shelves.fields(item):
        given["precision"] = "float32"
    if "attack" in shelves.fields(item):
        given |= {"draws": 2, "attack": INNER.get(norm, {"pgd": {"steps": scale.steps}})}
    clean = floats(images, device)
    direction = torch.from_numpy(1 - 2 * images.labels).to(device)
    threat = ThreatModel(norm, EPSILONS[norm], 0.0)  # type: ignore[arg-type]
    random = streams(torch.Generator(device).manual_seed(0), clean)
    with exact_float32():
        return item(detector, clean, direction, threat, random, **shelves.bind(item, given | more))


def pseudo_anomalies(normals: Tensor) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every pseudo-anomaly of images, ready to be made."""
    from trainables.pseudo_anomalies._items import ready

    for name in shelves.names("pseudo_anomalies"):
        if shelves.stated(shelves.load("pseudo_anomalies", name), "SPACE", "pixels") == "pixels":
            given = {"backbone": Item("backbones", "pixels", {})} if name == "acceptance" else {}
            yield name, ready(Item("pseudo_anomalies", name, given), normals)


def fitted(key: str, side: int, count: int, device: str) -> nn.Module:
    """A detector after its first epoch."""
    name, given = DETECTORS[key]
    item = shelves.load("trainables", name)
    run = item(training(count, side), seed=0, device=device, **shelves.bind(item, given))
    run.train_epoch()
    detector: nn.Module = run.detector()
    return detector
