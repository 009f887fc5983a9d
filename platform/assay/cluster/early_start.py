"""A local Ray cluster that starts while its driver still imports and reads.

Of the three or four seconds that Ray takes it waits for most, and a sweep that is resumed has much to read meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

_started: Future[dict[str, float]] | None = None


@contextmanager
def begun() -> Iterator[None]:
    """A local cluster for the time of the block, which does not wait for it: `cluster.connected` inside does."""
    global _started
    started, over = Future[dict[str, float]](), threading.Event()
    # One thread from its start to its end: Linux ends Ray's processes with the thread that started them.
    holder = threading.Thread(target=_hold, args=(started, over), name="early start of Ray")
    _started = started
    holder.start()
    try:
        yield
    finally:
        _started = None
        over.set()
        holder.join()


def cluster() -> Future[dict[str, float]] | None:
    """The resources of the cluster that was begun, once it is there, or the error why it is not; None without one."""
    return _started


def _hold(started: Future[dict[str, float]], over: threading.Event) -> None:
    try:
        from assay.cluster.connection import connected_alone

        with connected_alone() as resources:
            started.set_result(resources)
            over.wait()
    except BaseException as error:  # also if Ray wants to end the process: whoever waits would wait for ever
        if started.done():
            raise
        started.set_exception(error)
