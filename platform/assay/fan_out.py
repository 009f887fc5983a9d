"""Fan-out of an audit's shards over Ray workers. With one worker everything runs in this process, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from assay import shard as shard_module
from assay.errors import AssayError
from assay.shard import Shard


def run(shards: Sequence[Shard], root: str, *, workers: int, on_done: Callable[[Shard, float], None]) -> None:
    """Compute every shard; `on_done` is told of each as it ends. The order of ending changes no figure."""
    if workers <= 1:
        for shard in shards:
            on_done(shard, shard_module.run(shard, root))
        return
    import ray

    from assay.cluster import connected

    with connected(cpus=workers):
        remote = ray.remote(num_cpus=1, max_retries=2)(shard_module.run)
        pending = {remote.remote(shard, root): shard for shard in shards}
        while pending:
            [done], _ = ray.wait(list(pending), num_returns=1)
            shard = pending.pop(done)
            try:
                on_done(shard, ray.get(done))
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, AssayError):
                    raise error.cause from None
                raise
            except ray.exceptions.RayError as error:
                raise AssayError(
                    f"a worker was lost three times ({type(error).__name__}), perhaps for want of memory; run the same "
                    "audit again with fewer --workers, it goes on where it stopped"
                ) from error
