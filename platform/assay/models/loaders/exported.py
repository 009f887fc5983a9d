"""A detector as an exported program (`torch.export.save`): differentiable tensor operators, without its own code."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.export.pt2_archive._package import load_pt2  # torch.export.load would fall back to older, pickled formats

from assay.errors import ModelError
from assay.models.loaders._archive import SIZE, vetted
from assay.models.loaders._outside import Outside
from assay.models.loaders._program import Program
from assay.models.loaders._signature import Port, signature

FILE, SUFFIX = "program.pt2", ".pt2"
EXPORT = "torch.export.export(detector, (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))"
"""How to export a program that takes any number of images; `images` must be two or more."""


TYPES = {1: "uint8", 6: "float16", 7: "float32", 8: "float64", 12: "bool", 13: "bfloat16"}
"""torch's numbers of types in an archive -> numpy's names of them."""


def exported(manifest: Mapping[str, Any], content: bytes) -> nn.Module:
    """The detector of an exported program that takes images (B, C, H, W) and returns scores (B,).

    How it takes images (type, layout, how many at a time) and which output is the score: loaders._signature; of uint8
    images there is no gradient. H and W may be free. Raises ModelError if it is refused (loaders._archive), takes
    images of another size or certain numbers of them, or returns no score or several.
    """
    archive, description = vetted(content)
    images, outputs, largest = _ports(description)
    takes = signature([images], outputs, manifest, EXPORT)
    score = None if len(outputs) == 1 else [port.name for port in outputs].index(takes.output)
    try:
        program = load_pt2(io.BytesIO(archive)).exported_programs["model"]
    except Exception as error:  # torch has no error class for a program it cannot read
        why = " ".join(str(error).split())[:200]
        raise ModelError(f"cannot be read by torch {torch.__version__}: {why}; export it with this version") from error
    return Outside(Program(program, takes, largest, len(content), score), manifest["higher_is"])


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
    if symbol is None and "as_int" not in batch:
        raise ModelError(f"takes certain numbers of images at a time and no others; export it with {EXPORT}")
    return images, outputs, limits.get("max_val")


def _sizes(tensor: Mapping[str, Any]) -> tuple[int | None, ...]:
    return tuple(one.get("as_int") for one in tensor["sizes"])
