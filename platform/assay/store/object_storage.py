"""The files of a store in object storage: `s3://bucket/prefix` and `gs://bucket/prefix`, by the clients of pyarrow.

An object is there whole or not at all: a small one is one request, a large one appears when its last part was taken.
The clients repeat, with growing pauses, what the service refuses for a moment (503), what is cut off and what stalls.
"""

from __future__ import annotations

import datetime
import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from assay.errors import InputError, StoreError
from assay.store import error_messages
from assay.store.locks import lease
from assay.store.locks.conditional import ConditionalObjects

SCHEMES = ("s3", "gs")
ATTEMPTS = 6  # of a request that may succeed later, with growing pauses: half a minute if each is answered at once
CONNECT, STALLED = 10.0, 30.0  # seconds to reach the service, and without a byte from or to it
TOGETHER = 16  # requests at a time

Answer = TypeVar("Answer")


class Stamp(NamedTuple):
    """What a listing says of an object: its bytes, and when it was written, in nanoseconds of the epoch."""

    size: int
    changed: int


class ObjectFiles:
    """Objects below a prefix, by keys with slashes. Raises OSError as pyarrow does; see error_messages."""

    def __init__(self, url: str) -> None:
        self.scheme, _, rest = url.partition("://")
        self.bucket, _, prefix = rest.partition("/")
        if self.scheme not in SCHEMES:
            raise InputError(f"write a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, not {self.scheme}://")
        if not re.fullmatch(r"[\w.-]+", self.bucket) or set(prefix) & set("?#"):  # the URL may hold a secret: not shown
            raise InputError(
                f"write it as {self.scheme}://BUCKET/PREFIX; what else is needed to reach it comes from the "
                "environment (AWS_PROFILE, AWS_ENDPOINT_URL)"
            )
        self.prefix = "/".join([self.bucket, *_parts(prefix.strip("/"), url)])
        self.root = f"{self.scheme}://{self.prefix}"
        self.seen = False  # whether the bucket is known to exist

    def object(self, key: str) -> str:
        """`BUCKET/PREFIX/KEY`; raises InputError for a key that leaves the prefix."""
        return "/".join([self.prefix, *_parts(key, self.root)])

    def place(self, key: str) -> str:
        """The URL of a key."""
        return f"{self.scheme}://{self.object(key)}"

    def below(self, folder: str) -> str:
        """The root of a store in that folder."""
        return self.place(folder)

    def up(self, levels: int) -> str:
        """The root of the store so many folders above, the bucket at most."""
        kept = self.prefix.split("/")[:-levels]
        return f"{self.scheme}://{'/'.join(kept or [self.bucket])}"

    def do(self, work: Callable[[Any], Answer]) -> Answer:
        """What `work` makes of the client; with a new client, and so new credentials, where those had expired."""
        try:
            return self._once(work)
        except OSError as error:
            if not error_messages.expired(error):
                raise
        _client.cache_clear()
        return self._once(work)

    def _once(self, work: Callable[[Any], Answer]) -> Answer:
        from pyarrow.fs import FileSelector

        client = _client(self.scheme, self.bucket)
        try:
            return work(client)
        except OSError as error:
            if "No response body" in str(error):  # it was a HEAD; the answer to a listing says why
                client.get_file_info(FileSelector(self.prefix, allow_not_found=True))
            raise

    def exists(self, key: str) -> bool:
        """Whether there is an object of that key, or any below it."""
        return bool(self._info(self.object(key)).type)

    def _info(self, path: str) -> Any:
        return self.do(lambda client: client.get_file_info(path))

    def names(self, folder: str) -> list[str]:
        """The names in a folder; none where there is nothing below it."""
        start = len(self.object(folder)) + 1
        # The client for gs:// does not list a folder that is there only by what lies in it, so all below is asked for.
        listed = self._listed(folder, recursive=self.scheme == "gs")
        return list({info.path[start:].partition("/")[0] for info in listed} - {""})

    def walk(self, folder: str) -> list[str]:
        """The keys, from `folder` on, of all objects below it; raises StoreError for one that no folder can hold."""
        return list(self.listing(folder))

    def listing(self, folder: str = "") -> dict[str, Stamp]:
        """As `walk`, and of each object what the listing says."""
        start = len(self.object(folder)) + 1
        files = [info for info in self._listed(folder, recursive=True) if info.is_file]
        found = {info.path[start:]: Stamp(info.size, info.mtime_ns or 0) for info in files}
        for key in found:
            if not PurePosixPath(key).parts or {"", ".", ".."} & set(key.split("/")):
                raise StoreError(f"{self.place(folder)} holds an object named '{key}', as no folder can; delete it")
        return found

    def _listed(self, folder: str, recursive: bool) -> Any:
        from pyarrow.fs import FileSelector

        selector = FileSelector(self.object(folder), recursive=recursive, allow_not_found=True)
        entries = self.do(lambda client: client.get_file_info(selector))
        if not entries and not self.seen and not self._info(self.bucket).type:
            raise OSError(f"NO_SUCH_BUCKET: {self.bucket}")  # a listing alone does not tell it from an empty one
        self.seen = True
        return entries

    def modified(self, keys: Sequence[str]) -> dict[str, float]:
        """When each of these objects was last written, in seconds of the epoch; without those that are not there."""
        with ThreadPoolExecutor(TOGETHER) as pool:
            infos = list(pool.map(lambda key: self._info(self.object(key)), keys))
        return {key: info.mtime.timestamp() for key, info in zip(keys, infos, strict=True) if info.is_file}

    def stamps(self, folder: str) -> dict[str, tuple[int, float]]:
        """Name -> size and time of the last write of the objects right below a folder."""
        start = len(self.object(folder)) + 1
        files = [info for info in self._listed(folder, recursive=self.scheme == "gs") if info.is_file]
        return {n: (i.size, i.mtime.timestamp()) for i in files if "/" not in (n := i.path[start:])}

    def read(self, key: str) -> bytes:
        """The bytes of an object."""
        return self.do(lambda client: _read(client, self.object(key)))

    def write(self, key: str, content: bytes) -> None:
        """Write an object whole or not at all."""
        # In a thread, for Ctrl-C stops none: a stream that an exception closes is an object cut short there.
        with ThreadPoolExecutor(1) as pool:
            try:
                pool.submit(self.do, lambda client: _write(client, self.object(key), content)).result()
            except FileNotFoundError as error:
                raise OSError(f"NO_SUCH_BUCKET: {self.bucket}") from error

    def remove(self, key: str) -> None:
        """Remove an object if it is there."""
        with suppress(FileNotFoundError):
            self.do(lambda client: client.delete_file(self.object(key)))

    def fetch(self, folder: Path) -> None:
        """Copy all objects into a folder."""
        keys = self.walk("")

        def one(key: str) -> None:
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(key))

        with ThreadPoolExecutor(TOGETHER) as pool:
            list(pool.map(one, keys))

    @contextmanager
    def locked(self, key: str, what: str) -> Iterator[lease.Lease]:
        """Hold the lease of that key; see `lease`. Raises StoreError where another process holds it."""
        objects = ConditionalObjects(self.scheme, self.prefix)
        with lease.held(self, objects, key, what) as held:
            yield held


def _parts(key: str, root: str) -> list[str]:
    parts = [part for part in key.split("/") if part]
    if {".", ".."} & set(parts) or key.startswith("/"):
        raise InputError(f"'{key}' points outside the store {root}; use a plain name")
    return parts


@functools.lru_cache(maxsize=8)
def _client(scheme: str, bucket: str) -> Any:
    """The client of pyarrow, which finds credentials as all tools of that cloud do."""
    from pyarrow import fs

    if scheme == "gs":
        return fs.GcsFileSystem(retry_time_limit=datetime.timedelta(seconds=60))
    endpoint, region = address(bucket)
    return fs.S3FileSystem(
        **_credentials(),
        endpoint_override=endpoint,
        region=region,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        connect_timeout=CONNECT,
        request_timeout=STALLED,
        allow_delayed_open=True,  # a small object is one request, not three
        background_writes=True,  # without it, an upload of which a part fails is closed into an object cut short
    )


def address(bucket: str) -> tuple[str | None, str | None]:
    """Where a bucket of S3 is asked for: the URL of a service of the user's own, if any, and the region."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not endpoint:
        region = _region(bucket) or region  # where the bucket is counts, not where the user mostly works
    return endpoint or None, region


RENEWED = ("env", "config-file", "shared-credentials-file", "iam-role", "container-role")
"""How boto3 may have found credentials -> those that pyarrow finds as well, and renews by itself."""


def _credentials() -> dict[str, str]:
    """Those of a profile with a role or single sign-on, where boto3 is installed: pyarrow's own chain knows neither.

    They end after hours; `do` then makes a new client. Where boto3 can't get them, pyarrow's chain says why.
    """
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return {}
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return {}
    try:
        found = boto3.Session().get_credentials()
        if found is None or found.method in RENEWED:
            return {}
        keys = found.get_frozen_credentials()
    except (BotoCoreError, ClientError) as error:
        raise OSError(
            f"{error}; the profile's credentials cannot be had: say `aws sso login`, or look at it"
        ) from error
    return {"access_key": keys.access_key, "secret_key": keys.secret_key, "session_token": keys.token}


def _region(bucket: str) -> str | None:
    from pyarrow import fs

    try:
        return str(fs.resolve_s3_region(bucket))
    except OSError:  # no such bucket or no network: the request itself says so
        return None


def _read(client: Any, path: str) -> bytes:
    with client.open_input_stream(path) as stream:
        content: bytes = stream.read()
    return content


def _write(client: Any, path: str, content: bytes) -> None:
    with client.open_output_stream(path) as stream:
        stream.write(content)
