"""Starting a Ray cluster or joining one, sending it our code, and leaving it. Import this only where Ray is needed."""

from __future__ import annotations

import gc
import importlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from assay import consent, shelves
from assay.cluster import address as addresses
from assay.cluster import ended_sessions, local_limits, ray_failures, session_folder, token, user_code
from assay.errors import SweepError
from assay.runtime import allowance, versions

Answer = TypeVar("Answer")
LEFT_OUT = [".?*", "__pycache__/", "*.pyc", "tests/", "venv/"]
"""What of a package does not travel, as in a .gitignore; a .rayignore in the package leaves out more."""
PATIENCE = 60.0  # seconds for a node to unpack the code and answer
MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""Makes glibc keep freed memory for the next tensors in a worker, up to 2 GB.

By default it maps every large block anew and the system clears it page by page: 5 to 20 % of a ResNet-18's training
step on a CPU. glibc reads these variables when a process starts, so work in this process has them only if the user
exported them before.
"""


@contextmanager
def connected(address: str | None = None, cpus: int | None = None) -> Iterator[dict[str, float]]:
    """A Ray cluster for the time of the block: the one at `address`, or a local one of the cores that may be used.

    Yields the cluster's resources; a local cluster is shut down on leaving. Within such a block another one is of the
    same cluster. Raises SweepError if none can be had.

    A plain `ray.init()` would join whatever cluster runs on the machine, so a local one is requested by name. A cluster
    that is joined is sent the code of Assay and of the modules that `module:attribute` items came from; a node with
    other libraries, or without a module that is installed here, is refused.
    """
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # five files a trial that nobody reads
    os.environ["TUNE_WARN_THRESHOLD_S"] = "10"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # its banner is printed whatever the verbosity
    if ray.is_initialized():  # by a block around this one, or by Ray in a worker
        yield ray.cluster_resources()
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning on machines without a GPU
    for name, value in MALLOC.items():
        os.environ.setdefault(name, value)  # local workers inherit it; Ray would start those with a runtime_env anew
    options: dict[str, object] = {"address": address or "local", "logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        folder = session_folder.own_folder()
        ended_sessions.tidy(folder)
        token.keep_in(folder)
        options |= {"num_cpus": cpus or allowance.cores(), "include_dashboard": False, "_temp_dir": folder}
        options |= local_limits.options()
    else:
        addresses.reach(address)
        options["runtime_env"] = code()
    try:
        context = ray.init(**options)
    except Exception as error:  # Ray raises everything, Exception itself where one of its processes does not start
        where = f"the cluster at {address}" if address else "a local Ray cluster"
        raise SweepError(f"cannot start or join {where}: {ray_failures.reason(error)}") from error
    session = context.address_info["session_dir"] or ""
    with nullcontext() if address else ended_sessions.held(session):
        try:
            token.guard(address, session)
            if address is not None:
                check_nodes()
            yield ray.cluster_resources()
        finally:
            # Tune leaves references to Ray's objects in cycles. Were they collected by another thread (the W&B
            # writer's) while Ray shuts down, Ray would end this process on the spot.
            gc.collect()
            ray.shutdown()


def code() -> dict[str, object]:
    """The runtime environment of workers on other machines: our code, the user's own, and the versions to expect."""
    allowed = {consent.ALLOWED: os.environ[consent.ALLOWED]} if consent.ALLOWED in os.environ else {}
    variables = {**MALLOC, **versions.variable(), **allowed}
    return {"py_modules": user_code.to_send(), "excludes": LEFT_OUT, "env_vars": variables}


def check_nodes() -> None:
    """Raise SweepError if a node has other libraries than this process, or cannot import a user's own module.

    A node that joins later is checked by its workers, with `versions.check`.
    """
    own, mine = sorted(shelves.own_modules()), versions.here()
    answers = each_node(lambda: (versions.here(), _cannot_import(own)))
    differing = {
        node: differences for node, (theirs, _) in answers if (differences := versions.differences(mine, theirs))
    }
    if differing:
        raise SweepError(versions.refusal(differing))
    for node, (_, why) in answers:
        for module, error in why.items():
            raise SweepError(
                f"{node} cannot import '{module}': {error}. A user's own file or package is sent there with what lies "
                "beside it; install on every node whatever else it imports"
            )


def each_node(question: Callable[[], Answer], patience: float = PATIENCE) -> list[tuple[str, Answer]]:
    """(`node ADDRESS`, what the function returns there) for every node that is up; it reserves no CPU.

    A node that is lost meanwhile, or does not answer in time, is left out. Raises SweepError if the code cannot be sent
    to a node.
    """
    nodes = {node["NodeID"]: f"node {node['NodeManagerAddress']}" for node in ray.nodes() if node["Alive"]}
    remote = ray.remote(num_cpus=0, max_retries=0)(question)
    asked = {
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(): name
        for node, name in nodes.items()
    }
    answered, late = ray.wait(list(asked), num_returns=len(asked), timeout=patience)
    for one in late:
        ray.cancel(one, force=True)
    answers = []
    for one in answered:
        try:
            answers.append((asked[one], ray.get(one)))
        except (ray.exceptions.RuntimeEnvSetupError, ray.exceptions.RayTaskError) as error:
            raise SweepError(f"{asked[one]} cannot be used: {ray_failures.reason(error)}") from error
        except ray.exceptions.RayError:  # it went away
            continue
    return answers


def _cannot_import(modules: list[str]) -> dict[str, str]:
    """Module -> why it cannot be imported here."""
    why = {}
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - a user's module may raise anything, and all of it is reported
            why[module] = f"{type(error).__name__}: {error}"
    return why
