"""Weights of other people: read from a file without running anything in it, and fitted to a network by name."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, TypeAlias

import torch
from pydantic import AfterValidator
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from assay import shelves
from assay.errors import InputError

LISTED = 5
"""Names that a message lists of each kind."""
BROKEN = (SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, LookupError)
"""What the two readers raise for files that are torn, of another kind or hold more than tensors."""

WORDS = ("hub", "random")
"""What may stand in place of a file, where a backbone takes it."""


def _located(file: str) -> str:
    """The file's whole path, as workers start in other folders; whether it is there shows where it is read."""
    return file if file in WORDS else str(Path(file).expanduser().absolute())


WeightsFile: TypeAlias = Annotated[str, AfterValidator(_located)]
"""A file of weights, relative to the folder in which the search space is read."""


def load_weights(network: nn.Module, file: str, what: str, *, ignored: Collection[str] = ()) -> None:
    """Load the state dict in a file into a network; does nothing where a stored model's weights follow anyway.

    what: the network in words, for messages. ignored: first parts of names that may be in the file and are not used,
    such as `fc`, the classifier. Raises InputError if the file cannot be used.
    """
    if not shelves.weights_follow():
        fit(network, read(Path(file)), file, what, ignored=ignored)


def read(path: Path) -> dict[str, Tensor]:
    """The state dict in a .safetensors file or a torch file of tensors only; no pickled code is run."""
    if not path.is_file():
        raise InputError(f"weights {path}: there is no such file; the path must hold on every machine that trains")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except BROKEN as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"weights {path} cannot be read as a state dict of tensors ({reason}); code in a file is never run: save "
            "the state dict alone, best as .safetensors"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        holds = f"{', '.join(map(str, list(state)[:LISTED]))}" if isinstance(state, dict) else type(state).__name__
        raise InputError(
            f"weights {path} must hold a state dict, names to tensors, and holds {holds}; save model.state_dict() only"
        )
    return state


def fit(
    network: nn.Module, state: Mapping[str, Tensor], file: str, what: str, *, ignored: Collection[str] = ()
) -> None:
    """Load a state dict by name and shape; raises InputError with the first names that do not fit."""
    state = {name: tensor for name, tensor in state.items() if name.partition(".")[0] not in ignored}
    own = network.state_dict()
    misfits = [name for name, tensor in state.items() if name in own and tensor.shape != own[name].shape]
    rest = {name: tensor for name, tensor in state.items() if name not in misfits}
    missing, unexpected = network.load_state_dict(rest, strict=False)
    kinds = {
        "missing": [name for name in missing if name not in misfits],
        "unexpected": unexpected,
        "of another shape": [f"{name} {_by(state[name])} instead of {_by(own[name])}" for name in misfits],
    }
    faults = [f"{len(names)} {kind} ({_first(names)})" for kind, names in kinds.items() if names]
    if faults:
        raise InputError(
            f"weights {file} do not fit {what}: {'; '.join(faults)}; name the model that the weights are of"
        )


def _by(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"


def _first(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
