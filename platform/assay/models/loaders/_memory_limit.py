"""Limits the memory that an exported program takes: each operator's outputs are sized before the operator is run.

A small program can multiply sizes (repeat, expand, outer products) until the machine has no memory left. How large an
output will be is known beforehand from the same operator on fake tensors, which have a shape and no content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from assay.errors import ModelError
from assay.runtime import allowance

BASE, OF_FILE, OF_IMAGES = 2**29, 64, 256
"""What a program may take: so many bytes, and so many times the size of its file and of the images it is given."""
SELECTED = {"nonzero": 8, "masked_select": 1, "_unique2": 17, "unique_dim": 17, "unique_consecutive": 17}
"""Operators whose output is as large as values say -> the most bytes per element of the input and dimension of it."""


def allowed(file: int, images: Tensor) -> int:
    """The bytes that a program from a file of so many bytes may take for these images (B, C, H, W)."""
    share = BASE + OF_FILE * file + OF_IMAGES * images.numel() * images.element_size()
    if images.device.type != "cpu":
        return share
    return min(share, allowance.memory() // 2)


class MemoryLimit(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is on, an operator that would make tensors beyond the limit is not run.

    Raises MemoryError, or ModelError where a single image is too much: fewer at a time may fit. `by_value` says
    afterwards whether a size depended on values, and so may be another one for other images.
    """

    supports_higher_order_operators = True

    def __init__(self, limit: int, images: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.limit, self.images, self.by_value = limit, images, False
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Size the outputs of an operator, then run it."""
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):  # a part without gradients: its operators come one by one
            with self:
                return func(*args, **kwargs)
        self._check(func, args, kwargs)
        given = {_storage(tensor) for tensor in _tensors((args, kwargs))}
        made = func(*args, **kwargs)
        for tensor in _tensors(made):
            if (storage := _storage(tensor)) not in given:
                kept = StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
                self._live[storage] = kept, tensor.untyped_storage().nbytes()
        return made

    def _check(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        largest, new = self._sizes(func, args, kwargs)
        ended = [key for key, (kept, _) in self._live.items() if kept.expired()]  # type: ignore[no-untyped-call]
        for key in ended:
            del self._live[key]
        total = max(largest, new + sum(size for _, size in self._live.values()))
        if total <= self.limit:
            return
        images = f"{self.images} images" if self.images > 1 else "one image"
        message = (
            f"the exported program would take {total / 2**20:.4g} MB for {images} (at '{func}'); the limit for such "
            f"images and a file of its size is {self.limit >> 20} MB"
        )
        raise MemoryError(message) if self.images > 1 else ModelError(message)

    def _sizes(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int, int]:
        """The bytes of the largest output, views of others' memory included, and of all that is new."""
        with self._fake:
            fake_args, fake_kwargs = pytree.tree_map_only(Tensor, self._fake.from_tensor, (args, kwargs))
            try:
                made = list(_tensors(func(*fake_args, **fake_kwargs)))
            except DataDependentOutputException:  # a number, not a tensor
                self.by_value = True
                return 0, 0
            except DynamicOutputShapeException:
                self.by_value = True
                return self._selected(func, args)
            given = {_storage(tensor) for tensor in _tensors((fake_args, fake_kwargs))}
            new = {_storage(tensor): tensor.untyped_storage().nbytes() for tensor in made}
            largest = max((tensor.numel() * tensor.element_size() for tensor in made), default=0)
            return largest, sum(size for storage, size in new.items() if storage not in given)

    def _selected(self, func: Any, args: tuple[Any, ...]) -> tuple[int, int]:
        name = func._schema.name.partition("::")[2]
        if name not in SELECTED:
            raise ModelError(f"the exported program calls '{func}', which makes tensors of any size; export it without")
        most = sum(t.numel() * max(t.dim(), t.element_size()) * SELECTED[name] for t in _tensors(args))
        return most, most


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor))


def _storage(tensor: Tensor) -> int:
    storage: Any = tensor.untyped_storage()
    return int(storage._cdata)
