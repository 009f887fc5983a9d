"""The connection to a W&B server: the account, runs under our own ids, and what has arrived."""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from assay.errors import AssayError, TrackingError
from assay.hashing import canonical, digest
from assay.tracking import user_settings

FORMAT = 1  # of the runs; another number sends everything again
CONTENT = "assay/content"  # a run's summary says under this name what it was made of
TIMEOUT = 15  # seconds for an answer
ARRIVAL = 20.0  # seconds until what the server accepted can be read back
LEAVING = 60.0  # seconds for W&B's own process to end
SETTINGS: Mapping[str, object] = {
    "silent": True,
    "console": "off",
    "host": "",  # no name of a host, a program or a user; versions and commit are in the store's own files
    "program": "assay",
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "disable_git": True,
    "disable_code": True,
    "disable_job_creation": True,
    "init_timeout": 30,
    "finish_timeout": 60,
    "x_graphql_retry_max": 2,
    "x_graphql_retry_wait_min_seconds": 0.5,
    "x_graphql_retry_wait_max_seconds": 2,
    "x_graphql_timeout_seconds": TIMEOUT,
    "x_file_stream_retry_max": 2,
    "x_file_stream_retry_wait_min_seconds": 0.5,
    "x_file_stream_retry_wait_max_seconds": 2,
    "x_file_stream_timeout_seconds": TIMEOUT,
    "x_file_transfer_retry_max": 2,
    "x_file_transfer_retry_wait_min_seconds": 0.5,
    "x_file_transfer_retry_wait_max_seconds": 2,
}


def content_of(value: Any) -> str:
    """The hash of what a run is made of: the same for the same content, whenever it is sent."""
    return digest(canonical([FORMAT, value]))


def run_id(*parts: Any) -> str:
    """The id of a run, the same whenever it is sent."""
    return digest(canonical(parts))[:16]


@dataclass(frozen=True)
class Connection:
    """A project on a server, and the way to it. Everything raises TrackingError."""

    api: Any
    server: str
    app: str  # the address for people
    entity: str
    project: str
    folder: str

    @property
    def path(self) -> str:
        """`entity/project`."""
        return f"{self.entity}/{self.project}"

    @property
    def url(self) -> str:
        """The page of the project."""
        return f"{self.app}/{self.path}"

    def start(self, run: str, name: str, group: str, kind: str, config: Mapping[str, object]) -> Any:
        """A new run of that id; an existing one is overwritten from its beginning."""
        import wandb

        with tracking_errors(self.server):
            return wandb.init(
                entity=self.entity,
                project=self.project,
                id=run,
                name=name,
                group=group,
                job_type=kind,
                config=dict(config),
                dir=self.folder,
                mode="online",
                reinit="create_new",
                settings=wandb.Settings(**SETTINGS),
            )

    def finish(self, run: Any, content: str, summary: Mapping[str, object], failed: bool = False) -> None:
        """Write the summary and end the run."""
        with tracking_errors(self.server):
            run.summary.update({**summary, CONTENT: content})
            run.finish(exit_code=int(failed))

    def arrived(self, contents: Mapping[str, str], wait: bool = False) -> dict[str, str]:
        """Those of the runs (id -> content) that the server confirms it has in full."""
        until = time.monotonic() + (ARRIVAL if wait else 0)
        there: dict[str, str] = {}
        while contents:
            with tracking_errors(self.server):
                self.api.flush()
                runs = self.api.runs(self.path, {"name": {"$in": list(contents)}}, per_page=200, lazy=False)
                there = {run.id: contents[run.id] for run in runs if run.summary.get(CONTENT) == contents[run.id]}
            if len(there) == len(contents) or time.monotonic() > until:
                break
            time.sleep(1)
        return there


@contextmanager
def connected(project: str, entity: str | None = None) -> Iterator[Connection]:
    """The project on W&B, entity the key's own by default; raises TrackingError where the server or the key fails."""
    server = user_settings.server()
    if not user_settings.has_key():
        raise TrackingError(f"there is no key for {server or 'W&B'}; run `wandb login` or set WANDB_API_KEY")
    import wandb

    server = server or wandb.Settings().base_url

    with tempfile.TemporaryDirectory(prefix="assay-wandb-", ignore_cleanup_errors=True) as folder, scratch(folder):
        try:
            with tracking_errors(server):
                settings = wandb.Settings(base_url=server, project=project, **SETTINGS)
                wandb.setup(settings=settings)
                api = wandb.Api(timeout=TIMEOUT)
                owner = entity or os.environ.get("WANDB_ENTITY") or user_settings.noted("entity") or api.default_entity
            if not owner:
                raise TrackingError(f"the key for {server} has no default entity; set WANDB_ENTITY to a user or team")
            yield Connection(api, server, settings.app_url, str(owner), project, folder)
        finally:
            leaving = threading.Thread(target=wandb.teardown, name="W&B ends", daemon=True)
            leaving.start()
            leaving.join(LEAVING)  # everything was sent or given up by now, and W&B's process can hang as it ends


@contextmanager
def scratch(folder: str) -> Iterator[None]:
    """W&B's own files go to a temporary folder, and it reports no errors to anybody."""
    names = ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR")
    ours = {**dict.fromkeys(names, folder), "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def tracking_errors(server: str) -> Iterator[None]:
    """Turn whatever W&B raises into a TrackingError that says what is wrong with the server or the key."""
    try:
        yield
    except AssayError:
        raise
    except Exception as error:  # W&B raises errors of many kinds, and none may stop a run
        raise TrackingError(reason(server, str(error) or type(error).__name__)) from error


def reason(server: str, text: str) -> str:
    """The cause in W&B's own message, phrased for a person."""
    if status := re.search(r"HTTP (5\d\d)", text):
        return f"the W&B server {server} answered with an error (HTTP {status[1]})"
    if cause := re.search(r"connection refused|no such host|network is unreachable|certificate[^\n]*", text):
        return f"the W&B server {server} cannot be reached ({cause[0]})"
    if re.search(r"in time|timed? ?out|deadline exceeded", text, re.IGNORECASE):
        return f"the W&B server {server} did not answer in time"
    if re.search(r"not logged in|HTTP 40[13]|API key|permission|credentials", text, re.IGNORECASE):
        answer = text.splitlines()[-1].rpartition(f"{server}: ")[2]
        return (
            f"the W&B server {server} refuses the key ({answer}); run `wandb login --relogin` or correct WANDB_API_KEY"
        )
    return f"the W&B server {server}: {text.splitlines()[-1]}"
