"""ONNX: one file for ONNX Runtime and whatever else reads it. Needs the extra `onnx`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram

from assay.deploy.pipeline import INPUT
from assay.deploy.program import operation
from assay.errors import InputError, ModelError
from assay.runtime.provenance import version

SUFFIX = ".onnx"
SIDES: tuple[str, ...] = ()
OPSET: int | None = 18
"""Version of ONNX's operators: the oldest that has all of a pipeline, so that older runtimes read the file, too."""
CDIST = torch.ops.aten.cdist.default
AXES = {0: "batch", 2: "height", 3: "width"}


def write(graph: ExportedProgram, path: Path, outputs: tuple[str, ...], about: Mapping[str, str]) -> None:
    """Write the graph as one file with its metadata; raises ModelError naming an operator that ONNX has none for."""
    try:
        import onnx
        import onnxscript as _  # noqa: F401 - torch's exporter is made of it
    except ImportError as error:
        raise InputError("exporting to ONNX needs packages that are missing: pip install 'assay[onnx]'") from error
    try:
        with _quietly():
            if any(node.target == CDIST for node in graph.graph.nodes):
                graph = graph.run_decompositions({CDIST: _distances})
            made = torch.onnx.export(
                graph, (), dynamo=True, verbose=False, opset_version=OPSET, external_data=False, input_names=[INPUT],
                output_names=list(outputs), dynamic_shapes=(AXES,), optimize=True,
            )  # fmt: skip
    except Exception as error:  # torch has one class of error for each of its steps
        raise ModelError(f"cannot be exported to ONNX: {operation(error)}") from error
    assert made is not None
    model = made.model_proto
    onnx.helper.set_model_props(model, dict(about))
    path.write_bytes(model.SerializeToString())


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter says about itself, and about libraries that are not installed."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.setLevel(level)


def reader(path: Path) -> Callable[[NDArray[np.uint8]], list[NDArray[Any]]]:
    """Images (B, C, H, W) -> the file's outputs, by ONNX Runtime as anyone would start it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: list(session.run(None, {INPUT: images}))


def versions() -> dict[str, str | None]:
    """What wrote the file and what ran it."""
    return {name: version(name) for name in ("torch", "onnxscript", "onnx", "onnxruntime")}


def _distances(one: Tensor, other: Tensor, p: float = 2.0, compute_mode: int | None = None) -> Tensor:
    """`torch.cdist` of (B, F) and (M, F) without a matrix product, which rounds badly; ONNX has no such operator."""
    assert p == 2.0, "detectors use Euclidean distances alone"
    return (one.unsqueeze(-2) - other.unsqueeze(-3)).square().sum(dim=-1).sqrt()
