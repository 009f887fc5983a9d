"""A detector given as a Python object: it lives as long as the process, and its folder contains no weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from torch import nn

from assay.errors import ModelError
from assay.hashing import digest
from assay.models.loaders._outside import Outside, weights_hash

FILE = None

_DETECTORS: dict[tuple[str, str | None], nn.Module] = {}
"""(description, hash of its weights) -> the detector, frozen."""


class Remembered(TypedDict):
    """What the manifest says about a detector in memory; a hash of its description, and of its weights if any."""

    detector: str
    code_sha256: str
    weights_sha256: str | None


def remember(detector: nn.Module) -> Remembered:
    """Keep a detector for this process and return what its manifest says about it."""
    kind = type(detector)
    what = f"{kind.__module__}.{kind.__qualname__}"
    code, weights = digest(repr(detector).encode()), weights_hash(detector)
    _DETECTORS[code, weights] = detector
    return {"detector": what, "code_sha256": code, "weights_sha256": weights}


def memory(manifest: Mapping[str, Any], content: bytes) -> nn.Module:
    """The detector as given; raises ModelError in any process other than the one it was given to."""
    detector = _DETECTORS.get((manifest["code_sha256"], manifest["weights_sha256"]))
    if detector is None:
        raise ModelError(
            "was an object in the memory of a process that has ended; give it to assay.audit again, or bring it as a "
            "file (.pt2, .onnx) or as module:factory with a card"
        )
    return Outside(detector, manifest["higher_is"])
