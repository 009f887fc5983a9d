"""Checks an ONNX file before ONNX Runtime sees it: it must be self-contained, terminate, and create no huge tensors.

ONNX Runtime reads external weights from the current folder, which the hash of the model does not cover (they are put
into the file before, see _onnx_weights); it runs a loop for as many rounds as the file says, and creates tensors of any
size the file names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from assay.errors import ModelError
from assay.models.loaders._onnx_weights import external, messages

ELEMENTS = 2**26
"""Most elements of a tensor whose size only the file determines, or four per byte of the file if that is more."""
NODES = 100_000
"""Most operators after inlining every function of the file."""
ENDLESS = ("Loop", "Scan")


def vet(content: bytes) -> None:
    """Raises ModelError for a file that is refused; a file that is not ONNX is left to ONNX Runtime's own error."""
    import onnx

    try:
        model = onnx.ModelProto.FromString(content)
    except Exception as error:  # the error class of protobuf, whichever of its implementations is installed
        raise ModelError(f"cannot be read by ONNX Runtime: it is no ONNX file ({error})") from error
    for tensor in external(model):
        raise ModelError(
            f"keeps the tensor '{tensor.name[:60]}' in another file, which is not here; bring it together with the "
            "files that hold its weights, or export it as one file, with external_data=False"
        )
    for message in messages(model):
        if message.DESCRIPTOR.name == "NodeProto" and message.op_type in ENDLESS:
            raise ModelError(f"holds a {message.op_type}, which may never end; export the detector without loops")
    _check_functions(model)
    _check_sizes(model, max(ELEMENTS, 4 * len(content)))


def _check_functions(model: Any) -> None:
    """Nested function calls can expand to more operators than could ever be run."""
    bodies = {(f.domain, f.name): [n for n in messages(f) if n.DESCRIPTOR.name == "NodeProto"] for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    while len(sizes) < len(bodies):
        ready = [
            name
            for name, nodes in bodies.items()
            if name not in sizes and all(_called(n) in sizes for n in nodes if _called(n) in bodies)
        ]
        if not ready:
            raise ModelError("has functions that call themselves, which never ends; export the detector without loops")
        for name in ready:
            sizes[name] = _written_out(bodies[name], sizes)
    nodes = [node for node in messages(model.graph) if node.DESCRIPTOR.name == "NodeProto"]
    if (count := _written_out(nodes, sizes)) > NODES:
        raise ModelError(f"stands for {count:.3g} operators; at most {NODES} are allowed")


def _called(node: Any) -> tuple[str, str]:
    return node.domain, node.op_type


def _written_out(nodes: list[Any], sizes: Mapping[tuple[str, str], int]) -> int:
    return sum(sizes.get(_called(node), 1) for node in nodes)


def _check_sizes(model: Any, most: int) -> None:
    """Tensors whose size the file determines, whatever images it is given."""
    import onnx

    _check_stated(model, most)  # first: inferring sizes takes memory in proportion to those that are stated
    try:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # noqa: BLE001 - sizes that cannot be inferred are left to ONNX Runtime
        return
    _check_stated(model, most)


def _check_stated(model: Any, most: int) -> None:
    for message in messages(model.graph):
        if message.DESCRIPTOR.name == "ValueInfoProto":
            sizes = [d.dim_value for d in message.type.tensor_type.shape.dim if d.WhichOneof("value") == "dim_value"]
            if (elements := math.prod(sizes)) > most:
                raise ModelError(f"makes '{message.name[:60]}' of {elements:.3g} elements; the limit is {most:.3g}")
