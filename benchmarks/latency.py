"""How long one image takes on one thread, beside the libraries whose models they are.

    .venv-anomalib/bin/python benchmarks/latency.py        about a minute; needs anomalib and timm beside Assay

patchcore: Wide ResNet-50-2 at 224 pixels, a bank of 10 % of the patches of 60 images, reweighted by nine rows; from an
image in [0, 1] to its score. The rival is anomalib's `PatchcoreModel` with the same weights and the same bank; it also
draws its map, which is part of its forward. Target: at most 1.0 of its time.
efficientnet: the backbone `efficientnet_lite0` at 224 pixels, from an image to its features. The rival is the network
of the package whose weights it uses, in eval mode with normalised images, without its classifier; timm's
`tf_efficientnet_lite0` is timed beside it.
onnx: neighbours on EfficientNet-lite0 and patchcore on ResNet-18, at 224 pixels, from 8-bit image to decision: the
exported file by ONNX Runtime, and the same pipeline by PyTorch. The ratio is that of the slower file. Target: 1.0.
Every figure is the median over runs that are taken in turns, in seconds of processor time. Weights are random where it
does not matter, images are waves with noise, half of them with a square that normals do not have: how much of the
search patchcore can leave out depends on them.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn

from assay.deploy import program
from assay.deploy.formats import onnx
from assay.deploy.pipeline import INPUT, Pipeline
from assay.shelves import Item
from trainables.backbones._resnet import IMAGENET_MEAN, IMAGENET_STD
from trainables.backbones.efficientnet_lite0 import efficientnet_lite0
from trainables.neighbours import NeighbourBank
from trainables.patchcore import PatchBank

SIDE, NORMALS, IMAGES, CORESET = 224, 60, 8, 0.1
ROWS = 2000


def waves(count: int, seed: int, *, square: bool = False) -> Tensor:
    """Images (N, 3, 224, 224) in [0, 1]."""
    random = torch.Generator().manual_seed(seed)
    across, phase = torch.arange(SIDE) / 9, 6 * torch.rand(count, 3, 1, 1, generator=random)
    noise = torch.randn(count, 3, SIDE, SIDE, generator=random)
    images = (0.5 + 0.3 * torch.sin(across + phase) * torch.cos(across[:, None] / 2) + 0.05 * noise).clamp(0, 1)
    if square:
        images[:, :, 80:110, 90:130] = 1 - images[:, :, 80:110, 90:130]
    return images


def medians(rivals: dict[str, Callable[[Tensor], Any]], images: Tensor, rounds: int) -> dict[str, float]:
    """Seconds an image by rival: the median over `rounds` of all images, in turns, after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in range(rounds + 1):
        for image in images.split(1):
            for name, rival in rivals.items():
                started = time.process_time()
                rival(image)
                if turn:
                    seconds[name].append(time.process_time() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def patchcore() -> dict[str, Callable[[Tensor], Any]]:
    """Our detector and anomalib's, with the same weights and the same bank; checked to give the same scores."""
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    theirs = PatchcoreModel(["layer2", "layer3"], "wide_resnet50_2", pre_trained=False, num_neighbors=9).eval()
    ours = PatchBank(Item("backbones", "wide_resnet50_2", {}), 3, (2, 3), 8, "zeros").eval()
    ours.patches.backbone.load_state_dict(theirs.feature_extractor.feature_extractor.state_dict(), strict=False)
    ours.fit(waves(NORMALS, 0), CORESET, 0, projection=128, batch=8)
    theirs.memory_bank = ours.bank
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    def score(image: Tensor) -> Tensor:
        scores: Tensor = theirs((image - mean) / std).pred_score
        return scores

    for image in (waves(1, 7), waves(1, 8, square=True)):
        torch.testing.assert_close(ours(image), score(image), rtol=1e-4, atol=0)
    print(f"patchcore: a bank of {len(ours.bank)} rows of {ours.bank.shape[1]} features; the same scores")
    return {"patchcore": ours, "anomalib's patchcore": score}


def efficientnet() -> dict[str, Callable[[Tensor], Any]]:
    """Our backbone, the network of its package, and timm's."""
    from efficientnet_lite_pytorch import EfficientNet
    from timm import create_model

    ours = efficientnet_lite0(channels=3).eval()
    plain: nn.Module = EfficientNet.from_name("efficientnet-lite0", image_size=None).eval()
    plain.load_state_dict(ours.network.state_dict(), strict=False)
    timms = create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()

    def features(image: Tensor) -> Tensor:
        maps: Tensor = plain.extract_features((image - 127 / 255) / (128 / 255))
        return maps.mean((2, 3))

    image = waves(1, 7)
    torch.testing.assert_close(ours(image), features(image), rtol=1e-4, atol=1e-4)
    return {
        "efficientnet_lite0": ours,
        "its package's": features,
        "timm's": lambda image: timms((image - 127 / 255) / (128 / 255)),
    }


def exported(name: str, detector: nn.Module, scratch: Path) -> dict[str, Callable[[Tensor], Any]]:
    """A detector's exported ONNX file and its pipeline in PyTorch; checked to give the same scores."""
    pipeline = Pipeline(detector, SIDE, SIDE, 0.5).eval()
    file = scratch / f"{name}.onnx"
    onnx.write(program.graph(pipeline, 3), file, pipeline.outputs, {})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def run(image: Tensor) -> Any:
        return session.run(None, {INPUT: (image * 255).byte().numpy()})

    def plain(image: Tensor) -> Any:
        return pipeline((image * 255).byte())

    image = waves(1, 7)
    torch.testing.assert_close(torch.from_numpy(run(image)[0]), plain(image)[0], rtol=1e-3, atol=1e-5)
    return {f"{name}, ONNX file": run, f"{name}, PyTorch": plain}


def to_export() -> dict[str, nn.Module]:
    """Detectors with random weights and banks of waves."""
    near = NeighbourBank(Item("backbones", "efficientnet_lite0", {}), 3, 3, "cosine").eval()
    near.bank = near.features(waves(NORMALS, 0))
    patches = PatchBank(Item("backbones", "resnet18", {}), 3, (2, 3), 8).eval()
    rows = patches.patches(waves(8, 0)).flatten(0, 1)
    patches.bank = rows[torch.randperm(len(rows))[:ROWS]]  # only their number matters to its time
    return {"neighbours": near, "patchcore on ResNet-18": patches}


def main() -> None:
    """Measure, print a table and the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if missing := [name for name in ("anomalib", "timm") if importlib.util.find_spec(name) is None]:
        parser.exit(1, f"not installed here: {', '.join(missing)}; run it where they are (make test-anomalib)\n")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.cat([waves(IMAGES // 2, 1), waves(IMAGES // 2, 2, square=True)])
    ratios = {}
    with torch.inference_mode():
        for name, rivals in (("patchcore", patchcore()), ("efficientnet", efficientnet())):
            seconds = medians(rivals, images, arguments.rounds)
            for rival, median in seconds.items():
                print(f"{rival:<24}{1000 * median:8.1f} ms")
            first, second, *_ = seconds.values()
            ratios[name] = first / second
        slower = []
        with tempfile.TemporaryDirectory() as scratch:
            for name, detector in to_export().items():
                seconds = medians(exported(name, detector, Path(scratch)), images, arguments.rounds)
                for rival, median in seconds.items():
                    print(f"{rival:<36}{1000 * median:8.1f} ms")
                first, second = seconds.values()
                slower.append(first / second)
        ratios["onnx"] = max(slower)
    print(" ".join(["RESULT", *(f"{name}_ratio={ratio:.2f}" for name, ratio in ratios.items())]))


if __name__ == "__main__":
    main()
