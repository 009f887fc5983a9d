"""A model on disk: `model.safetensors` + `manifest.json` in a folder named by its content hash.

The folder's name is the hash of the manifest, the manifest holds the hash of the weights: one changed byte in
either is found on loading. Nothing is ever unpickled.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay import shelves
from assay.errors import InputError, ModelError, UnknownName
from assay.store import Store, canonical, digest

if TYPE_CHECKING:
    from torch import nn

FORMAT = 1
HASH_LENGTH = 24  # hex digits of SHA-256 that name a folder


@dataclass(frozen=True)
class Model:
    """A loaded model: its hash, its manifest, and the detector in eval mode with frozen weights."""

    hash: str
    manifest: Mapping[str, Any]
    detector: nn.Module

    @property
    def threshold(self) -> float:
        """The score above which an image is flagged as anomalous."""
        return float(self.manifest["threshold"]["value"])


def write(store: Store, detector: nn.Module, manifest: Mapping[str, Any]) -> str:
    """Write a finished detector and return its hash.

    manifest: plain values; needs at least `trainable`, `parameters`, `channels`, `image_size`, `threshold`.
    """
    from safetensors.torch import save

    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in detector.state_dict().items()}
    weights = save(tensors)
    full = {"format": FORMAT, **manifest, "weights_sha256": digest(weights)}
    content = canonical(full)
    name = digest(content)[:HASH_LENGTH]
    store.write(f"models/{name}/model.safetensors", weights)
    store.write(f"models/{name}/manifest.json", content)  # last: a folder with a manifest is complete
    return name


def read_manifest(store: Store, name: str) -> dict[str, Any]:
    """The manifest of a model, checked against the folder's name; raises ModelError if it was changed."""
    content = store.read(f"models/{name}/manifest.json")
    if digest(content)[:HASH_LENGTH] != name:
        raise ModelError(
            f"models/{name}/manifest.json was changed after it was written (its hash is no longer the folder's name); "
            "restore it from a copy or train the model again"
        )
    manifest: dict[str, Any] = json.loads(content)
    if manifest.get("format") != FORMAT:
        raise ModelError(f"models/{name} has format {manifest.get('format')}; this version reads format {FORMAT}")
    return manifest


def load(store: Store, name: str) -> Model:
    """Load a model by its full hash; raises ModelError if a file is damaged, changed or does not fit the code."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors

    manifest = read_manifest(store, name)
    weights = store.read(f"models/{name}/model.safetensors")
    if digest(weights) != manifest["weights_sha256"]:
        raise ModelError(
            f"models/{name}/model.safetensors is damaged or was changed ({len(weights)} bytes, another hash than the "
            "manifest's); restore it from a copy or train the model again"
        )
    try:
        tensors = load_tensors(weights)
        trainable: Any = shelves.load("trainables", manifest["trainable"])
        arguments = shelves.bind(trainable, manifest["parameters"])
        with torch.random.fork_rng(devices=[]):  # building draws initial weights; nobody else should notice
            detector = trainable.build(channels=manifest["channels"], image_size=manifest["image_size"], **arguments)
        fit_buffers(detector, tensors)
        detector.load_state_dict(tensors)
    except (SafetensorError, InputError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        why = " ".join(str(error).split())[:200]
        made = manifest["environment"]["assay"] if "environment" in manifest else "unknown"
        raise ModelError(f"models/{name} does not fit this code (it was made by version {made}): {why}") from error
    return Model(name, manifest, freeze(detector))


@functools.lru_cache(maxsize=2)
def loaded(root: str, name: str, device: str) -> nn.Module:
    """The detector of a model on a device, kept for the next call: what a worker attacks again and again."""
    return load(Store(root), name).detector.to(device)


def freeze(detector: nn.Module) -> nn.Module:
    """The same detector in eval mode, its weights frozen, so that an attack computes gradients of pixels only."""
    return detector.eval().requires_grad_(False)


def fit_buffers(detector: nn.Module, tensors: Mapping[str, Any]) -> None:
    """Give buffers (such as a neighbour bank) the size they have in `tensors`; weights keep theirs."""
    for name, buffer in list(detector.named_buffers()):
        if name in tensors and tensors[name].shape != buffer.shape:
            parent, _, key = name.rpartition(".")
            setattr(detector.get_submodule(parent), key, buffer.new_zeros(tensors[name].shape))


def find(store: Store, text: str) -> str:
    """The full hash for a hash or an unambiguous beginning of one; raises InputError otherwise."""
    names = store.names("models")
    found = [name for name in names if name.startswith(text)] if len(text) >= 4 else []
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"model '{text}' is ambiguous: {', '.join(found[:5])}; give more digits")
    raise UnknownName("model", text, names[:20])
