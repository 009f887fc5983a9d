"""Any image model of anomalib, by name: trained by its own engine, on the images of the dataset. Needs `anomalib`.

Source: Akcay et al. 2022, "Anomalib: A Deep Learning Library for Anomaly Detection"; the source of each model is in
anomalib's documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import nn

from assay.contracts import Plain, TrainingData
from assay.interop.anomalib import ImageModel, model_class
from assay.interop.anomalib_detector import Detector, untrained
from assay.interop.backbone_weights import Weights
from assay.units import Count
from trainables._anomalib_engine import one_epoch, seeded, weights_of


class Anomalib:
    """A model of anomalib; the score is its raw one, before normalisation and clipping."""

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        model: Annotated[Plain, ImageModel()],
        weights: Weights,
        epochs: Count = 20,
        batch_size: Count = 32,
        input_size: Count | None = None,
    ) -> None:
        """Build the model; it is trained on the train normals alone.

        model: its name, with the parameters of its constructor: `padim`, `{patchcore: {coreset_sampling_ratio: 0.1}}`.
        weights: of its backbone: `hub` downloads the pretrained ones, `random` leaves them untrained, a file has them.
        epochs: unless the model says itself how many, such as 1 for a memory bank. input_size: to which it resizes the
        images, by default to their own size.
        """
        self.data, self.seed, self.device, self.batch_size = data, seed, device, batch_size
        self.model, self.size = model, _size(input_size or data.description["image_size"])
        with seeded(seed):
            self.module = _module(model, weights, self.size)
        self.epochs: int = self.module.trainer_arguments.get("max_epochs", epochs)
        self.checkpoint = b""

    def train_epoch(self) -> dict[str, float]:
        """One epoch of anomalib's engine, continued from the last one's checkpoint; returns what the model logs."""
        losses, self.checkpoint = one_epoch(
            self.module, self.data, self.batch_size, self.epochs, self.seed, self.device, self.checkpoint
        )
        return losses

    def detector(self) -> nn.Module:
        """A frozen copy of the current model, with its pre-processing inside."""
        with seeded(self.seed):
            copied = _module(self.model, "random", self.size)  # some models in training cannot be deep-copied
        copied.load_state_dict(self.module.state_dict())
        return _detector(copied).to(self.device).eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """The checkpoint as Lightning writes it, as bytes in one tensor: weights, optimisers, schedulers, loops."""
        return {"checkpoint": torch.from_numpy(np.frombuffer(self.checkpoint, np.uint8).copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.checkpoint = state["checkpoint"].numpy().tobytes()
        if self.checkpoint:
            self.module.load_state_dict(weights_of(self.checkpoint))

    @classmethod
    def build(
        cls, *, channels: int, image_size: int | Sequence[int], model: Plain, input_size: int | None, **unused: Any
    ) -> nn.Module:
        """An untrained detector of the same shape; nothing is downloaded, as its weights come with the model."""
        return _detector(_module(model, "random", _size(input_size or image_size)))


def _size(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def _module(model: Plain, weights: str, size: tuple[int, int]) -> Any:
    made = model_class(model["name"])
    before = made.configure_pre_processor(image_size=size)
    return untrained(made, {key: value for key, value in model.items() if key != "name"}, before.transform, weights)


def _detector(module: Any) -> Detector:
    return Detector(module.pre_processor.transform if module.pre_processor else None, module.model)
