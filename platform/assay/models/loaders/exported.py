"""A detector as an exported program (`torch.export.save`): differentiable tensor operators, without its own code."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.export.pt2_archive._package import load_pt2  # torch.export.load would fall back to older, pickled formats

from assay.data.images import height_and_width
from assay.errors import ModelError
from assay.models.loaders._archive import SIZE, vetted
from assay.models.loaders._outside import Outside
from assay.models.loaders._program import Program
from assay.models.loaders._signature import Port, the_score

FILE, SUFFIX = "program.pt2", ".pt2"
EXPORT = "torch.export.export(detector, (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))"
"""How to export a program that takes any number of images; `images` must be two or more."""


TYPES = {1: "uint8", 6: "float16", 7: "float32", 8: "float64", 12: "bool", 13: "bfloat16"}
"""torch's numbers of types in an archive -> numpy's names of them."""


def exported(manifest: Mapping[str, Any], content: bytes) -> nn.Module:
    """The detector of an exported program that takes images (B, C, H, W) of any B and returns scores (B,).

    Images are floats in [0, 1], or uint8 of which there is no gradient; H and W may be free. Of a tuple, the score is
    the one output with one floating-point number for each image. Raises ModelError if it is refused (loaders._archive),
    has a fixed batch size, takes images of another size, or returns no score or several.
    """
    archive, description = vetted(content)
    inputs, outputs, largest = _ports(description)
    _check_input(inputs, manifest)
    score = None if len(outputs) == 1 else outputs.index(the_score(outputs, manifest.get("output"), None))
    try:
        program = load_pt2(io.BytesIO(archive)).exported_programs["model"]
    except Exception as error:  # torch has no error class for a program it cannot read
        why = " ".join(str(error).split())[:200]
        raise ModelError(f"cannot be read by torch {torch.__version__}: {why}; export it with this version") from error
    detector = Program(program, largest, len(content), inputs.type == "uint8", score)
    return Outside(detector, manifest["higher_is"])


def _ports(description: Mapping[str, Any]) -> tuple[Port, list[Port], int | None]:
    """The input, the outputs, and the largest number of images that the program takes (None: any)."""
    try:
        graph = description["graph_module"]
        tensors, signature = graph["graph"]["tensor_values"], graph["signature"]
        specs = [spec["user_input"] for spec in signature["input_specs"] if "user_input" in spec]
        returned = [spec["user_output"] for spec in signature["output_specs"] if "user_output" in spec]
        images, *outputs = [
            Port(f"output {place}" if place else "images", TYPES.get(tensor["dtype"], "another type"), _sizes(tensor))
            for place, spec in enumerate([specs[0], *returned])
            for tensor in [tensors[spec["arg"]["as_tensor"]["name"]]]
        ]
        batch = tensors[specs[0]["arg"]["as_tensor"]["name"]]["sizes"][0]
        symbol = SIZE.fullmatch(batch["as_expr"]["expr_str"]) if "as_expr" in batch else None
        limits = description["range_constraints"].get(symbol[1], {}) if symbol else {}
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelError(f"does not say what its input is; export it with {EXPORT}") from error
    if symbol is None:
        count = batch.get("as_int", "certain numbers of")
        raise ModelError(f"takes {count} images at a time and no other number; export it with {EXPORT}")
    return images, outputs, limits.get("max_val")


def _sizes(tensor: Mapping[str, Any]) -> tuple[int | None, ...]:
    return tuple(one.get("as_int") for one in tensor["sizes"])


def _check_input(images: Port, manifest: Mapping[str, Any]) -> None:
    wanted = (manifest["channels"], *height_and_width(manifest["image_size"]))
    have = (images.shape or ())[1:]
    if len(have) != 3 or any(is_ not in (None, want) for is_, want in zip(have, wanted, strict=True)):
        raise ModelError(f"takes images {have} (C, H, W); those of the dataset are {wanted}")
