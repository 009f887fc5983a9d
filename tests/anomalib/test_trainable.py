"""Models of anomalib as trainables: resumed as if never stopped, rebuilt with equal scores, with a gradient."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest
import torch
import toy_anomalib
from pydantic import ValidationError

from assay import shelves
from assay.contracts import TrainingData
from assay.data import splits
from assay.datasets.folder import folder
from assay.models import model_folder

NARROW = {"backbone": "resnet18"}
MODELS: dict[str, dict[str, Any]] = {
    "padim": {},
    "patchcore": NARROW,
    "stfpm": {},
    "reverse_distillation": NARROW,
    "fastflow": {"flow_steps": 2},
    "supersimplenet": NARROW,
    "dfm": NARROW,
    "cflow": NARROW,
    "ganomaly": {"n_features": 16},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    logging.disable(logging.WARNING)
    root = toy_anomalib.write_images(tmp_path_factory.mktemp("images") / "toy")
    return splits.training_data(folder(root=str(root), normal=["train", "good"], anomalous="square", image_size=128))


def parameters(model: dict[str, Any]) -> dict[str, Any]:
    item = shelves.load("trainables", "anomalib")
    return shelves.bind(item, {"model": model, "weights": "random", "epochs": 2, "batch_size": 8})


def started(data: TrainingData, model: dict[str, Any]) -> Any:
    return shelves.load("trainables", "anomalib")(data, seed=0, device="cpu", **parameters(model))


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[key].nan_to_num(), second[key].nan_to_num()) for key in first
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_resumed_exactly_and_rebuilt_with_equal_scores(data: TrainingData, name: str) -> None:
    model = {name: MODELS[name]}
    run = started(data, model)
    run.train_epoch()
    kept = io.BytesIO()
    torch.save(run.state_dict(), kept)
    kept.seek(0)
    again = started(data, model)
    again.load_state_dict(torch.load(kept, weights_only=True))
    assert same(again.detector(), run.detector())
    if run.epochs > 1:
        run.train_epoch()
        again.train_epoch()
        assert same(again.detector(), run.detector())
    detector, images = run.detector(), torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    built = shelves.load("trainables", "anomalib").build(channels=3, image_size=128, **parameters(model))
    model_folder.fit_buffers(built, detector.state_dict())
    built.load_state_dict(detector.state_dict())
    with torch.no_grad():
        scores = detector(images)
        assert torch.equal(built.eval()(images), scores)
    assert scores.shape == (3,)
    asked = images.requires_grad_()
    [gradient] = torch.autograd.grad(detector(asked).sum(), asked)
    assert (gradient != 0).any()


def test_parameters_are_checked_against_the_model() -> None:
    with pytest.raises(ValidationError, match=r"Padim does not take this .*its parameters: backbone, layers"):
        parameters({"padim": {"feature_count": 20}})
    with pytest.raises(ValidationError, match="padimm"):
        parameters({"padimm": {}})
