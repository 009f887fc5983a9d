"""A detector as an ONNX file: a black box, as ONNX Runtime gives scores but no gradients. Needs the extra `onnx`."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from torch import nn

from assay.errors import ModelError
from assay.models.loaders._onnx_file import vet
from assay.models.loaders._onnx_weights import inlined, side_files
from assay.models.loaders._outside import Outside
from assay.models.loaders._signature import Port, signature
from assay.runtime import allowance

FILE, SUFFIX, SIDES = "detector.onnx", ".onnx", side_files
EXPORT = (
    'torch.onnx.export(detector, (images,), FILE, dynamo=True, dynamic_shapes=({0: "batch"},), external_data=False)'
)

NO_GRADIENT = "ONNX Runtime gives scores alone; for a white box, bring the model it was exported from"
NO_MEMORY = "Available memory of"
"""ONNX Runtime's message when a tensor does not fit into its limited memory."""


TYPES = {"float": "float32", "double": "float64"}
"""ONNX Runtime's names of types that numpy calls otherwise."""


def onnx(manifest: Mapping[str, Any], content: bytes, sides: Mapping[str, bytes] | None = None) -> nn.Module:
    """The detector of an ONNX file with one input, the images, and an output of one number for each.

    How it takes images (type, layout, how many at a time) and which output is the score: loaders._signature. sides: the
    files that hold its weights, if there are any. Raises ModelError if ONNX Runtime is not installed or cannot read the
    file, if weights are missing, or if its inputs or outputs do not fit.
    """
    try:
        import onnx as _  # noqa: F401 - the format, used to check the file first
        import onnxruntime
    except ImportError as error:
        raise ModelError("needs ONNX Runtime, which is not installed: pip install 'assay[onnx]'") from error

    whole = inlined(content, sides or {})
    vet(whole)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # fixes the order of sums; workers are processes
    options.log_severity_level = 4  # its errors are also raised
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.add_session_config_entry("session.use_env_allocators", "1")
    _bound_memory()
    try:
        session = onnxruntime.InferenceSession(
            whole, options, providers=["CPUExecutionProvider"], disabled_optimizers=["ConstantFolding"]
        )  # folding would create constants of any size outside the limited memory
    except Exception as error:  # ONNX Runtime has no common error class
        why = " ".join(str(error).split())[:200]
        raise ModelError(f"cannot be read by ONNX Runtime: {why}; export it with {EXPORT}") from error
    inputs, outputs = map(_port, session.get_inputs()), map(_port, session.get_outputs())
    wanted = signature(list(inputs), list(outputs), manifest, EXPORT)

    def run(batch: NDArray[Any]) -> NDArray[Any]:
        try:
            (answer,) = session.run([wanted.output], {wanted.input: batch})
        except Exception as error:
            why = " ".join(str(error).split())[-200:]
            if NO_MEMORY in why:
                raise MemoryError(why) from error  # fewer images at a time may fit
            raise ModelError(f"cannot be run by ONNX Runtime: {why}") from error
        scores: NDArray[Any] = answer
        return scores

    return Outside(
        lambda images: wanted.scores(images, run), manifest["higher_is"], {"output": wanted.output}, NO_GRADIENT
    )


def _port(one: Any) -> Port:
    """An input or output as ONNX Runtime describes it: `tensor(float16)`, sizes as numbers or names."""
    kind = str(one.type).removeprefix("tensor(").removesuffix(")") if "tensor(" in one.type else str(one.type)
    return Port(one.name, TYPES.get(kind, kind), tuple(n if isinstance(n, int) else None for n in one.shape))


@functools.cache  # set once per process
def _bound_memory() -> None:
    """Limit all tensors of this process's ONNX detectors together to half of the machine's memory."""
    import onnxruntime

    half = allowance.memory() // 2
    kind, memory = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    place = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, memory)
    onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg({"max_mem": half}))
