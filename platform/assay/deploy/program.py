"""A pipeline as a graph of tensor operators, from which every format is made; says which operation has no such form."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from assay.deploy.pipeline import Pipeline
from assay.errors import ModelError

BATCH = 2
"""Images of the example: 1 would be taken for the only number there is."""
TORCH = Path(torch.__file__).parent
OPERATOR = re.compile(r"OpOverload\(op='(\w+\.\w+)'|aten::(\w+)")


def graph(pipeline: Pipeline, channels: int) -> ExportedProgram:
    """The pipeline for any number of images of any height and width.

    Raises ModelError naming the operation that has no such form.
    """
    height, width = pipeline.resize.height, pipeline.resize.width
    example = torch.zeros(BATCH, channels, 2 * height + 1, 2 * width + 3, dtype=torch.uint8)
    free = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    try:
        with torch.no_grad():
            return torch.export.export(pipeline, (example,), dynamic_shapes=(free,))
    except Exception as error:  # it runs the detector's code, which may raise anything
        raise ModelError(f"cannot be exported: {operation(error)}") from error


def operation(error: BaseException) -> str:
    """Which operation of the detector an exporter could not take, in one line: its source, or the operator's name."""
    if found := OPERATOR.search(str(error)):
        return f"the format has no operator for {found[1] or found[2]}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not _of_exporter(Path(frame.filename))]
    reason = " ".join(str(error).split())[:150]
    if not own:
        return reason
    place = f"{Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name}"
    code = str(own[-1].line).partition("  #")[0]
    return f"`{code}` ({place}) has no form as tensor operators: {reason}"


def _of_exporter(file: Path) -> bool:
    return file.is_relative_to(TORCH) or file.is_relative_to(Path(__file__).parent) or not file.is_file()
