"""Checks an OpenVINO model before and after OpenVINO reads it: it must terminate, need no extension, and stay small.

The `.xml` names every operator and where its weights lie in the `.bin`; OpenVINO refuses weights beyond its end. Not
bounded are tensors whose size follows from the values of an image: OpenVINO has no limit of memory to set.
"""

from __future__ import annotations

import math
import re
from typing import Any

from assay.errors import ModelError

XML_BYTES = 2**26
ELEMENTS = 2**26
"""Most elements of a tensor whose size only the file determines, or four per byte of the file if that is more."""
LAYERS = 100_000
ENDLESS = ("Loop", "TensorIterator")
LAYER = re.compile(rb"<layer\b([^>]*)>")
ATTRIBUTE = re.compile(rb"\b(type|version)\s*=\s*[\"']([^\"']*)[\"']")
KNOWN = re.compile(r"opset\d+")


def vet(xml: bytes) -> None:
    """Raises ModelError for a file that is refused; one that is no model is left to OpenVINO's own error."""
    if len(xml) > XML_BYTES:
        raise ModelError(f"has {len(xml) >> 20} MB of XML; at most {XML_BYTES >> 20} are read: weights are in the .bin")
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml or b"\0" in xml:
        raise ModelError("declares entities or is not UTF-8, as no model does that OpenVINO writes; convert it again")
    layers = [
        {key.decode(): value.decode(errors="replace") for key, value in ATTRIBUTE.findall(attributes)}
        for attributes in LAYER.findall(xml)
    ]
    if len(layers) > LAYERS:
        raise ModelError(f"has {len(layers)} operators; at most {LAYERS} are allowed")
    for layer in layers:
        check_operator(layer.get("type", ""), layer.get("version", ""))


def check_operator(kind: str, version: str) -> None:
    """Raises ModelError for an operator that may never end, or is none of OpenVINO's own."""
    if kind in ENDLESS:
        raise ModelError(f"holds a {kind}, which may never end; convert the detector without loops")
    if not KNOWN.fullmatch(version):
        raise ModelError(
            f"calls '{kind[:60]}' of '{version[:60]}'; only OpenVINO's own operators (opset1 and later) are run, no "
            "extensions"
        )


def check_read(model: Any, size: int) -> None:
    """The operators and sizes of a model as OpenVINO understood it; size: bytes of its files."""
    most = max(ELEMENTS, 4 * size)
    for operator in model.get_ops():
        info = operator.get_type_info()
        check_operator(info.name, info.version_id)
        for output in operator.outputs():
            shape = output.get_partial_shape()
            known = [] if shape.rank.is_dynamic else [side.get_length() for side in shape if not side.is_dynamic]
            if (elements := math.prod(known)) > most:
                name = operator.get_friendly_name()[:60]
                raise ModelError(f"makes '{name}' of {elements:.3g} elements; the limit is {most:.3g}")
