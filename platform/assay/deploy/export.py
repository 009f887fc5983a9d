"""Exporting a model: written, run, compared with the detector image by image, and only then left behind."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from assay.data.images import height_and_width, image_files
from assay.data.shrinking import Rule
from assay.deploy import parity, program, sidecar
from assay.deploy.formats import onnx, openvino, pt2
from assay.deploy.parity import Parity, Reference
from assay.deploy.pipeline import INPUT, Pipeline
from assay.deploy.score_files import reading_of
from assay.errors import DataError, InputError, ModelError
from assay.models import model_folder
from assay.models.model_folder import Model
from assay.models.scoring import some_of_each
from assay.store.store import Store

FORMATS: Mapping[str, ModuleType] = {"onnx": onnx, "pt2": pt2, "openvino": openvino}
Format = Literal["onnx", "pt2", "openvino"]
MOST = 128
"""Images of each class that are compared."""
FOLDER = "exports"
"""Of a store: what was exported from its models, a small file each, named by the hash of the exported file."""


@dataclass(frozen=True)
class Exported:
    """An exported file: where it, its sidecar and its card lie, the model's hash, and what the comparison found."""

    file: Path
    sidecar: Path
    card: Path
    model: str
    parity: Parity


def export(
    store: Store, model: Model, format: str, file: Path, images: Path | None, verdict: Mapping[str, Any] | None
) -> Exported:
    """Export a model to a file that does everything but decoding, with its sidecar and card beside it.

    images: a folder to compare on instead of the validation images. verdict: what the newest audit says, if any.
    Raises InputError for names, ModelError for a detector that cannot be exported, or whose file does not agree with
    it, DataError for images that are not there.
    """
    chosen = FORMATS[format]
    _check(model, file, chosen)
    expected = parity.reference(model, _paths(model, images))
    threshold = _threshold(model, expected)
    channels, size = model.manifest["channels"], height_and_width(model.manifest["image_size"])
    pipeline = Pipeline(model.detector, *size, threshold).eval()
    content = _about(model, format, chosen, pipeline, threshold, verdict)
    try:
        graph = program.graph(pipeline, channels)
        with tempfile.TemporaryDirectory(prefix=".assay-export-", dir=file.parent) as scratch:
            made = Path(scratch) / file.name
            chosen.write(graph, made, pipeline.outputs, _metadata(content))
            compared = parity.compare(chosen.reader(made), expected, model.threshold)
            _require(compared)
            content["files"] = sidecar.hashes(made, chosen.SIDES)
            content["compared"] = {"on": str(images or "validation images"), **asdict(compared)}
            _leave(model, made, file, chosen, content)
    except ModelError as error:
        raise ModelError(f"model {model.hash[:12]} ({model.made_by}): {error}") from error
    store.write(f"{FOLDER}/{content['files'][file.name]}.json", sidecar.written(content))
    return Exported(file, sidecar.place(file), sidecar.card_of(file), model.hash, compared)


def _check(model: Model, file: Path, chosen: ModuleType) -> None:
    """Faults that are known before any work."""
    if file.suffix != chosen.SUFFIX:
        raise InputError(f"{file}: a file of this format ends in {chosen.SUFFIX}; a folder is written {file}/")
    if not file.parent.is_dir():
        raise InputError(f"there is no folder {file.parent}; make it first")
    beside = [sidecar.place(file), *(file.with_suffix(side) for side in chosen.SIDES)]
    there = [one for one in (file, *beside) if one.exists()]
    card = sidecar.card_of(file)
    if card.exists() and card.read_bytes() != sidecar.card(model):
        there.append(card)
    if there:
        raise InputError(f"{there[0]} is there already; remove it, or name another --output")
    rule, _ = reading_of(model.manifest)
    if rule != Rule():
        raise InputError(
            f"model {model.hash[:12]} sees images by `fit: {rule.fit}`, `filter: {rule.filter}`, and an exported file "
            "can only stretch them, bilinear; train it on `fit: stretch`, or use `assay score`, which does the same"
        )
    if model.stochastic:
        raise InputError(f"model {model.hash[:12]} scores at random, so no file can be compared with it")


def _paths(model: Model, images: Path | None) -> list[Path]:
    """The files that are compared on: of the validation split, some of each class, or all of a folder."""
    if images is not None:
        return image_files(images)[0]
    dataset = model_folder.dataset_of(model.manifest["dataset"]["item"])
    samples = [sample for sample in dataset.samples if sample.split == "validation"]
    if not samples:
        raise DataError(f"{dataset.name} has no validation images; name a folder of images to compare on: --images")
    chosen = some_of_each(np.array([sample.label for sample in samples]), MOST)
    paths = [samples[place].path for place in chosen]
    if not paths[0].exists():
        raise DataError(
            f"{paths[0]} is not on this machine, so the exported file could not be compared with the detector; name a "
            "folder of such images: --images FOLDER"
        )
    return paths


def _threshold(model: Model, expected: Reference) -> float:
    """The threshold in the file.

    One that is a quantile is the score of a validation normal, which rounding could lift above it; half of what is
    taken for rounding keeps it below.
    """
    of_an_image = model.manifest["threshold"].get("source") == "validation normals"
    return model.threshold + expected.tolerance / 2 if of_an_image else model.threshold


def _about(
    model: Model,
    format: str,
    chosen: ModuleType,
    pipeline: Pipeline,
    threshold: float,
    verdict: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The sidecar, but for what is only known afterwards."""
    now = datetime.datetime.now(datetime.UTC)
    sweep = model.manifest.get("sweep") or {}
    name = f"{sweep['name']}:{sweep['trial']}" if "trial" in sweep else model.manifest.get("name", model.made_by)
    return {
        "kind": format,
        "model": model.hash,
        "name": str(name),
        "created": now.isoformat(timespec="seconds"),
        "threshold": model.threshold,
        "threshold_in_file": threshold,
        "input": {"name": INPUT, "type": "uint8", "layout": "B, C, H, W", "channels": model.manifest["channels"]},
        "outputs": list(pipeline.outputs),
        "higher_is": "anomalous",
        "verdict": dict(verdict) if verdict else None,
        **({"opset": chosen.OPSET} if chosen.OPSET else {}),
        "versions": chosen.versions(),
    }


def _metadata(content: Mapping[str, Any]) -> dict[str, str]:
    """What goes into the file itself."""
    verdict = content["verdict"]
    words = f"{verdict['verdict']} by audit {verdict['audit']}" if verdict else "not audited"
    about = {"model": content["model"], "name": content["name"], "threshold": repr(content["threshold_in_file"])}
    return {f"assay.{key}": value for key, value in {**about, "verdict": words}.items()}


def _require(compared: Parity) -> None:
    if not compared.equal:
        raise ModelError(
            f"its exported file does not agree with it, so none was left behind: on {compared.images} images scores "
            f"differ by up to {compared.largest_difference:.3g} (rounding: {compared.tolerance:.3g}), and "
            f"{compared.decisions_differ - compared.at_threshold} decisions"
        )


def _leave(model: Model, made: Path, file: Path, chosen: ModuleType, content: Mapping[str, Any]) -> None:
    """Move the finished files to their place; the file itself last, so that it is never there without the others."""
    sidecar.place(file).write_bytes(sidecar.written(content))
    sidecar.card_of(file).write_bytes(sidecar.card(model))
    for side in chosen.SIDES:
        made.with_suffix(side).replace(file.with_suffix(side))
    made.replace(file)
