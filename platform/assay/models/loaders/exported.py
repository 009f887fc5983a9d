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

FILE, SUFFIX = "program.pt2", ".pt2"
EXPORT = "torch.export.export(detector, (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))"
"""How to export a program that takes any number of images; `images` must be two or more."""


def exported(manifest: Mapping[str, Any], content: bytes) -> nn.Module:
    """The detector of an exported program that takes images (B, C, H, W) of any B and returns scores (B,).

    Raises ModelError if it is refused (loaders._archive), has a fixed batch size, or takes images of another size.
    """
    archive, description = vetted(content)
    largest = _largest_batch(description, manifest)
    try:
        program = load_pt2(io.BytesIO(archive)).exported_programs["model"]
    except Exception as error:  # torch has no error class for a program it cannot read
        why = " ".join(str(error).split())[:200]
        raise ModelError(f"cannot be read by torch {torch.__version__}: {why}; export it with this version") from error
    return Outside(Program(program, largest, len(content)), manifest["higher_is"])


def _largest_batch(description: Mapping[str, Any], manifest: Mapping[str, Any]) -> int | None:
    """The largest number of images the program takes (None: any), according to its input signature."""
    size = height_and_width(manifest["image_size"])
    try:
        graph = description["graph_module"]
        specs = [spec["user_input"] for spec in graph["signature"]["input_specs"] if "user_input" in spec]
        batch, *rest = graph["graph"]["tensor_values"][specs[0]["arg"]["as_tensor"]["name"]]["sizes"]
        symbol = SIZE.fullmatch(batch["as_expr"]["expr_str"]) if "as_expr" in batch else None
        limits = description["range_constraints"].get(symbol[1], {}) if symbol else {}
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelError(f"does not say what its input is; export it with {EXPORT}") from error
    if symbol is None:
        count = batch.get("as_int", "certain numbers of")
        raise ModelError(f"takes {count} images at a time and no other number; export it with {EXPORT}")
    wanted = (manifest["channels"], *size)
    have = tuple(one.get("as_int") for one in rest)
    if len(have) != 3 or any(is_ not in (None, want) for is_, want in zip(have, wanted, strict=True)):
        raise ModelError(f"takes images {have} (C, H, W); those of the dataset are {wanted}")
    largest: int | None = limits.get("max_val")
    return largest
