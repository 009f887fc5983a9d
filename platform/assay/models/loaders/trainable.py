"""A detector trained by Assay: its trainable builds it, and its weights are safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from assay import shelves
from assay.errors import InputError, ModelError
from assay.models.loaders._buffers import fit_buffers

FILE = "model.safetensors"


def trainable(manifest: Mapping[str, Any], content: bytes) -> nn.Module:
    """The detector of a trainable; raises ModelError if the folder does not match the code."""
    try:
        tensors = load(content)
        recipe: Any = shelves.load("trainables", manifest["trainable"])
        arguments = shelves.bind(recipe, manifest["parameters"])
        # building draws initial weights; leave the global generator alone
        with torch.random.fork_rng(devices=[]), shelves.before_weights():
            detector: nn.Module = recipe.build(
                channels=manifest["channels"], image_size=manifest["image_size"], **arguments
            )
        fit_buffers(detector, tensors)
        detector.load_state_dict(tensors)
    except (SafetensorError, InputError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        why = " ".join(str(error).split())[:200]
        made = manifest["environment"]["assay"] if "environment" in manifest else "unknown"
        raise ModelError(f"does not fit this code (it was made by version {made}): {why}") from error
    return detector
