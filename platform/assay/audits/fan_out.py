"""Fan-out of an audit's jobs over Ray workers. With one worker everything runs in this process, without Ray."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from assay.errors import AssayError, InputError
from assay.runtime import gpu_memory, retry, versions
from assay.runtime.interrupt import terminated
from assay.store.store import Store

if TYPE_CHECKING:
    from assay.cluster.metrics import Board
    from assay.cluster.worker_logs import OwnLog


class Work(Protocol):
    """A piece of work that can be sent to a worker: a job of an audit, or its checks."""

    @property
    def label(self) -> str:
        """What messages call it."""

    @property
    def device(self) -> str:
        """Where it computes."""

    @property
    def run(self) -> Callable[..., float]:
        """Do it, into the store that is the first argument; returns the seconds spent."""


Piece = TypeVar("Piece", bound=Work)


@contextmanager
def cluster(device: str, *, workers: int | None, gpus: float, address: str | None) -> Iterator[bool]:
    """Workers that stay for every `run` within the block; yields whether there are any, or this process does all.

    Raises InputError where the GPUs are not shared out.
    """
    _require_shares(device, workers, gpus, address)
    if address is None and workers == 1:
        yield False
        return
    from assay.cluster.connection import connected

    with connected(address, cpus=workers):
        yield True


def run(
    jobs: Sequence[Piece],
    root: str,
    *,
    workers: int | None,
    gpus: float = 0.0,
    memory_gb: float | None = None,
    address: str | None = None,
    audit: str = "",
    shared: Sequence[object] = (),
    on_done: Callable[[Piece, float], object],
) -> None:
    """Do every job; `on_done` is called as each ends. The order changes no figure.

    workers: how many jobs at a time; None, on a cluster, for as many as it has room for. gpus: the share of a GPU
    that each takes, such as 0.25 for four on one. memory_gb: that each asks for; a cluster that starts machines
    for them then takes small ones, where it would else start a large one. address: a Ray cluster; without it,
    this machine's cores. audit: the name under which, on a cluster, figures are shown and logs of workers kept. shared:
    what every job is given after the store; it is sent once, not with each.
    Raises InputError where the GPUs are not there or not shared out, AssayError where a job failed more often than
    retry.py allows; what is done stays.
    """
    if not jobs:
        return
    given = workers is not None
    workers = min(workers or len(jobs), len(jobs))
    _require_shares(jobs[0].device, workers, gpus, address)
    if address is None and workers == 1:
        with terminated():
            for job in jobs:
                on_done(job, job.run(root, *shared))
        return
    from assay.cluster.connection import connected

    with connected(address, cpus=workers) as resources, terminated():
        if address is None and gpus > (there := resources.get("GPU", 0)):  # a cluster may still grow
            raise InputError(f"each worker needs {gpus:g} of a GPU and Ray sees {there:g} GPUs; ask for less")
        if gpus and not given:
            workers = min(workers, max(1, int(resources.get("GPU", 0) / gpus + 1e-9)))
        logs = f"logs/audits/{audit}" if address and audit else ""
        try:
            _spread(jobs, (root, *shared), workers, gpus, (memory_gb or 0) * 2**30, on_done, logs)
        finally:
            if logs:
                _keep_logs(root, logs)


def _require_shares(device: str, workers: int | None, gpus: float, address: str | None) -> None:
    if device != "cpu" and not gpus and (workers != 1 or address):
        raise InputError(
            "workers that take no share of a GPU would all run on the first one; give --gpus-per-worker (1 for one "
            "worker on each GPU), or --workers 1"
        )


def _spread(
    jobs: Sequence[Piece],
    given: Sequence[object],
    at_a_time: int,
    gpus: float,
    memory: float,
    on_done: Callable[[Piece, float], object],
    logs: str,
) -> None:
    import ray

    from assay.cluster import idle_warning, metrics, ray_failures

    board = metrics.Board() if logs else None

    processes = _Processes(gpus, memory) if gpus else None
    gpu_memory.give_back()  # the preflight's: the workers need it
    remote = ray.remote(num_cpus=1, memory=memory, max_retries=0)(_run)  # retry.py decides what is tried again
    root, given = str(given[0]), [ray.put(one) for one in given[1:]]
    queue, running = deque(range(len(jobs))), dict[Any, int]()
    failed: list[list[str]] = [[] for _ in jobs]
    idle = idle_warning.Waiting("job", {"cpu": 1, "gpu": gpus, "memory_gb": memory / 2**30}, ray.cluster_resources)
    while queue or running:
        while queue and len(running) < at_a_time:
            number = queue.popleft()
            start = processes.start if processes else remote.remote
            running[start(jobs[number], logs, root, *given)] = number
        if board and board.due():
            _show(board, jobs, len(queue), len(running), gpus, logs)
        while not (ended := ray.wait(list(running), num_returns=1, timeout=idle_warning.PATIENCE / 4)[0]):
            idle.look(_taken(1, gpus))
        idle.look(True)
        number = running.pop(ended[0])
        try:
            seconds = ray.get(ended[0])
        except ray.exceptions.RayError as error:
            if processes:
                processes.ended(ended[0], keep=isinstance(error, ray.exceptions.RayTaskError))
            if not retry.again(kind := ray_failures.kind(error), failed[number]):
                if isinstance(error, ray.exceptions.RayTaskError):
                    if isinstance(error.cause, AssayError):
                        raise error.cause from None
                    raise
                times = f"{len(failed[number]) + 1} times" if failed[number] else "and no second time would help"
                raise AssayError(
                    f"{jobs[number].label}: {ray_failures.message(error)}, {times}; {ADVICE.get(kind, '')}run the same "
                    "audit again; it continues where it stopped"
                ) from error
            failed[number].append(kind)
            queue.appendleft(number)
        else:
            if processes:
                processes.ended(ended[0], keep=bool(queue))  # else what waits for a share of a GPU may have its
            on_done(jobs[number], seconds)
    if board:
        _show(board, jobs, 0, 0, gpus, logs)


def _show(board: Board, jobs: Sequence[Work], waiting: int, running: int, gpus: float, logs: str) -> None:
    states = {"waiting": waiting, "running": running, "done": len(jobs) - waiting - running}
    board.audit(logs.rpartition("/")[2], states, gpus * running)


ADVICE = {
    "host_memory": "give fewer --workers, and ",
    "node": "check the cluster's nodes, and ",
    "worker": "where memory is short, give fewer --workers, and ",
}
"""Kind of failure -> what to do about it."""


def _taken(cpus: float, gpus: float) -> bool:
    """Whether that much of the cluster is in use: a job may be running, and need not end soon."""
    import ray

    has, free = ray.cluster_resources(), ray.available_resources()
    return all(has.get(key, 0) - free.get(key, 0) > amount - 1e-6 for key, amount in (("CPU", cpus), ("GPU", gpus)))


class _Processes:
    """Processes with a share of a GPU each, which do one job after another.

    Ray would end the process of a task with a GPU after it, and the next one would load CUDA, PyTorch and the model
    anew: six seconds for each job.
    """

    def __init__(self, gpus: float, memory: float) -> None:
        import ray

        takes = {"num_cpus": 1, "num_gpus": gpus, "memory": memory}
        self._make = ray.remote(**takes, max_restarts=0, max_task_retries=0)(_Process)
        self._gpus = gpus
        self._free: list[Any] = []
        self._busy: dict[Any, Any] = {}

    def start(self, job: Work, logs: str, root: str, *given: object) -> Any:
        """Give the job to a free process, else to a new one."""
        process = self._free.pop() if self._free else self._make.remote(self._gpus)
        running = process.run.remote(job, logs, root, *given)
        self._busy[running] = process
        return running

    def ended(self, running: Any, keep: bool) -> None:
        """Its process is free for another job, or ends."""
        process = self._busy.pop(running)
        if keep:
            self._free.append(process)


class _Process:
    """What runs there. gpus: its share of a GPU."""

    def __init__(self, gpus: float) -> None:
        self._gpus = gpus

    def run(self, job: Work, logs: str, root: str, *given: object) -> float:
        """Do a job; an error that leaves the GPU unusable ends the process."""
        if job.device != "cpu":
            gpu_memory.keep_to(self._gpus)
        try:
            return _run(job, logs, root, *given)
        except Exception as error:
            retry.leave_if_gpu_lost(error)
            raise


def _run(job: Work, logs: str, root: str, *given: object) -> float:
    """Do a job in a worker. logs: the folder of the store in which what the worker printed is kept, or ""."""
    versions.check()
    own = _own_log(root, logs) if logs else None
    try:
        return job.run(root, *given)
    finally:
        if own:
            own.keep()


@functools.cache
def _own_log(root: str, logs: str) -> OwnLog:
    from assay.cluster.worker_logs import OwnLog

    return OwnLog(Store(root), logs)


def _keep_logs(root: str, logs: str) -> None:
    """Keep what workers printed that died before they could."""
    from assay.cluster.worker_logs import keep_all

    keep_all(Store(root), logs)
