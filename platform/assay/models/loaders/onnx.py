"""A detector as an ONNX file: a black box, as ONNX Runtime gives scores but no gradients. Needs the extra `onnx`."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from assay.errors import ModelError
from assay.models.loaders._onnx_file import vet
from assay.models.loaders._outside import Outside

FILE, SUFFIX = "detector.onnx", ".onnx"
EXPORT = (
    'torch.onnx.export(detector, (images,), FILE, dynamo=True, dynamic_shapes=({0: "batch"},), external_data=False)'
)

NO_MEMORY = "Available memory of"
"""ONNX Runtime's message when a tensor does not fit into its limited memory."""


def onnx(manifest: Mapping[str, Any], content: bytes) -> nn.Module:
    """The detector of an ONNX file with one input, images (B, C, H, W) float32 of any B, and one output, scores (B,).

    Raises ModelError if ONNX Runtime is not installed or cannot read the file, or if its input or output differ.
    """
    try:
        import onnx as _  # noqa: F401 - the format, used to check the file first
        import onnxruntime
    except ImportError as error:
        raise ModelError("needs ONNX Runtime, which is not installed: pip install 'assay[onnx]'") from error

    vet(content)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # fixes the order of sums; workers are processes
    options.log_severity_level = 4  # its errors are also raised
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.add_session_config_entry("session.use_env_allocators", "1")
    _bound_memory()
    try:
        session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], disabled_optimizers=["ConstantFolding"]
        )  # folding would create constants of any size outside the limited memory
    except Exception as error:  # ONNX Runtime has no common error class
        why = " ".join(str(error).split())[:200]
        raise ModelError(
            f"cannot be read by ONNX Runtime (it must be one file): {why}; export it with {EXPORT}"
        ) from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(f"has {len(inputs)} inputs and {len(outputs)} outputs; must have one of each: images, scores")
    if inputs[0].type != "tensor(float)":
        raise ModelError(f"takes {inputs[0].type}; must take float32 images in [0, 1]")
    _check_shape(inputs[0].shape, manifest)

    def run(images: Tensor) -> Tensor:
        try:
            (scores,) = session.run(None, {inputs[0].name: images.detach().cpu().numpy()})
        except Exception as error:
            why = " ".join(str(error).split())[-200:]
            if NO_MEMORY in why:
                raise MemoryError(why) from error  # fewer images at a time may fit
            raise ModelError(f"cannot be run by ONNX Runtime: {why}") from error
        return torch.from_numpy(scores).to(images.device)

    return Outside(run, manifest["higher_is"])


@functools.cache  # set once per process
def _bound_memory() -> None:
    """Limit all tensors of this process's ONNX detectors together to half of the machine's memory."""
    import onnxruntime

    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    kind, memory = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    place = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, memory)
    onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg({"max_mem": half}))


def _check_shape(shape: list[Any], manifest: Mapping[str, Any]) -> None:
    """Sizes given as numbers are fixed; those given as names are free."""
    size = manifest["image_size"]
    if len(shape) != 4:
        raise ModelError(f"takes an input of {len(shape)} dimensions; must take images (B, C, H, W)")
    if isinstance(shape[0], int):
        raise ModelError(f"takes {shape[0]} images at a time and no other number; export it with {EXPORT}")
    wanted = (manifest["channels"], size, size)
    if any(isinstance(have, int) and have != want for have, want in zip(shape[1:], wanted, strict=True)):
        raise ModelError(f"takes images {tuple(shape[1:])} (C, H, W); those of the dataset are {wanted}")
