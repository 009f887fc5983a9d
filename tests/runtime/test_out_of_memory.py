"""Work that is cut in half when memory runs out: everything is done, in order, and it is said."""

from __future__ import annotations

import pytest
import torch

from assay.errors import AssayError
from assay.runtime.out_of_memory import in_halves_if_out_of_memory


def refuse(kind: str) -> None:
    if kind == "accelerator":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    if kind == "outside the allocator":
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    if kind == "driver":
        raise torch.AcceleratorError("CUDA error: out of memory")
    if kind == "python":
        raise MemoryError
    torch.empty(10**15)


@pytest.mark.parametrize("kind", ["accelerator", "outside the allocator", "driver", "python", "cpu"])
@pytest.mark.parametrize(("fits", "sizes"), [(64, [64]), (20, [16] * 4), (1, [1] * 64)])
def test_all_of_it_is_done_in_order(kind, fits, sizes):
    told = []

    def work(first: int, last: int) -> list[int]:
        if last - first > fits:
            refuse(kind)
        return list(range(first, last))

    parts = in_halves_if_out_of_memory(work, 64, told.append)
    assert [one for part in parts for one in part] == list(range(64))
    assert [len(part) for part in parts] == sizes
    assert bool(told) == (fits < 64)
    assert not told or told[-1].endswith(f"went on with {sizes[0]}")


def test_not_even_one():
    with pytest.raises(AssayError, match="not even one image fits"):
        in_halves_if_out_of_memory(lambda first, last: refuse("accelerator"), 8, lambda _: None)


def test_other_errors_are_not_swallowed():
    def work(first: int, last: int) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        in_halves_if_out_of_memory(work, 8, lambda _: None)


def test_nothing_to_do():
    assert in_halves_if_out_of_memory(lambda first, last: 1 / 0, 0, lambda _: None) == []
