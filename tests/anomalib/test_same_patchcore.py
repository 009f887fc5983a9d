"""PatchCore on Wide ResNet-50-2 at 224 pixels with a coreset of 10 %: the scores are those of anomalib."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from anomalib.models.components.sampling import k_center_greedy
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from safetensors.torch import save_file
from timm import create_model

from assay import shelves
from assay.contracts import Images, TrainingData
from trainables._coreset import first_row
from trainables.backbones._resnet import IMAGENET_MEAN, IMAGENET_STD
from trainables.patchcore import Patchcore

SIDE, TRAIN, TEST, CORESET = 224, 5, 4, 0.1


def pixels(count: int, seed: int) -> np.ndarray:
    """Coloured waves, uint8 (N, 3, 224, 224): unlike noise, their patches differ from place to place."""
    random = np.random.default_rng(seed)
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    images = [
        np.sin(across / random.uniform(3, 30) + random.uniform(0, 6)) * np.cos(down / random.uniform(3, 30))
        for _ in range(3 * count)
    ]
    return (127 + 120 * np.stack(images)).astype(np.uint8).reshape(count, 3, SIDE, SIDE)


def normalised(images: np.ndarray) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (torch.from_numpy(images).float() / 255 - mean) / std


class Unprojected:
    """Stands for anomalib's random projection, which draws from the global generator: the features themselves."""

    def __init__(self, **_: object) -> None: ...

    def fit(self, embedding: torch.Tensor) -> None: ...

    def transform(self, embedding: torch.Tensor) -> torch.Tensor:
        return embedding


def test_scores_are_anomalibs(tmp_path, monkeypatch) -> None:
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        theirs = PatchcoreModel(["layer2", "layer3"], "wide_resnet50_2", pre_trained=False, num_neighbors=9)
    weights = theirs.feature_extractor.feature_extractor.state_dict()
    whole = create_model("wide_resnet50_2", pretrained=False)
    whole.load_state_dict(weights, strict=False)  # the extractor has no last stage and no classifier
    save_file(whole.state_dict(), tmp_path / "wide.safetensors")

    train, test = pixels(TRAIN, 0), pixels(TEST, 1)
    names = tuple(map(str, range(TRAIN)))
    images = Images(train, np.zeros(TRAIN, np.int64), names, names, names)
    backbone = {"wide_resnet50_2": {"weights": str(tmp_path / "wide.safetensors")}}
    parameters = {"backbone": backbone, "coreset": CORESET, "border": "zeros", "reweight": 8}
    ours = Patchcore(TrainingData(images, images, {}), seed=0, **shelves.bind(Patchcore, parameters)).detector()

    total = TRAIN * (SIDE // 8) ** 2
    start = torch.tensor([first_row(total, 0)])
    monkeypatch.setattr(k_center_greedy, "SparseRandomProjection", Unprojected)
    monkeypatch.setattr(k_center_greedy.torch, "randint", lambda **_: start)
    with torch.no_grad():
        theirs.train()
        theirs.feature_extractor.eval()
        theirs(normalised(train))
        theirs.subsample_embedding(CORESET)
        theirs.eval()
        expected = theirs(normalised(test)).pred_score
        scores = ours(torch.from_numpy(test).float() / 255)

    assert len(ours.bank) == len(theirs.memory_bank) == round(CORESET * total)
    torch.testing.assert_close(ours.bank.sum(1).sort().values, theirs.memory_bank.sum(1).sort().values)
    assert scores.numpy() == pytest.approx(expected.numpy(), rel=1e-5)
    assert len(scores.unique()) == TEST
