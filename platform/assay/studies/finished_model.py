"""A finished model as a detector of a study: measured beside those that are trained, and neither trained nor copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from assay.contracts import TrainingData
from assay.data.images import height_and_width
from assay.errors import InputError
from assay.models import model_folder
from assay.store.store import Store

NAME = "assay.studies.finished_model:FinishedModel"
"""How the search space of a cell names it."""


class FinishedModel:
    """A model of a store as it is, run like a trainable."""

    def __init__(self, data: TrainingData, *, seed: int, device: str = "cpu", model: str, store: str) -> None:
        """Load the model.

        model: its hash. store: where it is. Raises InputError where it takes other images than these, or may have been
        trained on some of them, and StoreError or ModelError where it cannot be loaded.
        """
        found = model_folder.load(Store(store), model)
        _check(found.manifest, data)
        self.model_hash, self.trained, self.epochs = model, found.detector.to(device), 1

    @classmethod
    def build(cls, *, channels: int, image_size: int | Sequence[int], model: str, store: str) -> nn.Module:
        """The model's detector: there is no untrained one."""
        return model_folder.load(Store(store), model).detector

    def train_epoch(self) -> dict[str, float]:
        """Nothing is trained."""
        return {}

    def detector(self) -> nn.Module:
        """The model's detector."""
        return self.trained

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the store has the model."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""


def _check(manifest: Mapping[str, Any], data: TrainingData) -> None:
    about, its = data.description, manifest["dataset"]
    takes = (int(manifest["channels"]), *height_and_width(manifest["image_size"]))
    if takes != (have := data.validation.pixels.shape[1:]):
        raise InputError(f"the model takes {_shape(takes)}, and these are {_shape(have)}")
    if its["name"] == about["name"] and its["hash"] != about["hash"]:
        raise InputError(
            f"the model was trained on other images of {about['name']}, or on the same in another split, so these may "
            "be among them; give the dataset as in the model's manifest"
        )


def _shape(images: tuple[int, ...]) -> str:
    channels, height, width = images
    return f"images of {height} x {width} pixels with {channels} channel{'s' * (channels != 1)}"
