"""OpenVINO's intermediate representation, `.xml` and `.bin`, made of the ONNX file. Needs both extras."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.export import ExportedProgram

from assay.deploy.formats import onnx
from assay.errors import InputError, ModelError
from assay.runtime.provenance import version

SUFFIX = ".xml"
SIDES = (".bin",)
PRECISION = "f32"
"""Of the comparison. OpenVINO may take bfloat16 where the processor can, which moves scores."""
OPSET = onnx.OPSET


def write(graph: ExportedProgram, path: Path, outputs: tuple[str, ...], about: Mapping[str, str]) -> None:
    """Write the graph with its metadata and with weights as they are; raises as the format `onnx` does."""
    try:
        import openvino
    except ImportError as error:
        raise InputError("exporting to OpenVINO needs it installed: pip install 'assay[onnx,openvino]'") from error
    with tempfile.TemporaryDirectory(prefix="assay-") as scratch:
        whole = Path(scratch) / "whole.onnx"
        onnx.write(graph, whole, outputs, about)
        try:
            model = openvino.convert_model(whole)
        except Exception as error:  # OpenVINO has no common error class
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"cannot be exported to OpenVINO {openvino.__version__}: {reason}") from error
        for key, value in about.items():
            model.set_rt_info(value, key.split("."))
        openvino.save_model(model, path, compress_to_fp16=False)


def reader(path: Path) -> Callable[[NDArray[np.uint8]], list[NDArray[Any]]]:
    """Images (B, C, H, W) -> the file's outputs, by OpenVINO on the CPU in float32."""
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": PRECISION})

    def run(images: NDArray[np.uint8]) -> list[NDArray[Any]]:
        answer = compiled([images])
        return [np.array(answer[place]) for place in range(len(compiled.outputs))]

    return run


def versions() -> dict[str, str | None]:
    """What wrote the file and what ran it."""
    return {**onnx.versions(), "openvino": version("openvino")}
