"""A detector as an OpenVINO model, `.xml` and `.bin`: a black box on the CPU. Needs the extra `openvino`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from assay.errors import ModelError
from assay.models.loaders._openvino_file import check_read, vet
from assay.models.loaders._outside import Outside
from assay.models.loaders._signature import Port, signature

FILE, SUFFIX = "detector.xml", ".xml"
WEIGHTS = "weights.bin"
EXPORT = 'openvino.save_model(openvino.convert_model(detector, input=[-1, C, H, W]), "detector.xml", False)'
TYPES = {"f16": "float16", "f32": "float32", "f64": "float64", "bf16": "bfloat16", "u8": "uint8", "boolean": "bool"}
"""OpenVINO's names of types -> numpy's."""
PLACE = re.compile(r"\S+\.(?:cpp|hpp):\d+:\s*")
"""In OpenVINO's messages, which hold one for each level of its source."""
NO_GRADIENT = "OpenVINO gives scores alone; for a white box, bring the model it was converted from"
PRECISION = "f32"
"""By default: OpenVINO may take bfloat16 where the processor can, which moves scores by half a standard deviation."""


def beside(content: bytes, name: str) -> dict[str, str]:
    """The `.bin` with the weights has the name of the `.xml`."""
    return {WEIGHTS: Path(name).with_suffix(".bin").name}


SIDES = beside


def openvino(manifest: Mapping[str, Any], content: bytes, sides: Mapping[str, bytes] | None = None) -> nn.Module:
    """The detector of an OpenVINO model with one input, the images, and an output of one number for each.

    How it takes images (type, layout, how many at a time) and which output is the score: loaders._signature. The
    manifest's `precision` is that of OpenVINO's hint, by default float32. Raises ModelError if OpenVINO is not
    installed or cannot read the files, if they are refused (loaders._openvino_file), or if input or outputs do not fit.
    """
    try:
        import openvino as runtime
    except ImportError as error:
        raise ModelError("needs OpenVINO, which is not installed: pip install 'assay[openvino]'") from error

    vet(content)
    weights = (sides or {}).get(WEIGHTS)
    if weights is None:
        raise ModelError("lacks its weights; bring it together with the .bin that was written with it")
    precision = manifest.get("precision") or PRECISION
    try:
        model = runtime.Core().read_model(content, weights)
    except Exception as error:  # OpenVINO has no common error class
        raise ModelError(f"cannot be read by OpenVINO {runtime.__version__}: {_reason(error)}") from error
    check_read(model, len(content) + len(weights))
    outputs = [_port(one, f"output {place}") for place, one in enumerate(model.outputs)]
    inputs = [_port(one, f"input {place}") for place, one in enumerate(model.inputs)]
    wanted = signature(inputs, outputs, manifest, EXPORT)
    score = [port.name for port in outputs].index(wanted.output)
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}  # fixes the order of sums; workers are processes
    hint = {} if precision == "default" else {"INFERENCE_PRECISION_HINT": precision}
    try:
        compiled = runtime.Core().compile_model(model, "CPU", options | hint)
    except Exception as error:
        raise ModelError(f"cannot be compiled by OpenVINO {runtime.__version__}: {_reason(error)}") from error

    def run(batch: NDArray[Any]) -> NDArray[Any]:
        try:
            answer: NDArray[Any] = compiled([batch])[score]
        except Exception as error:
            raise ModelError(f"cannot be run by OpenVINO: {_reason(error)}") from error
        return np.array(answer)

    runs = {"output": wanted.output, "precision": precision}
    return Outside(lambda images: wanted.scores(images, run), manifest["higher_is"], runs, NO_GRADIENT)


def _port(one: Any, name: str) -> Port:
    """An input or output as OpenVINO describes it, by the first of its names; name: of one that has none."""
    shape = one.get_partial_shape()
    sizes = None if shape.rank.is_dynamic else tuple(None if n.is_dynamic else n.get_length() for n in shape)
    kind = one.get_element_type().get_type_name()
    return Port(min(one.get_names(), default=name), TYPES.get(kind, kind), sizes)


def _reason(error: Exception) -> str:
    """What OpenVINO says last, without the places in its source."""
    return PLACE.split(" ".join(str(error).split()))[-1][-200:]
