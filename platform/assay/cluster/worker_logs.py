"""What Ray's workers printed, kept in the store below `logs/`, with secrets removed: nodes end, and so do their disks.

Each worker writes its own log there now and then, so that of a node that is lost the last minute is missing at most;
at the end the driver asks the nodes that are left for what workers that died had printed.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import ray

from assay.cluster.connection import each_node
from assay.errors import AssayError
from assay.redaction import redacted

EVERY = 60.0
"""Seconds between two writes of one worker's log."""
NOTE = ".kept"
"""Ending of the file beside a worker's log that says in which folders of which stores it is kept."""
MOST = 1_000_000
"""Bytes kept of one file: its end."""
_OWN_LINES = re.compile(r"^:(?:job_id|actor_name|task_name):.*\n?", re.MULTILINE)
"""Marks of Ray's; a file of these alone says nothing."""

log = logging.getLogger(__name__)


class Files(Protocol):
    """A store, as far as logs need one."""

    @property
    def root(self) -> str:
        """Its folder or URL."""

    def write(self, key: str, content: bytes) -> None:
        """Write a file; may raise AssayError."""


class OwnLog:
    """The log of this worker, kept in a folder of the store, which is noted beside Ray's file for `keep_all`."""

    def __init__(self, store: Files, folder: str) -> None:
        self.store, self.folder = store, folder
        self.kept_at, self.sizes = float("-inf"), dict[Path, int]()
        for file in _own_files():
            # where it cannot be noted, the worker's own copies are left
            with contextlib.suppress(OSError), _note(file).open("a") as note:
                note.write(f"{_place(store, folder)}\n")

    def keep(self, *, now: bool = False) -> None:
        """Write what is new in it, at most once a minute unless `now`; trouble is no reason to end the work."""
        if not now and time.monotonic() - self.kept_at < EVERY:
            return
        self.kept_at = time.monotonic()
        for file in _own_files():
            size = file.stat().st_size if file.is_file() else 0
            if size != self.sizes.get(file, 0):
                self.sizes[file] = size
                _keep({file.name: _text(file)}, self.store, self.folder)


def keep_all(store: Files, folder: str) -> None:
    """Ask every node for the logs that this driver's workers keep in a folder, and write them; Ray must be connected.

    Another sweep or audit of the same driver, before or beside this one, has workers and a folder of its own.
    """
    job, place = ray.get_runtime_context().get_job_id(), _place(store, folder)
    try:
        for _, texts in each_node(lambda: _of_node(job, place)):
            _keep(texts, store, folder)
    except AssayError as error:  # a node whose code cannot be sent has run nothing
        log.info("logs of workers were not collected: %s", error)


def _of_node(job: str, place: str) -> dict[str, str]:
    """File name -> text, of the workers of a job on this node but those whose logs are kept elsewhere."""
    folder = next((file.parent for file in _own_files()), None)
    files = [file for file in folder.glob(f"worker-*-{job}-*") if file.suffix != NOTE] if folder else []
    return {file.name: _text(file) for file in files if place in _places(file, place)}


def _place(store: Files, folder: str) -> str:
    return f"{store.root}/{folder}"


def _note(file: Path) -> Path:
    """Where it is noted in which folders of which stores a log is kept."""
    return file.with_name(file.name + NOTE)


def _places(file: Path, otherwise: str) -> list[str]:
    try:
        return _note(file).read_text().splitlines()
    except OSError:  # a worker that died before it noted any
        return [otherwise]


def _own_files() -> Iterator[Path]:
    """Where this worker's output and errors go; none in a process that Ray did not start."""
    worker = ray._private.worker.global_worker  # no public way to them
    for path in (worker.get_out_file_path(), worker.get_err_file_path()):
        if path:
            yield Path(path)


def _text(file: Path) -> str:
    """The end of a file, without the secrets of this process; "" where it says nothing."""
    with contextlib.suppress(OSError), file.open("rb") as content:  # it may be gone
        content.seek(max(0, file.stat().st_size - MOST))
        text = content.read().decode(errors="replace")
        return redacted(text) if _OWN_LINES.sub("", text).strip() else ""
    return ""


def _keep(texts: Mapping[str, str], store: Files, folder: str) -> None:
    for name, text in texts.items():
        if text:
            try:
                store.write(f"{folder}/{name}", redacted(text).encode())
            except AssayError as error:
                log.info("the log %s was not kept: %s", name, error)
