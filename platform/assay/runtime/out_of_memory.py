"""Work on a slice of images that is cut in half when memory runs out, and says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from assay.errors import AssayError

Result = TypeVar("Result")
CPU_MESSAGES = ("you tried to allocate", "can't allocate memory")
"""What torch's CPU allocator says on every platform; it raises a plain RuntimeError."""

GPU_MESSAGES = (
    "CUDA out of memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED", "HIP out of memory",
    "CUDNN_STATUS_NOT_SUPPORTED", "unable to find an engine to execute this computation",
)  # fmt: skip
"""What is raised where a GPU's memory ends outside torch's allocator: for a context, a kernel, cuBLAS or cuDNN.

The last two are cuDNN's where the workspace of no algorithm fits, or a batch is too large for any.
"""


def in_halves_if_out_of_memory(
    work: Callable[[int, int], Result], count: int, on_halved: Callable[[str], None] = lambda _: None
) -> list[Result]:
    """The results of `work(first, last)` over 0 to `count`, in order: of the whole, or of smaller and smaller pieces.

    on_halved is told once for every halving. Raises AssayError where not even one image fits.
    """
    import torch

    results: list[Result] = []
    size, first = count, 0
    while first < count:
        last = min(first + size, count)
        try:
            result = work(first, last)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                raise AssayError(
                    "not even one image fits into memory; use a machine with more, or smaller images"
                ) from error
            size = (size + 1) // 2
            on_halved(f"memory ran out with {last - first} images at a time; went on with {size}")
        else:
            results.append(result)
            first = last
            continue
        torch.cuda.empty_cache()  # only now, as the error held tensors
    return results


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, of the machine or of the accelerator."""
    return of_gpu(error) or of_host(error)


def of_gpu(error: BaseException) -> bool:
    """Whether the accelerator's memory ran out."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in GPU_MESSAGES)


def of_host(error: BaseException) -> bool:
    """Whether the machine's memory ran out."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in CPU_MESSAGES)
