"""What Ray's errors mean: the kind of failure, and the cause in a line for a person who can do something about it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import ray

from assay.redaction import redacted
from assay.runtime import retry

ENDS_IN_REASON = ("cause", "error_message", "actor_init_failed")
"""Attributes of the errors of Ray whose text ends with the cause; the text of the others begins with it."""

OF_A_NODE = (ray.exceptions.ActorUnavailableError, ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError)


def reason(error: BaseException) -> str:
    """The cause that Ray buried in its messages."""
    texts = [f"{type(one).__name__}: {one}" for one in _chain(error)]
    whole = "\n".join(texts)
    if "AuthenticationError" in whole or "InvalidAuthToken" in whole:
        return (
            "its token is missing here or is another one; bring ~/.ray/auth_token from the machine that started the "
            "cluster (or set RAY_AUTH_TOKEN to its content), and export RAY_AUTH_MODE=token"
        )
    if "Version mismatch" in whole:
        theirs, ours = (dict(re.findall(r"(Ray|Python): (\S+)", part)) for part in _sides(whole))
        differ = [f"{name} {theirs[name]}, here {ours[name]}" for name in theirs if theirs[name] != ours.get(name)]
        return f"it runs {' and '.join(differ)}; install the same on both"
    if "exceeds the maximum size" in whole:
        package = re.search(r"Failed to upload module (\S+)", whole)
        size = re.search(r"Package size \(([^)]*)\) exceeds the maximum size of ([\d.]+\s?\w+)", whole)
        return (
            f"the code in {package[1] if package else 'a package'} is {size[1] if size else 'too large'}, and at most "
            f"{size[2] if size else '512 MiB'} can be sent to workers; keep data elsewhere, or name it in a "
            ".rayignore in that folder, which is written as a .gitignore"
        )
    if "timed out during startup" in whole or "Timed out waiting for file" in whole:
        return (
            "its processes did not start in time. Unless the machine is just busy, they may have too little memory, "
            "too few processes (`ulimit -u`) or open files (`ulimit -n`), or no room where RAY_TMPDIR or TMPDIR says; "
            "their logs are there, too, in assay-ray-*/session_latest/logs"
        )
    if isinstance(error, ConnectionError | TimeoutError) or "waiting for GCS to become available" in whole:
        return "nothing answers there; give its HOST:PORT (the port is 6379 unless `ray start` was given another)"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # The errors of tasks, actors and their environments begin with a traceback, and end in what was raised.
    return lines[-1] if any(getattr(error, name, False) for name in ENDS_IN_REASON) else lines[0]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _sides(text: str) -> tuple[str, str]:
    """What Ray says about the cluster and about this process."""
    cluster, _, process = text.partition("Version mismatch")[2].partition("This process")
    return cluster, process


def kind(error: BaseException) -> str:
    """The kind of failure: that of the exception if the work itself raised one, else that of what it ran on."""
    if isinstance(error, ray.exceptions.RayTaskError):
        return retry.kind(error.cause)
    if never_began(error):
        return "worker"  # what works on one machine may fail on another that is sick
    if isinstance(error, ray.exceptions.OutOfMemoryError) or "running low on memory" in str(error):
        return "host_memory"  # Ray's memory monitor ended the process
    if isinstance(error, OF_A_NODE) or getattr(error, "preempted", False) or "node has died" in str(error):
        return "node"
    return "worker"


def never_began(error: BaseException) -> bool:
    """Whether the code could not be sent to the machine, or the worker raised before it could report anything."""
    return getattr(error, "actor_init_failed", False) or isinstance(error, ray.exceptions.RuntimeEnvSetupError)


def message(error: BaseException) -> str:
    """What happened, for a person."""
    if getattr(error, "preempted", False):
        return "the machine was pre-empted"
    if never_began(error):
        return f"the worker could not begin: {redacted(reason(error))}"
    return {
        "host_memory": "Ray ended the worker process because the machine ran out of memory",
        "node": "the machine was lost, or cannot be reached",
        "worker": "the worker process died; look for out-of-memory in the logs",
    }.get(kind(error), redacted(reason(error)))
