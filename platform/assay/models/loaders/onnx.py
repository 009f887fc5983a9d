"""A detector as an ONNX file: a black box, for ONNX Runtime tells scores and no gradients. Needs the extra `onnx`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from assay.errors import ModelError
from assay.models.loaders._outside import Outside

FILE, SUFFIX = "detector.onnx", ".onnx"
EXPORT = (
    'torch.onnx.export(detector, (images,), FILE, dynamo=True, dynamic_shapes=({0: "batch"},), external_data=False)'
)


def onnx(manifest: Mapping[str, Any], content: bytes) -> nn.Module:
    """The detector of an ONNX file of one input, images (B, C, H, W) float32 of any B, and one output, scores (B,).

    Raises ModelError where ONNX Runtime is not installed, cannot read the file, or finds another input or output.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError("needs ONNX Runtime, which is not installed: pip install 'assay[onnx]'") from error

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # sums then have one order; workers are processes
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no error class of its own that covers them all
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
        (scores,) = session.run(None, {inputs[0].name: images.detach().cpu().numpy()})
        return torch.from_numpy(scores).to(images.device)

    return Outside(run, manifest["higher_is"])


def _check_shape(shape: list[Any], manifest: Mapping[str, Any]) -> None:
    """Sizes that are numbers are fixed; others are names."""
    size = manifest["image_size"]
    if len(shape) != 4:
        raise ModelError(f"takes an input of {len(shape)} dimensions; must take images (B, C, H, W)")
    if isinstance(shape[0], int):
        raise ModelError(f"takes {shape[0]} images at a time and no other number; export it with {EXPORT}")
    wanted = (manifest["channels"], size, size)
    if any(isinstance(have, int) and have != want for have, want in zip(shape[1:], wanted, strict=True)):
        raise ModelError(f"takes images {tuple(shape[1:])} (C, H, W); those of the dataset are {wanted}")
