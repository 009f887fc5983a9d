"""A model on disk: `manifest.json` and a file of weights or a program, in a folder named by its content hash.

Some programs keep their weights in files of their own, its side files. The folder's name is the hash of the manifest,
and the manifest contains the hash of every other file, so one changed byte in any is found on loading. Nothing is ever
unpickled.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from assay import consent, shelves
from assay.contracts import Dataset, Plain
from assay.data import moved
from assay.errors import ModelError, UnknownName
from assay.hashing import canonical, digest
from assay.models.loaders._buffers import fit_buffers as fit_buffers
from assay.store import formats
from assay.store.store import Store

if TYPE_CHECKING:
    from torch import nn

FORMAT = formats.written("model")
HASH_LENGTH = 64
"""Hex digits of SHA-256 that name a folder."""
OLD_LENGTH = 24
"""The digits in a name that an older version gave: few enough to make two models of one name."""
SIDE = re.compile(r"[a-z][a-z0-9_]*(?:-\d+)?\.bin")
"""The name of a side file in a model folder."""
NO_SIDES: Mapping[str, bytes] = MappingProxyType({})


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

    @property
    def made_by(self) -> str:
        """The trainable that made it, or for a detector from outside its `module:attribute` or file name."""
        return str(self.manifest.get("trainable") or self.manifest["detector"])

    @property
    def stochastic(self) -> bool:
        """Whether its card says that the same image gets a different score each time."""
        return bool(self.manifest.get("stochastic", False))


def is_hash(name: str) -> bool:
    """Whether a name has the form of a model hash."""
    return len(name) in (HASH_LENGTH, OLD_LENGTH) and set(name) <= set("0123456789abcdef")


def names(name: str, digest: str) -> bool:
    """Whether a folder's name is that of a manifest with this SHA-256."""
    return is_hash(name) and digest.startswith(name)


def _name(store: Store, manifest: bytes) -> str:
    """The name of a model: the whole hash of its manifest, or the short one under which the store holds it already."""
    full = digest(manifest)
    old = f"models/{full[:OLD_LENGTH]}/manifest.json"
    held = store.exists(old) and digest(store.read(old)) == full
    return full[:OLD_LENGTH] if held else full


def write(store: Store, detector: nn.Module, manifest: Mapping[str, Any]) -> str:
    """Write a detector made by a trainable and return its hash.

    manifest: plain values; needs at least `trainable`, `parameters`, `channels`, `image_size`, `threshold`.
    """
    from safetensors.torch import save

    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in detector.state_dict().items()}
    return write_folder(store, manifest, save(tensors))


def write_folder(
    store: Store,
    manifest: Mapping[str, Any],
    content: bytes,
    sides: Mapping[str, bytes] = NO_SIDES,
    more: Mapping[str, bytes] = NO_SIDES,
) -> str:
    """Write the folder of a model of the manifest's `kind` (default: trainable) and return its hash.

    content: of the file that this kind of model keeps beside the manifest; unused if it keeps none. sides: its side
    files by their names in the folder. more: other files, whose hashes the manifest must have already.
    """
    files = named(manifest, content, sides)
    text = canonical({"format": FORMAT, **manifest, **(hashes(content, sides) if files else {})})
    name = _name(store, text)
    for file, bytes_ in {**files, **more}.items():
        store.write(f"models/{name}/{file}", bytes_)
    store.write(f"models/{name}/manifest.json", text)  # last: a folder with a manifest is complete
    return name


def amended(store: Store, name: str, more: Mapping[str, Any]) -> str:
    """Write a model of a trainable once more, with more in its manifest, and return its hash; the old one stays.

    Raises ModelError where a file of it was changed.
    """
    manifest = read_manifest(store, name)
    content, sides = read_files(store, f"models/{name}", manifest)
    return write_folder(store, {**manifest, **more}, content, sides)


def hashes(content: bytes, sides: Mapping[str, bytes] = NO_SIDES) -> Plain:
    """What the manifest says about a model's files: `weights_sha256`, and `side_files` (name -> hash) if it has any."""
    beside = {"side_files": {name: digest(side) for name, side in sorted(sides.items())}} if sides else {}
    return {"weights_sha256": digest(content), **beside}


def named(manifest: Mapping[str, Any], content: bytes, sides: Mapping[str, bytes] = NO_SIDES) -> dict[str, bytes]:
    """The files of a model by their names beside the manifest; none of a kind that keeps none."""
    file = _file(manifest)
    return {file: content, **sides} if file else {}


def hashes_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The files beside a manifest and their hashes, as it says; raises UnknownName for an unknown kind, ModelError."""
    file = _file(manifest)
    return {**({file: str(manifest["weights_sha256"])} if file else {}), **side_files(manifest)}


def side_files(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The side files of a model and their hashes; raises ModelError for a name that is no plain file name."""
    named = manifest.get("side_files", {})
    if not isinstance(named, Mapping) or not all(SIDE.fullmatch(str(name)) for name in named):
        raise ModelError("its manifest.json names side files that no version writes; make the model again")
    return {str(name): str(hash_) for name, hash_ in named.items()}


def read_manifest(store: Store, name: str) -> Plain:
    """The manifest of a model, checked against the folder's name; raises ModelError if it was changed."""
    content = store.read(f"models/{name}/manifest.json")
    if not names(name, digest(content)):
        raise ModelError(
            f"models/{name}/manifest.json was changed after it was written (its hash no longer matches the folder's "
            "name); restore it from a copy or make the model again"
        )
    try:
        manifest: Plain = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"models/{name}/manifest.json is not valid JSON ({error}); make the model again") from error
    if not isinstance(manifest, dict):
        raise ModelError(f"models/{name}/manifest.json holds no mapping; make the model again")
    formats.check_content(manifest, "model", store.place(f"models/{name}/manifest.json"))
    return manifest


def load(store: Store, name: str) -> Model:
    """Load a model by its full hash; raises ModelError if a file is damaged, changed or does not fit the code."""
    manifest = read_manifest(store, name)
    try:
        _file(manifest)
    except UnknownName as error:
        raise ModelError(f"models/{name} is of a kind that this version cannot load: {error}") from error
    files = read_files(store, f"models/{name}", manifest)
    outside = f" ({manifest['detector']})" if "detector" in manifest else ""
    if _kind(manifest) == "factory" and not manifest.get("code_sha256"):
        raise ModelError(f"models/{name}{outside} does not say which code makes it (code_sha256); name its card again")
    with consent.word_of_a_store():
        return Model(name, manifest, build(f"models/{name}{outside}", manifest, *files))


def read_files(store: Store, folder: str, manifest: Mapping[str, Any]) -> tuple[bytes, dict[str, bytes]]:
    """The file beside a manifest and its side files, in `folder`; raises ModelError where one was changed."""
    file = _file(manifest)
    content = _read(store, f"{folder}/{file}", manifest["weights_sha256"]) if file else b""
    return content, {side: _read(store, f"{folder}/{side}", hash_) for side, hash_ in side_files(manifest).items()}


def _read(store: Store, key: str, wanted: str) -> bytes:
    content = store.read(key)
    if digest(content) != wanted:
        raise ModelError(
            f"{key} is damaged or was changed ({len(content)} bytes, and its hash is not the one in the manifest); "
            "restore it from a copy or make the model again"
        )
    return content


def dataset_of(item: Any) -> Dataset:
    """The dataset that a manifest names, read where its images lie now; what it may import is what a store may name.

    Raises as shelves.load does, and as moved.again.
    """
    name, parameters = shelves.normal_form(item)
    with consent.word_of_a_store():
        function = shelves.load("datasets", name)
        arguments = shelves.bind(function, parameters)
    return moved.again(name, function, arguments)


@functools.lru_cache(maxsize=2)
def loaded(root: str, name: str, device: str) -> nn.Module:
    """The detector of a model on a device, cached for the next call, as a worker attacks the same one repeatedly."""
    return load(Store(root), name).detector.to(device)


def build(what: str, manifest: Mapping[str, Any], content: bytes, sides: Mapping[str, bytes] = NO_SIDES) -> nn.Module:
    """The frozen detector that a manifest and its files describe; raises ModelError, its message starts with `what`."""
    loader = shelves.load("loaders", _kind(manifest))
    more = (sides,) if shelves.stated(loader, "SIDES", None) else ()
    try:
        return freeze(loader(manifest, content, *more))
    except ModelError as error:
        raise ModelError(f"{what} {error}") from error


def freeze(detector: nn.Module) -> nn.Module:
    """The same detector in eval mode with frozen weights, so that attacks compute gradients for pixels only.

    Raises ModelError if a part of it stays in train mode, for example because it overrides `train`.
    """
    frozen = detector.eval().requires_grad_(False)
    stubborn = [name or type(part).__name__ for name, part in frozen.named_modules() if part.training]
    if stubborn:
        raise ModelError(
            f"stays in train mode after `eval()`: {', '.join(stubborn[:5])}; an image's score may then "
            "depend on the other images of its batch. Make its `train` method reach every part"
        )
    return frozen


def _kind(manifest: Mapping[str, Any]) -> str:
    """The loader's name; always one of the shelf, never a `module:attribute`."""
    kind = str(manifest.get("kind", "trainable"))
    if ":" in kind:
        raise UnknownName("loader", kind, shelves.names("loaders"))
    return kind


def _file(manifest: Mapping[str, Any]) -> str | None:
    """The file that this kind of model keeps beside its manifest; raises UnknownName for an unknown kind."""
    file: str | None = shelves.stated(shelves.load("loaders", _kind(manifest)), "FILE", None)
    return file
