"""A GPU that isn't there: CPU tensors that say they are on cuda:0 and refuse what CUDA refuses.

Values and gradients are real, so any code runs as it would there. A tensor is on the device by a tag, which the results
of an operation inherit. What can't be seen here: kernels that only CUDA has, TF32, the order of sums, memory, time.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HERE = torch.device("cuda", 0)
WAITS = {
    "item", "tolist", "__bool__", "__float__", "__int__", "__index__", "__contains__", "nonzero", "masked_select",
    "bincount", "unique", "equal", "allclose", "is_nonzero", "argwhere",
}  # fmt: skip
"""Functions whose result needs the host to wait until the device has done all its work."""
ANY_DEVICES = {"copy_", "__deepcopy__", "_has_compatible_shallow_copy_type", "load_state_dict"}
ONLY_TENSORS = {
    "cat", "concat", "stack", "matmul", "__matmul__", "mm", "bmm", "gather", "index_select", "searchsorted", "scatter",
}  # fmt: skip
"""Functions that refuse a scalar tensor of the CPU as well; others take one as a number."""
VIEWS = {
    "view", "_unsafe_view", "_reshape_alias", "reshape", "expand", "permute", "transpose", "t", "movedim", "unsqueeze",
    "squeeze", "slice", "select", "split", "split_with_sizes", "unbind", "chunk", "detach", "alias", "as_strided",
    "diagonal", "lift_fresh", "unfold", "empty", "empty_like", "empty_strided", "new_empty", "_local_scalar_dense",
}  # fmt: skip
"""Operations that start no kernel."""


class MixedDevicesError(RuntimeError):
    """What CUDA would have refused."""


def on_device(value: object) -> bool:
    """Whether a tensor is on the device."""
    return getattr(value, "_other_device", False)


def _tagged(value: Any, on: bool = True) -> Any:
    for leaf in tree_leaves(value):
        if isinstance(leaf, torch.Tensor):
            leaf._other_device = on
    return value


def _names(device: Any) -> bool | None:
    """Whether it is the device; None if it names none."""
    if device is None or isinstance(device, bool | torch.dtype | torch.memory_format):
        return None
    if isinstance(device, torch.Tensor):
        return on_device(device)
    return torch.device(device).type == HERE.type


def _where() -> str:
    for frame in reversed(traceback.extract_stack()):
        for root in ("/platform/assay/", "/trainables/"):
            if root in frame.filename and "/tests/" not in frame.filename:
                return f"{root[1:]}{frame.filename.rpartition(root)[2]}:{frame.lineno}"
    return "a test"


class Generator(torch.Generator):
    """Draws on the CPU; says that it is where it was made."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        """On the CPU, whatever it says."""
        made = super().__new__(cls, "cpu")
        made._says = HERE if _names(device) else torch.device("cpu")
        return made

    def __init__(self, device: Any = "cpu") -> None:
        """All is done."""

    @property
    def device(self) -> torch.device:
        """Where it says it is."""
        return self._says


class OtherDevice(TorchFunctionMode):
    """Watches every function of PyTorch.

    faults: what CUDA would have refused, and where, whoever caught the error. waits, moves: how often the host waited
    for the device, and how often tensors went from one to the other, by function and place.
    """

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.waits: Counter[str] = Counter()
        self.moves: Counter[str] = Counter()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do it, with tags."""
        kwargs, name = dict(kwargs or {}), getattr(function, "__name__", str(function))
        of = getattr(function, "__self__", None)
        if name in ("__get__", "__set__") and hasattr(of, "__name__"):
            return self._attribute(function, name, of.__name__, args)
        if name in ("to", "cpu", "cuda", "numpy", "__array__"):
            return self._moved(function, name, args, kwargs)
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        there = any(map(on_device, tensors))
        target = _names(kwargs.get("device")) if "device" in kwargs else None
        for one in leaves:
            if isinstance(one, Generator) and (one.device == HERE) != (there if target is None else target):
                self._refuse(f"{name}: a generator of {one.device} for a tensor of another device")
        if target is not None:
            kwargs["device"] = "cpu"
            if name in ("tensor", "as_tensor", "asarray", "new_tensor") and not (there and target):
                self.moves[f"{name} {_where()}"] += target or there
            return _tagged(function(*args, **kwargs), target)
        if there:
            self._look(name, args, kwargs, tensors)
        result = function(*args, **kwargs)
        return _tagged(result) if there and name != "tolist" else result

    def _attribute(self, function: Any, name: str, of: str, args: Any) -> Any:
        """`.device`, `.is_cuda`, `.data = ...` and the like."""
        if name == "__set__":
            if of == "data":
                args[0]._other_device = on_device(args[1])
            elif isinstance(args[1], torch.Tensor) and on_device(args[1]) != on_device(args[0]):
                self._refuse(f"{of}: set to a tensor of another device")
            return function(*args)
        told = {"device": HERE, "is_cuda": True, "is_cpu": False}
        if on_device(args[0]):
            return told[of] if of in told else _tagged(function(*args))
        return function(*args)

    def _moved(self, function: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """`.to(...)`, `.cpu()`, `.cuda()`, `.numpy()`; the copy is one even where CPU to CPU would be none."""
        here, *rest = args
        if name in ("numpy", "__array__"):
            if on_device(here):
                self._refuse("can't convert cuda:0 device type tensor to numpy")
            return function(*args, **kwargs)
        if name == "to":
            wanted = [*rest, kwargs.pop("device", None), kwargs.get("other")]
            target = next((found for one in wanted if (found := _names(one)) is not None), on_device(here))
            rest = [one.dtype if isinstance(one, torch.Tensor) else one for one in rest]
            rest = [one for one in rest if isinstance(one, bool | torch.dtype | torch.memory_format)]
            if "other" in kwargs:
                rest.insert(0, kwargs.pop("other").dtype)
            while rest and isinstance(rest[0], bool):  # non_blocking and copy, after a device that is gone
                rest.pop(0)
            result = function(here, *rest, **kwargs) if rest or kwargs else here
        else:
            target, result = name == "cuda", here
        if target == on_device(here):
            return _tagged(result, target)
        self.moves[f"{'to' if target else 'from'} the device {_where()}"] += 1
        if not target:
            self.waits[f"copy {_where()}"] += 1
        return _tagged(result.clone(), target)

    def _look(self, name: str, args: Any, kwargs: Any, tensors: list[torch.Tensor]) -> None:
        """Refuse what CUDA would, and note what makes the host wait."""
        absent = [tensor for tensor in tensors if not on_device(tensor)]
        if name in ("__getitem__", "__setitem__"):
            index = args[1] if isinstance(args[1], tuple | list) else (args[1],)
            for one in index:
                if isinstance(one, torch.Tensor) and on_device(one) and not on_device(args[0]):
                    self._refuse("a tensor of the CPU indexed by one of the device")
                if isinstance(one, torch.Tensor) and one.ndim and on_device(args[0]) and not on_device(one):
                    self.moves[f"index {_where()}"] += 1
                if isinstance(one, torch.Tensor) and one.dtype == torch.bool and name == "__getitem__":
                    self.waits[f"mask {_where()}"] += 1
        elif name not in ANY_DEVICES:
            mixed = [one for one in absent if one.ndim or name in ONLY_TENSORS]
            if mixed:
                self._refuse(f"{name}: a tensor of the device meets one of the CPU, {tuple(mixed[0].shape)}")
        sized = "output_size" in kwargs or not any(isinstance(one, torch.Tensor) for one in args[1:])
        if name in WAITS or (name == "where" and len(args) == 1) or (name == "repeat_interleave" and not sized):
            self.waits[f"{name} {_where()}"] += 1

    def _refuse(self, what: str) -> None:
        self.faults.append(f"{_where()}: {what}")
        raise MixedDevicesError(self.faults[-1])


class Kernels(TorchDispatchMode):
    """Counts the kernels that a GPU would start, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count it and do it."""
        if (name := function._schema.name.partition("::")[2]) not in VIEWS:
            self.count[name] += 1
        return function(*args, **(kwargs or {}))


@contextmanager
def other_device() -> Iterator[OtherDevice]:
    """Within the block `cuda` is such a device; afterwards nothing may have been refused."""
    generator, parameter = torch.Generator, torch.nn.Parameter.__new__

    def made(cls: type, data: Any = None, requires_grad: bool = True) -> Any:
        return _tagged(parameter(cls, data, requires_grad), on_device(data))

    torch.Generator = Generator  # type: ignore[misc]
    torch.nn.Parameter.__new__ = staticmethod(made)  # type: ignore[method-assign]
    try:
        with OtherDevice() as seen:
            yield seen
    finally:
        torch.Generator = generator  # type: ignore[misc]
        torch.nn.Parameter.__new__ = staticmethod(parameter)  # type: ignore[method-assign]
    if seen.faults:
        raise MixedDevicesError("; ".join(seen.faults))
