"""A lock in object storage, which has none: an object that says who holds it, renewed while he does.

Who comes later watches it for LAPSE seconds by his own clock, and no two machines' clocks are ever compared: where it
is renewed meanwhile he is refused, else its holder was killed and he takes it. A holder that was not able to renew it
for nearly that long looks before it writes, and ends if another one has it or had it.

The object is created, renewed and taken over by conditional requests (`conditional`), so of any number that begin in
the same moment one has it, and a former holder can't renew or give back what another one took. Where the service has
no such requests it is read, written and read again after SETTLE seconds, which is said once; then two that begin
within the same second, while a request of one of them is held up for longer than that, may both go on until the next
renewal. In neither case does the service know of the lock: a write that is under way when it lapses may still arrive.
Each run therefore writes to segments of the log of its own, and a log that two have written to is refused when read.
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
from typing import Any, NamedTuple, Protocol, TypedDict

from assay.errors import StoreError
from assay.store.locks.conditional import ChangedError, UnsupportedError

RENEW, LAPSE, SETTLE, LOOK = 10.0, 30.0, 1.0, 2.0  # seconds
FREE = b"{}"
"""The content of an object that nobody holds."""
log = logging.getLogger(__name__)


class Files(Protocol):
    """Where the lease lies, as all else that the store holds."""

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


class Objects(Protocol):
    """Objects with versions; see conditional.ConditionalObjects."""

    def read(self, key: str) -> tuple[bytes, Any] | None:
        """Content and version, None where there is none."""
        ...

    def put(self, key: str, content: bytes, version: Any, *, taking: bool = True) -> Any:
        """Write it if it has that version (None: if it is not there); raises ChangedError or UnsupportedError."""
        ...

    def free(self, key: str, version: Any, content: bytes) -> None:
        """Give it back if it has that version."""
        ...


class PlainObjects:
    """The same without conditional requests, nearly: the version of an object is its content."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def read(self, key: str) -> tuple[bytes, bytes] | None:
        """Content and version."""
        try:
            content = self.files.read(key)
        except FileNotFoundError:
            return None
        return content, content

    def put(self, key: str, content: bytes, version: bytes | None, *, taking: bool = True) -> bytes:
        """Look, write, and, when it is taken, look again SETTLE seconds later."""
        if not taking:
            self._require(key, version)
        self.files.write(key, content)
        if taking:
            time.sleep(SETTLE)
            self._require(key, content)
        return content

    def free(self, key: str, version: bytes, content: bytes) -> None:
        """Remove it."""
        self._require(key, version)
        self.files.remove(key)

    def _require(self, key: str, content: bytes | None) -> None:
        now = self.read(key)
        if (now[0] if now else None) != content:
            raise ChangedError


class Holder(TypedDict):
    """What the object says of the process that holds it. name: of this hold; time: ISO, when it was last renewed."""

    name: str
    host: str
    process: int | str
    time: str


class Seen(NamedTuple):
    """What the object says at one moment; no holder where nobody has it, no version where there is none."""

    holder: Holder | None
    version: Any


class Lease:
    """One process's hold on a key. Raises OSError where the storage does."""

    def __init__(self, objects: Objects, key: str, root: str, what: str) -> None:
        self.objects, self.key, self.root, self.what = objects, key, root, what
        self.name, self.renewed = uuid.uuid4().hex, 0.0
        self.version: Any = None
        self.lost = False
        self.ended = threading.Event()
        self.busy = threading.Lock()

    def take(self) -> None:
        """Wait until a former holder has lapsed; raises StoreError where he goes on, or another one was quicker."""
        first = now = self.look()
        if first.holder:
            log.warning(
                "%s was running on %s; waiting for %.0f s to see whether it still is",
                self.what, first.holder["host"], LAPSE,
            )  # fmt: skip
        until = time.monotonic() + LAPSE
        while now.holder and time.monotonic() < until:
            time.sleep(LOOK)
            now = self.look()
            if now.holder and now.holder != first.holder:
                raise self.refusal(now.holder)
        try:
            self.say(now.version, taking=True)
        except ChangedError as error:
            raise self.refusal(self.look().holder) from error

    def refusal(self, holder: Holder | None) -> StoreError:
        """That another one holds it."""
        said = (
            f"on {holder['host']}, process {holder['process']}, which said so last at {holder['time']}"
            if holder
            else "on another machine, which began in the same moment"
        )
        return StoreError(f"{self.what} is running in {self.root} ({said}); wait until it ends, or stop it")

    def look(self) -> Seen:
        """What the object says; one that can't be read is nobody's."""
        found = self.objects.read(self.key)
        if found is None:
            return Seen(None, None)
        with contextlib.suppress(ValueError, RecursionError):
            data = json.loads(found[0])
            if isinstance(data, dict) and data.keys() >= Holder.__required_keys__:
                return Seen(data, found[1])  # type: ignore[arg-type]
        return Seen(None, found[1])

    def say(self, version: Any, *, taking: bool = False) -> None:
        """Say that it is held, where it has that version; raises ChangedError where another one wrote it."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        about: Holder = {"name": self.name, "host": socket.gethostname(), "process": os.getpid(), "time": now}
        began = time.monotonic()  # others see it from then on, whenever the answer comes
        try:
            self.version = self.objects.put(self.key, json.dumps(about).encode(), version, taking=taking)
        except ChangedError:
            seen = self.look()
            if seen.holder is None or seen.holder["name"] != self.name:
                raise
            self.version = seen.version  # it was written, the answer was lost, and the second attempt refused
        self.renewed = began

    def renew(self) -> None:
        """Say again that it is held, unless another one took it."""
        with self.busy:
            if not self.lost and not self.ended.is_set():
                try:
                    self.say(self.version)
                except ChangedError:
                    self.lost = True

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

    def give_back(self) -> None:
        """Let others have it; one that can't be given back lapses by itself."""
        self.ended.set()
        with contextlib.suppress(OSError, ChangedError), self.busy:
            if not self.lost:
                self.objects.free(self.key, self.version, FREE)


_said: set[str] = set()
"""The roots of which it was said that they have no conditional requests."""


@contextmanager
def held(files: Files, objects: Objects, key: str, what: str) -> Iterator[Lease]:
    """Hold the lease for the time of the block: by `objects`, or by `files` where the service can't do it."""
    lease = Lease(objects, key, files.root, what)
    try:
        lease.take()
    except UnsupportedError as error:
        if files.root not in _said:
            _said.add(files.root)
            log.warning(
                "%s: locks there are as good as can be without conditional requests (%s): do not begin the same thing "
                "on two machines within the same second", files.root, str(error).splitlines()[0],
            )  # fmt: skip
        lease = Lease(PlainObjects(files), key, files.root, what)
        lease.take()
    thread = threading.Thread(target=lease.keep, name=f"lease {key}", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        lease.give_back()
