"""The file that is deployed in place of the audited detector: kept in the model's folder, scored beside it.

Often the two are made of the same weights: a detector with gradients, its white-box twin, is audited, and an ONNX or
OpenVINO file made of it runs on the line. The manifest says of the file what it says of a detector, under `deployed`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import FiniteFloat, model_validator

from assay import consent, shelves
from assay.config.section import Section
from assay.contracts import Images, Plain
from assay.errors import ModelError
from assay.models import model_folder, preflight
from assay.models.outside_files import Files
from assay.store.store import Store

if TYPE_CHECKING:
    from torch import nn

FOLDER = "deployed"
SHARED = ("higher_is", "channels", "image_size")
"""What holds for the file as for the audited detector, unless its own description says otherwise."""
DESCRIBED = ("higher_is", "output", "precision")


class DeployedFile(Section):
    """`deployed:` of a card, a path relative to it or a mapping.

    threshold: on the file's own scale of scores, where that is another one than the detector's. higher_is: of the file,
    by default as the card says. output, precision: as in a card.
    """

    detector: str
    threshold: FiniteFloat | None = None
    higher_is: Literal["anomalous", "normal"] | None = None
    output: str | None = None
    precision: Literal["f32", "f16", "bf16", "default"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"detector": value} if isinstance(value, str) else value


def describe(
    card: DeployedFile, kind: str, files: Files, manifest: Mapping[str, Any], images: Images, device: str
) -> Plain:
    """What the manifest says about the file; `images` of the validation split are scored to see that it can be audited.

    manifest: of the audited detector, its threshold included. Raises ModelError, its message naming the file.
    """
    name = Path(card.detector).name
    stated = {key: value for key in DESCRIBED if (value := getattr(card, key)) is not None}
    described: Plain = {"kind": kind, "detector": name, **stated}
    whole = {**{key: manifest[key] for key in SHARED}, **described}
    built = model_folder.build(f"the deployed file {name}", whole, *files).to(device)
    try:
        preflight.inspect(built, images, None, device)
    except ModelError as error:
        raise ModelError(f"the deployed file {name}: {error}") from error
    threshold: float = manifest["threshold"]["value"]
    if card.threshold is not None:
        threshold = -card.threshold if whole["higher_is"] == "normal" else card.threshold
    return {
        **described,
        **getattr(built, "runs", {}),
        **model_folder.hashes(*files),
        "threshold": threshold,
        "own_scale": card.threshold is not None,
    }


def content(described: Mapping[str, Any], files: Files) -> dict[str, bytes]:
    """The files by their names in the model's folder; described: what the manifest says about them."""
    return {f"{FOLDER}/{file}": bytes_ for file, bytes_ in model_folder.named(described, *files).items()}


def hashes(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Name in the model's folder -> SHA-256, of all files of the deployed file; empty for a model that names none."""
    described = manifest.get("deployed")
    if described is None:
        return {}
    return {f"{FOLDER}/{file}": hash_ for file, hash_ in model_folder.hashes_of(_whole(manifest)).items()}


def load(store: Store, name: str) -> nn.Module:
    """The deployed file of a model as a frozen detector; raises ModelError where it is damaged or of no known kind."""
    whole = _whole(model_folder.read_manifest(store, name))
    folder = f"models/{name}/{FOLDER}"
    files = model_folder.read_files(store, folder, whole)
    with consent.word_of_a_store():
        return model_folder.build(f"{folder} ({whole['detector']})", whole, *files)


@functools.lru_cache(maxsize=1)
def loaded(root: str, name: str, device: str) -> nn.Module:
    """The deployed file of a model on a device, cached for the next call."""
    return load(Store(root), name).to(device)


def _whole(manifest: Mapping[str, Any]) -> Plain:
    """The description of the file as a manifest of its own; raises ModelError for a kind that is not of files.

    Never of code: a manifest may come from another store, and a file is all that a card can name.
    """
    described = manifest["deployed"]
    kind = described.get("kind") if isinstance(described, Mapping) else None
    if kind not in shelves.names("loaders") or not shelves.stated(shelves.load("loaders", kind), "SUFFIX", None):
        raise ModelError(f"its manifest.json says that a {kind!r} is deployed, which is no kind of file")
    return {**{key: manifest[key] for key in SHARED}, **described}
