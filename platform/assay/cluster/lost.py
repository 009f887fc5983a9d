"""What Ray raises when work came to nothing, as a kind of failure."""

from __future__ import annotations

import ray

from assay.cluster import ray_failures
from assay.redaction import redacted
from assay.runtime import failures

OF_A_NODE = (ray.exceptions.ActorUnavailableError, ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError)


def kind(error: BaseException) -> str:
    """The kind of failure: of the work itself where it raised, else of what it ran on."""
    if isinstance(error, ray.exceptions.RayTaskError):
        return failures.kind(error.cause)
    if never_began(error):
        return "worker"  # what works on one machine may fail on another that is sick
    if isinstance(error, ray.exceptions.OutOfMemoryError) or "running low on memory" in str(error):
        return "host_memory"  # Ray's memory monitor ended the process
    if isinstance(error, OF_A_NODE) or getattr(error, "preempted", False) or "node has died" in str(error):
        return "node"
    return "worker"


def never_began(error: BaseException) -> bool:
    """Whether the code could not be brought to the machine, or the worker raised before it could say so in a report."""
    return getattr(error, "actor_init_failed", False) or isinstance(error, ray.exceptions.RuntimeEnvSetupError)


def told(error: BaseException) -> str:
    """What happened, for a person."""
    if getattr(error, "preempted", False):
        return "the machine was pre-empted"
    if never_began(error):
        return f"the worker could not begin: {redacted(ray_failures.reason(error))}"
    return {
        "host_memory": "Ray ended the worker process because the machine ran out of memory",
        "node": "the machine was lost, or cannot be reached",
        "worker": "the worker process died; look for out-of-memory in the logs",
    }.get(kind(error), redacted(ray_failures.reason(error)))
