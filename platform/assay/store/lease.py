"""A lock in object storage, which has none: an object that says who holds it, renewed while he does.

Who comes later watches it for LAPSE seconds by his own clock: where it is renewed meanwhile he is refused, else its
holder was killed and he takes it. A holder that was not able to renew it for nearly that long looks before it writes,
and ends if another one has it or had it. It cannot promise what a real lock can: two that begin within the same
second, while a request of one of them is held up for longer than SETTLE, may both go on until the next renewal, and a
write that is under way when the lease lapses may still arrive. Each run writes to segments of the log of its own, and
a log that two have written to is refused when it is read.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypedDict, cast

from assay.errors import StoreError

RENEW, LAPSE, SETTLE, LOOK = 10.0, 30.0, 1.0, 2.0  # seconds


class Files(Protocol):
    """Where the lease lies."""

    root: str

    def read(self, key: str) -> bytes:
        """The bytes of an object; raises FileNotFoundError."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Write an object."""
        ...

    def remove(self, key: str) -> None:
        """Remove an object if it is there."""
        ...


class Holder(TypedDict):
    """What the object says of the process that holds it. name: of this hold; time: ISO, when it was last renewed."""

    name: str
    host: str
    process: int | str
    time: str


class Lease:
    """One process's hold on a key. Raises OSError where the storage does."""

    def __init__(self, files: Files, key: str, what: str) -> None:
        self.files, self.key, self.what = files, key, what
        self.name, self.renewed = uuid.uuid4().hex, 0.0
        self.lost = False
        self.ended = threading.Event()
        self.busy = threading.Lock()

    def take(self) -> None:
        """Wait until a former holder has lapsed; raises StoreError where he goes on."""
        first = self.holder()
        if first:
            logging.getLogger(__name__).warning(
                "%s was running on %s; waiting for %.0f s to see whether it still is", self.what, first["host"], LAPSE
            )
        until = time.monotonic() + LAPSE
        while first and time.monotonic() < until:
            time.sleep(LOOK)
            now = self.holder()
            if now is None:
                break
            if now != first:
                raise self.refusal(now)
        self.write()
        time.sleep(SETTLE)
        now = self.holder()
        if now is None or now["name"] != self.name:
            raise self.refusal(now or {"name": "?", "host": "another machine", "process": "?", "time": "?"})

    def refusal(self, holder: Holder) -> StoreError:
        """That another one holds it."""
        who = f"on {holder['host']}, process {holder['process']}, which said so last at {holder['time']}"
        return StoreError(f"{self.what} is running in {self.files.root} ({who}); wait until it ends, or stop it")

    def holder(self) -> Holder | None:
        """What the object says; None where there is none, or none that can be read."""
        try:
            data = json.loads(self.files.read(self.key))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        return cast(Holder, data) if isinstance(data, dict) and data.keys() >= Holder.__required_keys__ else None

    def write(self) -> None:
        """Say that it is held."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        about: Holder = {"name": self.name, "host": socket.gethostname(), "process": os.getpid(), "time": now}
        began = time.monotonic()  # others see it from then on, whenever the answer comes
        self.files.write(self.key, json.dumps(about).encode())
        self.renewed = began

    def renew(self) -> None:
        """Say again that it is held, unless another one took it."""
        with self.busy:
            now = self.holder()
            self.lost = self.lost or now is None or now["name"] != self.name  # gone: another one had it, and has ended
            if not self.lost and not self.ended.is_set():
                self.write()

    def confirm(self) -> None:
        """Raise StoreError where another process took over: this one was stopped, or cut off, for too long."""
        if not self.lost and time.monotonic() - self.renewed > LAPSE - RENEW:
            self.renew()
        if self.lost:
            raise StoreError(
                f"{self.what} was taken over by another process, as this one had not been heard of for {LAPSE:.0f} s; "
                "this one ends, nothing is lost"
            )

    def keep(self) -> None:
        """Renew it until it has ended."""
        while not self.ended.wait(RENEW) and not self.lost:
            with contextlib.suppress(OSError):  # tried again; until then `confirm` asks before every write
                self.renew()


@contextmanager
def held(files: Files, key: str, what: str) -> Iterator[Lease]:
    """Hold the lease for the time of the block."""
    lease = Lease(files, key, what)
    lease.take()
    thread = threading.Thread(target=lease.keep, name=f"lease {key}", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        lease.ended.set()
        with contextlib.suppress(OSError), lease.busy:  # it lapses by itself
            if not lease.lost:
                files.remove(key)
