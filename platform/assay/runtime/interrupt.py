"""Ctrl-C and SIGTERM as a request to end properly."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

SIGNALS: dict[int, str] = {signal.SIGINT: "interrupt", signal.SIGTERM: "termination"}
"""Signal -> what a run calls it. Ctrl-C sends the first; `ray job stop`, Slurm and `docker stop` send the other."""


class Interruptible(Protocol):
    """A run that ends by itself soon after `interrupted` is no longer ""."""

    interrupted: str


class Terminated(KeyboardInterrupt):
    """SIGTERM came where work ends as by Ctrl-C."""


@contextmanager
def terminated() -> Iterator[None]:
    """SIGTERM ends the work in the block as Ctrl-C does, by Terminated; in another than the main thread nothing.

    To be entered once Ray is started, which sets a handler of its own that prints a stack of C++.
    """
    came = False

    def on_termination(number: int, frame: Any) -> None:
        nonlocal came
        came = True
        raise Terminated

    try:
        with _handled([signal.SIGTERM], on_termination):
            yield
    except KeyboardInterrupt:
        if came:  # Ray raises a plain KeyboardInterrupt in its place
            raise Terminated from None
        raise


@contextmanager
def noted_interrupt(run: Interruptible) -> Iterator[None]:
    """Note a Ctrl-C or SIGTERM in the run, for the time of the block; a second one ends it at once.

    In another than the main thread it does nothing.
    """

    def on_interrupt(number: int, frame: Any) -> None:
        if run.interrupted:
            raise KeyboardInterrupt
        run.interrupted = SIGNALS[number]

    with _handled(SIGNALS, on_interrupt):
        yield


@contextmanager
def _handled(numbers: Iterable[int], handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Signals go to that handler for the time of the block; Python tells only the main thread of them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)
