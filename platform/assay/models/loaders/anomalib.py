"""A Lightning checkpoint (`.ckpt`) of an anomalib image model: a white box with its own threshold. Needs `anomalib`.

The checkpoint is read weights-only: tensors, numbers, text and anomalib's own enumerations. Anything else in it is
refused before it is made, and nothing of it is run. The class comes from the installed anomalib.
"""

from __future__ import annotations

import inspect
import io
import pickle
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from torch import nn

from assay.contracts import Plain
from assay.errors import InputError, ModelError
from assay.interop import anomalib as models
from assay.interop import anomalib_detector
from assay.models.loaders._outside import Outside
from assay.runtime.provenance import version

if TYPE_CHECKING:
    from anomalib.models import AnomalibModule

FILE, SUFFIX = "model.ckpt", ".ckpt"
COMPONENTS = "anomalib_components_enabled"
"""The key that anomalib writes from 2.7 on, with the configuration of its pre- and post-processing."""
UNUSED = ("evaluator.", "visualizer.")
SHOWN = 2  # names of weights in a message
MISMATCH = re.compile(r"size mismatch for (\S+):")


def anomalib(manifest: Mapping[str, Any], content: bytes) -> nn.Module:
    """The detector of a checkpoint: images (B, C, H, W) at any size -> its raw score (B,).

    manifest: `anomalib` names the class and parameters that replace the checkpoint's; without it, the class follows
    from the parameters in the checkpoint where only one has them. Raises ModelError if anomalib is missing or of
    another version than the model was made with, if the file is no checkpoint of it or holds code, or if the class does
    not exist or has other weights.
    """
    _check_version(manifest)
    try:
        known = models.names()
    except InputError as error:
        raise ModelError(f"cannot be loaded: {error}") from error
    checkpoint = _read(content, known)
    given = dict(manifest.get("anomalib") or {})
    own = {key: value for key, value in checkpoint.get("hyper_parameters", {}).items() if not key.startswith("_")}
    try:
        model = models.model_class(given.pop("name")) if given else _class_of(own, known)
        module = _built(model, {**own, **given}, checkpoint)
    except (InputError, ValidationError, TypeError, ValueError) as error:
        raise ModelError(f"cannot be rebuilt: {' '.join(str(error).split())[:500]}") from error
    runs = {"anomalib_version": version("anomalib"), "anomalib_model": model.__name__}
    return Outside(anomalib_detector.detector(module), manifest["higher_is"], runs)


def _check_version(manifest: Mapping[str, Any]) -> None:
    made, here = manifest.get("anomalib_version"), version("anomalib")
    if made and here and made != here:
        raise ModelError(
            f"was brought with anomalib {made}, and {here} is installed, which may score otherwise: "
            f"pip install 'anomalib=={made}', or name its card again to make a model of it under {here}"
        )


def _read(content: bytes, known: Mapping[str, type[AnomalibModule]]) -> Plain:
    """The checkpoint as plain values and tensors, on the CPU."""
    from anomalib.utils.serialization import anomalib_safe_globals

    try:
        with anomalib_safe_globals(extra=[one for model in known.values() for one in model.checkpoint_safe_globals()]):
            checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"is refused: it holds more than weights, numbers and text ({_refused(str(error))}). Checkpoints of "
            "anomalib before 2.7 hold objects, and so may one that runs code: open it with the version that wrote it, "
            "if you trust it, and save or train it again with the installed one"
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"is no checkpoint that torch can read: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise ModelError(
            "is no checkpoint of Lightning (it has no state_dict); bring the .ckpt that anomalib's Engine wrote"
        )
    if COMPONENTS not in checkpoint:
        raise ModelError(
            f"is of another version of anomalib, or of another library: it lacks {COMPONENTS}, which says how images "
            f"are prepared, and which anomalib writes from 2.7 on (installed: {version('anomalib')}). Open it with "
            "the version that wrote it and export it as ONNX, or train it again"
        )
    return checkpoint


def _refused(message: str) -> str:
    """The name that torch refused, out of its long message."""
    _, found, name = message.partition("GLOBAL ")
    return name.split()[0] if found else " ".join(message.split())[-160:]


def _class_of(own: Mapping[str, Any], known: Mapping[str, type[AnomalibModule]]) -> type[AnomalibModule]:
    """The only class whose constructor has exactly these parameters."""
    fitting = [
        name
        for name, model in known.items()
        if set(own) == set(inspect.signature(model.__init__).parameters) - {"self", *models.COMPONENTS}
    ]
    if len(fitting) != 1:
        found = f"{', '.join(fitting)} have" if fitting else "none has"
        raise InputError(
            f"a checkpoint does not name its class, and {found} its parameters ({', '.join(own) or 'none'}); write "
            f"`anomalib: NAME` into the card, NAME one of: {', '.join(known)}"
        )
    return known[fitting[0]]


def _built(model: type[AnomalibModule], values: Mapping[str, Any], checkpoint: Plain) -> AnomalibModule:
    from anomalib.pre_processing import PreProcessor

    before = PreProcessor()
    if checkpoint[COMPONENTS].get("pre_processor"):
        before.load_checkpoint_config(checkpoint.get("anomalib_pre_processor_config", {}))
    with torch.random.fork_rng(devices=[]):  # constructors draw weights that are replaced
        module = anomalib_detector.untrained(model, values, before.transform)
    module.on_load_checkpoint(checkpoint)
    weights = {name: value for name, value in checkpoint["state_dict"].items() if not name.startswith(UNUSED)}
    wrong: list[str] = []
    try:
        lacking, surplus = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # raised for tensors of other shapes, with a line for each
        lacking, surplus = [], []
        wrong = MISMATCH.findall(str(error)) or [" ".join(str(error).split())[:200]]
    differ = _some("lacks", lacking), _some("has also", surplus), _some("has other shapes of", wrong)
    if any(differ):
        raise ValueError(
            f"its weights are not those of {model.__name__} {values or ''} in anomalib {version('anomalib')}; name its "
            "class and parameters in the card, or install the version that trained it. The file "
            f"{', '.join(filter(None, differ))}"
        )
    return module


def _some(what: str, weights: list[str]) -> str:
    more = f" and {len(weights) - SHOWN} more" if len(weights) > SHOWN else ""
    return f"{what} {', '.join(weights[:SHOWN])}{more}" if weights else ""
