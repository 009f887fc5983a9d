"""PyTorch's exported program: operators without the detector's code, for whoever runs PyTorch or compiles it ahead."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from assay.runtime.provenance import version

SUFFIX = ".pt2"
SIDES: tuple[str, ...] = ()
ABOUT = "assay.json"
"""The file in the archive that holds the metadata."""
OPSET: int | None = None


def write(graph: ExportedProgram, path: Path, outputs: tuple[str, ...], about: Mapping[str, str]) -> None:
    """Write the graph with its metadata; its outputs have an order instead of names."""
    torch.export.save(graph, path, extra_files={ABOUT: json.dumps({**about, "outputs": ", ".join(outputs)})})


def reader(path: Path) -> Callable[[NDArray[np.uint8]], list[NDArray[Any]]]:
    """Images (B, C, H, W) -> the file's outputs; the file was written here, so it is loaded as it is."""
    program = torch.export.load(path).module()

    def run(images: NDArray[np.uint8]) -> list[NDArray[Any]]:
        with torch.no_grad():
            return [output.numpy() for output in program(torch.from_numpy(images))]

    return run


def versions() -> dict[str, str | None]:
    """What wrote the file and ran it."""
    return {"torch": version("torch")}
