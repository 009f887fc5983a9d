"""Fan-out of an audit's work over Ray workers. With one worker everything runs in this process, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from assay.errors import AssayError, InputError
from assay.store import Store

RETRIES = 2
"""How often a piece of work is begun again after its worker was lost."""


class Work(Protocol):
    """A piece of an audit that writes a file of its own, whole or not at all, named by what it is made of."""

    @property
    def label(self) -> str:
        """What progress calls it."""
        ...

    def done(self, store: Store) -> bool:
        """Whether what it writes is there."""
        ...

    def run(self, root: str) -> float:
        """Compute and write it unless it is done; returns the seconds spent."""
        ...


def run(
    works: Sequence[Work], root: str, *, workers: int, gpus: float = 0.0, on_done: Callable[[Work, float], None]
) -> None:
    """Do every piece of work; `on_done` is told of each as it ends. The order of ending changes no figure.

    gpus: the share of a GPU that each worker takes, such as 0.25 for four on one.
    """
    if workers <= 1:
        for work in works:
            on_done(work, work.run(root))
        return
    import ray

    from assay.cluster import connected

    with connected(cpus=workers) as resources:
        if gpus > (there := resources.get("GPU", 0)):
            raise InputError(f"each worker was to have {gpus:g} of a GPU, and Ray sees {there:g} of them; ask for less")
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_run)
        pending = {remote.remote(work, root): work for work in works}
        while pending:
            [done], _ = ray.wait(list(pending), num_returns=1)
            work = pending.pop(done)
            try:
                on_done(work, ray.get(done))
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, AssayError):
                    raise error.cause from None
                raise
            except ray.exceptions.RayError as error:
                raise AssayError(
                    f"a worker was lost three times ({type(error).__name__}), perhaps for want of memory; run the same "
                    "audit again with fewer --workers, it goes on where it stopped"
                ) from error


def _run(work: Work, root: str) -> float:
    return work.run(root)
