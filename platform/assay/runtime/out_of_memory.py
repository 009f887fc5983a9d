"""Work on a slice of images that is cut in half when memory runs out, and says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from assay.errors import AssayError

Result = TypeVar("Result")
CPU_MESSAGE = "you tried to allocate"
"""What torch's CPU allocator says on every platform; it raises a plain RuntimeError."""


def in_halves_if_out_of_memory(
    work: Callable[[int, int], Result], count: int, on_halved: Callable[[str], None] = lambda _: None
) -> list[Result]:
    """The results of `work(first, last)` over 0 to `count`, in order: of the whole, or of smaller and smaller pieces.

    on_halved is told once for every halving. Raises AssayError where not even one image fits.
    """
    results: list[Result] = []
    size, first = count, 0
    while first < count:
        last = min(first + size, count)
        try:
            results.append(work(first, last))
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                raise AssayError(
                    "not even one image fits into memory; use a machine with more, or smaller images"
                ) from error
            size = (size + 1) // 2
            on_halved(f"memory ran out with {last - first} images at a time; went on with {size}")
            continue
        first = last
    return results


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, of the machine or of the accelerator."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or CPU_MESSAGE in str(error)
