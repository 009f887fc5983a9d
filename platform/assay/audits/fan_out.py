"""Fan-out of an audit's work over Ray workers. With one worker everything runs in this process, without Ray."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from assay.errors import AssayError, InputError
from assay.runtime import retry, versions
from assay.store.store import Store


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
    works: Sequence[Work],
    root: str,
    *,
    workers: int | None,
    gpus: float = 0.0,
    address: str | None = None,
    on_done: Callable[[Work, float], None],
) -> None:
    """Do every piece of work; `on_done` is told of each as it ends. The order of ending changes no figure.

    workers: how many pieces at a time; None, on a cluster, for as many as it has cores for. gpus: the share of a GPU
    that each takes, such as 0.25 for four on one. address: a Ray cluster; without it, this machine's cores.
    Raises InputError where the GPUs are not there, AssayError where a piece came to nothing more often than retry.py
    allows; what is done stays.
    """
    if not works:
        return
    workers = min(workers or len(works), len(works))
    if address is None and workers == 1:
        for work in works:
            on_done(work, work.run(root))
        return
    from assay.cluster.connection import connected

    with connected(address, cpus=workers) as resources:
        if address is None and gpus > (there := resources.get("GPU", 0)):  # a cluster may still grow
            raise InputError(f"each worker was to have {gpus:g} of a GPU, and Ray sees {there:g} of them; ask for less")
        _spread(works, root, workers, gpus, on_done)


def _spread(
    works: Sequence[Work], root: str, at_a_time: int, gpus: float, on_done: Callable[[Work, float], None]
) -> None:
    import ray

    from assay.cluster import idle_warning, lost

    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_run)  # what is tried again is up to retry.py
    queue, running = deque(range(len(works))), dict[Any, int]()
    failed: list[list[str]] = [[] for _ in works]
    idle = idle_warning.Waiting("piece of work", {"cpu": 1, "gpu": gpus}, ray.cluster_resources)
    while queue or running:
        while queue and len(running) < at_a_time:
            number = queue.popleft()
            running[remote.remote(works[number], root)] = number
        while not (ended := ray.wait(list(running), num_returns=1, timeout=idle_warning.PATIENCE / 4)[0]):
            idle.look(_taken(1, gpus))
        idle.look(True)
        number = running.pop(ended[0])
        try:
            seconds = ray.get(ended[0])
        except ray.exceptions.RayError as error:
            if not retry.again(kind := lost.kind(error), failed[number]):
                if isinstance(error, ray.exceptions.RayTaskError):
                    if isinstance(error.cause, AssayError):
                        raise error.cause from None
                    raise
                times = f"{len(failed[number]) + 1} times" if failed[number] else "and no second time would help"
                raise AssayError(
                    f"{works[number].label}: {lost.told(error)}, {times}; {ADVICE.get(kind, '')}run the same audit "
                    "again, it goes on where it stopped"
                ) from error
            failed[number].append(kind)
            queue.appendleft(number)
        else:
            on_done(works[number], seconds)


ADVICE = {
    "host_memory": "give fewer --workers, and ",
    "node": "look at the cluster's nodes, and ",
    "worker": "where memory is short, give fewer --workers, and ",
}
"""Kind of failure -> what to do about it."""


def _taken(cpus: float, gpus: float) -> bool:
    """Whether so much of the cluster is in use: a piece of work may run, and need not end soon."""
    import ray

    has, free = ray.cluster_resources(), ray.available_resources()
    return all(has.get(key, 0) - free.get(key, 0) > amount - 1e-6 for key, amount in (("CPU", cpus), ("GPU", gpus)))


def _run(work: Work, root: str) -> float:
    versions.check()
    return work.run(root)
