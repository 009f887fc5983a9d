"""Files of detectors that somebody forged: exported programs and ONNX, changed where it hurts."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
import toy_outside
from torch import Tensor, nn

SIZE = 16


@functools.cache
def program() -> bytes:
    """A good exported program."""
    content = io.BytesIO()
    images, any_number = torch.rand(2, 1, SIZE, SIZE), ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(toy_outside.good().eval(), (images,), dynamic_shapes=any_number), content)
    return content.getvalue()


def changed(
    content: bytes,
    files: Mapping[str, bytes] | None = None,
    graph: Callable[[dict[str, Any]], None] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """An exported program with some files added or replaced, and its graph changed by a function."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(out, "w", compression) as new:
        top = archive.namelist()[0].partition("/")[0]
        records = {name: archive.read(name) for name in archive.namelist()}
        records |= {f"{top}/{name}": record for name, record in (files or {}).items()}
        if graph is not None:
            parsed = json.loads(records[f"{top}/models/model.json"])
            graph(parsed)
            records[f"{top}/models/model.json"] = json.dumps(parsed).encode()
        for name, record in records.items():
            new.writestr(name, record)
    return out.getvalue()


def sized(expression: str) -> bytes:
    """The good program with that expression in place of every size that follows from the number of images."""

    def change(graph: dict[str, Any]) -> None:
        for value in graph["graph_module"]["graph"]["tensor_values"].values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = expression

    return changed(program(), graph=change)


def calling(target: str) -> bytes:
    """The good program with that operator in place of its first one."""

    def change(graph: dict[str, Any]) -> None:
        graph["graph_module"]["graph"]["nodes"][0]["target"] = target

    return changed(program(), graph=change)


class Chain(nn.Module):
    """Scores by the mean of each image, after multiplying sizes in one of the ways of `CHAINS`."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,)."""
        return images.mean((1, 2, 3)) + CHAINS[self.how](images)


def _repeated(images: Tensor) -> Tensor:
    for _ in range(10):
        images = images.repeat(1, 4, 1, 1)
    return images.mean((1, 2, 3))


def _outer(images: Tensor) -> Tensor:
    pixels = made = images.flatten(1)
    for _ in range(3):
        made = (made[:, :, None] * pixels[:, None]).flatten(1)
    return made.mean(1)


def _kept(images: Tensor) -> Tensor:
    made = [images.repeat(1, 2**14, 1, 1) + i for i in range(40)]  # 16 MB each
    return torch.stack([one.mean((1, 2, 3)) for one in made]).sum(0) + sum(one[:, 0, 0, 0] for one in made)


def _without_gradient(images: Tensor) -> Tensor:
    with torch.no_grad():
        return _repeated(images)


def _of_values(images: Tensor) -> Tensor:
    count = (images.mean() * 0 + 3e4).int().item()
    torch._check(count >= 0)
    return torch.zeros(count, count).sum()


CHAINS: dict[str, Callable[[Tensor], Tensor]] = {
    "repeated": _repeated,
    "outer products": _outer,
    "expanded": lambda images: images.unsqueeze(1).expand(-1, 2**20, -1, -1, -1).mean((1, 2, 3, 4)),
    "many at once": _kept,
    "without a gradient": _without_gradient,
    "of the batch alone": lambda images: torch.zeros([images.shape[0]] * 6).sum(),
    "of values": _of_values,
}
"""How a program of a few kilobytes takes gigabytes: each operator is allowed, and each size follows from another."""


@functools.cache
def chain(how: str) -> bytes:
    """An exported program of a `Chain`."""
    content, images = io.BytesIO(), torch.rand(2, 1, SIZE, SIZE)
    exported = torch.export.export(Chain(how), (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(exported, content)

    def unchecked(graph: dict[str, Any]) -> None:
        nodes = graph["graph_module"]["graph"]["nodes"]
        nodes[:] = [node for node in nodes if node["target"] != "torch.ops.aten._assert_scalar.default"]

    return changed(content.getvalue(), graph=unchecked)


def onnx_file(nodes: list[Any], initializers: tuple[Any, ...] = (), functions: tuple[Any, ...] = ()) -> bytes:
    """An ONNX file of those nodes from `images` to `scores`; the axes of its mean are `axes`."""
    import onnx

    make = onnx.helper
    image = make.make_tensor_value_info("images", 1, ["batch", 1, SIZE, SIZE])
    scores = make.make_tensor_value_info("scores", 1, ["batch"])
    axes = make.make_tensor("axes", 7, [3], [1, 2, 3])
    graph = make.make_graph(nodes, "detector", [image], [scores], [axes, *initializers])
    opset = [make.make_opsetid("", 18), make.make_opsetid("mine", 1)]
    model = make.make_model(graph, opset_imports=opset, ir_version=9, functions=list(functions))
    content: bytes = model.SerializeToString()
    return content


def grown(*steps: tuple[str, list[str], list[str]], **numbers: list[int]) -> bytes:
    """An ONNX file whose scores are the mean of each image plus `sum`, which the steps (operator, in, out) make."""
    from onnx import helper as make

    mean = make.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0)
    last = make.make_node("Add", ["mean", "sum"], ["scores"])
    more = [
        make.make_node(name, ins, outs, **({"keepdims": 0} if name == "ReduceSum" else {})) for name, ins, outs in steps
    ]
    given = tuple(make.make_tensor(name, 7, [len(values)], values) for name, values in numbers.items())
    return onnx_file([mean, *more, last], given)
