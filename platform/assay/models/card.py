"""A card: a small YAML file about a detector that Assay did not train, so that it can be audited.

The detector comes from a function (`module:attribute`) or a file: an exported program (`.pt2`), an ONNX file (`.onnx`)
or an OpenVINO model (`.xml`). Importing it into a store writes an ordinary model folder.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Self, TypedDict

from pydantic import (
    BeforeValidator,
    FiniteFloat,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from assay import shelves
from assay.config import dataset_root, kinds, parameters
from assay.config.intended_use import Purpose
from assay.config.section import Section
from assay.config.validation import from_validation, shown
from assay.contracts import Plain, TrainingData
from assay.data import images, moved, splits
from assay.errors import Fault, InputError, ModelError, SpecError
from assay.interop.anomalib import ImageModel
from assay.metrics import detection
from assay.models import deployed_file, model_folder, outside_files, preflight, scoring
from assay.models.deployed_file import DeployedFile
from assay.models.outside_files import Files
from assay.models.trained_on import TrainedOn, also_trained_on
from assay.runtime.provenance import environment, own_code
from assay.shelves import Item, Shelf
from assay.store import references
from assay.store.store import Store
from assay.units import ImageSize, Rate, number

if TYPE_CHECKING:
    from torch import nn

YAML = (".yaml", ".yml")
STATED = ("name", "notes", "output", "precision", "trained_on", "anomalib")
"""Keys of a card that go into the manifest as they are."""
PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".joblib")
"""Endings of files that hold pickled objects."""
NO_FILES = Files(b"", {})
Precision = Literal["f32", "f16", "bf16", "default"]
"""`default`: whatever OpenVINO takes on the machine, which may be another one elsewhere."""
EXAMPLE = """
  detector: {detector}
  dataset: {{name: folder, root: images, normal: good, anomalous: [scratch, dent], image_size: 64, channels: 1}}
  threshold: {{false_alarm_rate: 0.05}}   # or a number: scores above it are flagged
  higher_is: anomalous                  # or normal: what the highest scores mean"""


class FalseAlarms(Section):
    """A threshold that flags this share of the normal validation images."""

    false_alarm_rate: Rate


class Card(Section):
    """A whole card.

    detector: `module:attribute`, or a file path relative to the card; optional if the command names the detector.
    threshold: a number on the detector's own scale, a rule for finding one, or `model` for that which an anomalib
    checkpoint brings along. image_size, channels: the detector's input, by default that of the dataset. input: `native`
    gives the images at their own size, for a detector that resizes them itself. output: which output is the score, if
    a file has several. precision: in which OpenVINO computes. stochastic: whether the same image gets a different score
    each time. trained_on: which of the dataset's images the detector was trained on. deployed: the file that is
    deployed in its place, to be compared with it. anomalib: the class of an anomalib checkpoint, with parameters that
    replace those in it.
    """

    detector: str | None = None
    dataset: Annotated[Item, Shelf("datasets")]
    threshold: Annotated[FiniteFloat, BeforeValidator(number)] | FalseAlarms | Literal["model"]
    image_size: ImageSize | None = None
    input: Literal["resized", "native"] = "resized"
    channels: Literal[1, 3] | None = None
    higher_is: Literal["anomalous", "normal"] = "anomalous"
    stochastic: bool = False
    output: str | None = None
    precision: Precision | None = None
    trained_on: TrainedOn | None = None
    deployed: DeployedFile | None = None
    anomalib: Annotated[Plain, ImageModel()] | None = None
    name: str | None = None
    notes: str | None = None
    purpose: Purpose = Purpose()

    @field_validator("detector")
    @classmethod
    def _is_there(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        try:
            if kind(value) == "factory":
                shelves.load("loaders", value)
        except InputError as error:
            raise ValueError(str(error)) from None
        if kind(value) != "factory" and not (path := Path(str(info.context), value)).is_file():
            raise ValueError(f"there is no file {path}; its path is relative to the card")
        return value

    @field_validator("deployed")
    @classmethod
    def _is_a_file(cls, value: DeployedFile | None, info: ValidationInfo) -> DeployedFile | None:
        if value is None:
            return None
        if Path(value.detector).suffix not in _endings():
            raise ValueError(f"must be a file that ends in {' or '.join(_endings())}")
        path = Path(str(info.context), value.detector)
        if not path.is_file():
            raise ValueError(f"there is no file {path}; its path is relative to the card")
        return value.model_copy(update={"detector": str(path)})

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The card in a YAML file; raises InputError for an unreadable one, SpecError with every fault."""
        values = dataset_root.located(kinds.load("card", path), path)
        try:
            return cls.model_validate(values, context=Path(path).parent)
        except ValidationError as error:
            raise SpecError(str(path), from_validation(error, cls, values)) from None

    @property
    def summary(self) -> str:
        """One line of text: `card of detector.pt2 (exported), images of dataset folder`."""
        detector = (
            f"of {self.detector} ({kind(self.detector)})" if self.detector else "for a detector that the command names"
        )
        return f"card {detector}, images of dataset {self.dataset.name}"


def kind(detector: str) -> str:
    """The loader of a detector from outside: by file suffix, or `factory` for `module:attribute`."""
    if loader := _endings().get(Path(detector).suffix):
        return loader
    if ":" in detector:
        return "factory"
    why = "; it may hold code, and is never loaded" if Path(detector).suffix in PICKLED else ""
    raise InputError(
        f"'{detector}' is not a detector{why}; write module:attribute, or a file that ends in {' or '.join(_endings())}"
    )


def names_detector(text: str) -> bool:
    """Whether `text` is for `bring`: a card, a detector file or `module:attribute`, not a model of the store."""
    _, colon, attribute = text.partition(":")
    return names_file(text) or (colon == ":" and not references.of_a_sweep(attribute))


def names_file(text: str) -> bool:
    """Whether `text` names a card or a detector file, or a file that is taken for one and is none."""
    return text.endswith((*YAML, *_endings(), *PICKLED))


def _endings() -> dict[str, str]:
    """File suffix -> the loader of such files."""
    loaders = {name: shelves.load("loaders", name) for name in shelves.names("loaders")}
    return {suffix: name for name, loader in loaders.items() if (suffix := shelves.stated(loader, "SUFFIX", None))}


class Origin(TypedDict):
    """What the manifest says about a detector from outside before it is loaded; the hashes of one in memory."""

    kind: str
    detector: str
    code_sha256: NotRequired[str]
    weights_sha256: NotRequired[str | None]


def bring(store: Store, source: str, card_file: str | None = None, device: str = "cpu") -> str:
    """Write the model folder of a detector from outside and return its hash, which is the same every time.

    source: a card, or a detector described by `card_file`, by default the YAML file beside it.
    The threshold and clean AUROC are measured on the validation split; test images are not used.
    Raises InputError or SpecError for the card, ModelError for a detector that cannot be loaded or audited, DataError.
    """
    detector, path = _named(source, card_file)
    card = Card.read(path)
    if detector is None:
        if card.detector is None:
            raise SpecError(str(path), [Fault("detector", "nothing", "is required, as the command names none")])
        detector = _beside(path, card.detector)
    elif card.detector is not None and _beside(path, card.detector) != detector:
        raise InputError(f"{path} is the card of {card.detector}, not of {source}; name the card for {source}")
    known = kind(detector)
    if known == "factory":
        return _write(store, card, str(path), {"kind": known, "detector": detector}, NO_FILES, device)
    about: Origin = {"kind": known, "detector": Path(detector).name}
    return _write(store, card, str(path), about, outside_files.read(Path(detector), known), device)


def bring_object(store: Store, detector: nn.Module, values: Mapping[str, Any], device: str = "cpu") -> str:
    """Write the model folder of a detector in memory and return its hash; the detector is copied, not changed.

    values: the fields of a card without `detector`. Only this process can load it again. Raises like `bring`.
    """
    from assay.models.loaders.memory import remember

    try:
        card = Card.model_validate(dict(values), context=Path())
    except ValidationError as error:
        raise SpecError("the detector's arguments", from_validation(error, Card, values)) from None
    try:
        frozen = model_folder.freeze(copy.deepcopy(detector))
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise ModelError(f"the detector cannot be copied ({error}); bring it as a file or as module:factory") from error
    about: Origin = {"kind": "memory", **remember(frozen)}
    return _write(store, card, "the detector's arguments", about, NO_FILES, device)


def _write(store: Store, card: Card, where: str, about: Origin, files: Files, device: str) -> str:
    """Check the detector on the validation split, write its folder and return its hash.

    where: the card's name in errors. about: the detector's kind, name and known hashes.
    """
    _check_keys(card, where, about["kind"])
    item, data, seen = _dataset(card, where)
    manifest = {
        **about,
        "higher_is": card.higher_is,
        "stochastic": card.stochastic,
        "channels": data.description["channels"],
        "image_size": data.description["image_size"],
        "dataset": {"item": parameters.resolved(item), **data.description},
        "environment": environment(),
        **{key: value for key in STATED if (value := getattr(card, key)) is not None},
        **({"input": card.input} if card.input == "native" else {}),
        **card.purpose.stated(),
    }
    detector = about["detector"]
    built = model_folder.build(detector, manifest, *files).to(device)
    manifest |= getattr(built, "runs", {})
    preflight.inspect(built, data.validation, None, device)
    scores = scoring.clean_scores(built, data.validation, device)
    manifest["threshold"] = _threshold(card, where, built, data.validation.labels, scores)
    if seen is not None:
        manifest["threshold"]["also_trained_on"] = seen
    manifest["normal_scores"] = scoring.normal_scores(data.validation.labels, scores)
    manifest["figures"] = {"split": "validation", "clean_auroc": detection.auroc(data.validation.labels, scores)}
    if files.content:
        manifest |= model_folder.hashes(*files)
    elif about["kind"] == "factory":
        from assay.models.loaders._outside import weights_hash

        manifest |= {"code_sha256": own_code(detector), "weights_sha256": weights_hash(built)}
        model_folder.build(detector, manifest, *files)  # built again: it must give the same weights each time
    more: dict[str, bytes] = {}
    if card.deployed is not None:
        known = kind(card.deployed.detector)
        _check_keys(card.deployed, where, known, "deployed.")
        its_files = outside_files.read(Path(card.deployed.detector), known)
        manifest["deployed"] = deployed_file.describe(
            card.deployed, known, its_files, manifest, data.validation, device
        )
        more = deployed_file.content(manifest["deployed"], its_files)
    return _same(store, manifest) or model_folder.write_folder(store, manifest, *files, more)


def _check_keys(card: Card | DeployedFile, where: str, kind: str, prefix: str = "") -> None:
    """Raise SpecError for keys that say how a file is run, where this kind of detector is run otherwise."""
    of_files = {"output": ("onnx", "openvino", "exported"), "precision": ("openvino",), "anomalib": ("anomalib",)}
    faults = [
        Fault(prefix + key, shown(value), f"a key for detectors of the kind {' or '.join(kinds)}; this is {kind}")
        for key, kinds in of_files.items()
        if (value := getattr(card, key, None)) is not None and kind not in kinds
    ]
    if faults:
        raise SpecError(where, faults)


def _same(store: Store, manifest: Mapping[str, Any]) -> str | None:
    """A model imported earlier that differs only in its environment, as after an update of Assay."""
    mine = {**manifest, "format": model_folder.FORMAT, "environment": None}
    for name in store.names("models"):
        key = f"models/{name}/manifest.json"
        if store.exists(key) and {**store.read_json(key), "environment": None} == mine:
            return name
    return None


def _named(source: str, card_file: str | None) -> tuple[str | None, Path]:
    """The detector named by the command, if any, and the card."""
    if source.endswith(YAML):
        if card_file is not None and Path(card_file) != Path(source):
            raise InputError(f"two cards, {source} and {card_file}; name one, or a detector and one")
        return None, Path(source)
    if kind(source) == "factory":
        detector, beside = source, Path(f"{source.partition(':')[0].rpartition('.')[2]}.yaml")
        hint = f"write one, such as {beside}, and name it: assay audit {beside}"
    else:
        detector, beside = str(Path(source).resolve()), Path(source).with_suffix(".yaml")
        if not Path(source).is_file():
            raise InputError(f"there is no file {source}")
        hint = f"write it beside, as {beside}"
        if card_file is None and beside.is_file():
            return detector, beside
    if card_file is None:
        example = EXAMPLE.format(detector=source if kind(source) == "factory" else Path(source).name)
        raise InputError(f"{source} has no card, which says what it is audited on; {hint}:\n{example}")
    return detector, Path(card_file)


def _beside(card: Path, detector: str) -> str:
    """A detector as named by a card, with its path resolved."""
    return detector if kind(detector) == "factory" else str((card.parent / detector).resolve())


def _dataset(card: Card, where: str) -> tuple[Item, TrainingData, int | None]:
    """The dataset at the detector's size, its train and validation split, and how many normals of the latter were seen.

    The last is None where the card does not say what the detector was trained on.
    """
    wanted = {key: value for key in ("image_size", "channels") if (value := getattr(card, key)) is not None}
    if card.input == "native":
        if sizes := [value for value in (card.image_size, card.dataset.parameters.get("image_size")) if value]:
            allowed = "the size of the files themselves, as `input: native` asks for: leave image_size out, or input"
            raise SpecError(where, [Fault("image_size", shown(sizes[0]), allowed)])
        wanted["image_size"] = "native"
    known = shelves.fields(card.dataset.function)
    given = {**{key: value for key, value in wanted.items() if key in known}, **card.dataset.parameters}
    item = Item("datasets", card.dataset.name, given)
    dataset = moved.again(item.name, item.function, item.arguments(), stored=False)
    data = splits.training_data(dataset)
    gives = {"image_size": data.description["image_size"], "channels": data.description["channels"]}
    faults = [
        Fault(key, shown(value), f"the dataset gives {gives[key]}; both must be the same")
        for key, value in wanted.items()
        if value != "native" and _sides(gives[key]) != _sides(value)
    ]
    if faults:
        raise SpecError(where, faults)
    return item, data, also_trained_on(card.trained_on or "unknown", dataset, data.validation, where)


def _sides(value: int | Sequence[int]) -> tuple[int, int]:
    return images.height_and_width(value)


def _threshold(card: Card, where: str, detector: nn.Module, labels: Any, scores: Any) -> scoring.Threshold:
    """The threshold as in a trial's manifest, on the scale where higher is more anomalous."""
    if isinstance(card.threshold, FalseAlarms):
        return scoring.threshold_of(labels, scores, card.threshold.false_alarm_rate)
    stated = _own_threshold(detector, where) if card.threshold == "model" else card.threshold
    value = -stated if card.higher_is == "normal" else stated
    return {
        "value": value,
        "false_alarm_rate": detection.false_alarm_rate(labels, scores, value),
        "source": f"the {'model' if card.threshold == 'model' else 'card'}; its false alarms on validation normals",
        "count": int((labels == 0).sum()),
    }


def _own_threshold(detector: nn.Module, where: str) -> float:
    """The threshold that a detector brings along, on its own scale."""
    value: float | None = getattr(detector, "threshold", None)
    if value is None:
        allowed = "this detector brings none, as after training without validation; write a number or false_alarm_rate"
        raise SpecError(where, [Fault("threshold", "model", allowed)])
    return value
