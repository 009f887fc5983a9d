"""ResNet-18 (He et al. 2016), from random weights or from a file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from assay.errors import InputError
from trainables.backbones._resnet import ResNet


def resnet18(*, channels: int, stem: Literal["cifar", "imagenet"] = "cifar", weights: str | None = None) -> nn.Module:
    """(B, channels, H, W) in [0, 1] -> (B, 512).

    stem: `cifar` for images of about 32 to 64 pixels; `imagenet` for larger ones and for published weights (three
    channels, grey is repeated; ImageNet's mean and deviation).
    weights: a state dict with the usual names (conv1, bn1, layer1.0.conv1, ...; fc is ignored), .safetensors or a
    torch file of tensors only. Raises InputError if the file is missing, unreadable or does not fit.
    """
    network = ResNet(channels, width=64, blocks=2, stem=stem)
    if weights is not None:
        state = {key: value for key, value in _read(Path(weights)).items() if not key.startswith("fc.")}
        try:
            network.load_state_dict(state)
        except (RuntimeError, AttributeError) as error:
            raise InputError(
                f"weights {weights} do not fit resnet18 with stem '{stem}' and {channels} channels: {error}"
            ) from error
    return network


def _read(path: Path) -> dict[str, Tensor]:
    """The state dict in a file; no pickled code is run."""
    if not path.is_file():
        raise InputError(f"weights {path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(f"weights {path} cannot be read as a state dict: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"weights {path} must hold a state dict, names to tensors; save model.state_dict() only")
    return state
