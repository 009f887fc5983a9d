"""Ray: joining or starting a cluster, and leaving it. Imported only where a sweep runs."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from assay.errors import SweepError


@contextmanager
def connected(address: str | None = None, cpus: int | None = None) -> Iterator[dict[str, float]]:
    """A Ray cluster for the time of the block: the one at `address`, or a local one of this machine's cores.

    A plain `ray.init()` would join whatever cluster runs on the machine, so the local one is asked for by name.
    Yields the cluster's resources; on leaving, a local cluster is shut down. Raises SweepError if none can be had.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning on machines without a GPU
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # five files a trial that nobody reads
    os.environ["TUNE_WARN_THRESHOLD_S"] = "10"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # its banner is printed whatever the verbosity
    options: dict[str, Any] = {"address": address or "local", "logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        options |= {"num_cpus": cpus, "include_dashboard": False}
    else:
        options["runtime_env"] = {"py_modules": packages()}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"the cluster at {address}" if address else "a local Ray cluster"
        raise SweepError(f"cannot start or join {where}: {str(error).splitlines()[0]}") from error
    try:
        yield ray.cluster_resources()
    finally:
        # Tune leaves references to Ray's objects in cycles. Were they collected by another thread (the W&B writer's)
        # while Ray shuts down, Ray would end this process on the spot.
        gc.collect()
        ray.shutdown()


def packages() -> list[str]:
    """The folders of the packages that workers of another machine need."""
    import importlib.util

    found = []
    for name in ("assay", "trainables"):
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise SweepError(f"package '{name}' cannot be found, so it cannot be sent to workers; install Assay again")
        found.append(next(iter(spec.submodule_search_locations)))
    return found
