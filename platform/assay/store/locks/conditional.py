"""Objects that are written only where they are as they were read: create-if-absent and compare-and-swap, by obstore.

pyarrow's clients, which do all else, have no conditional requests; obstore has them, but reads fewer kinds of
credentials (profiles of AWS only by boto3, none of Google's federated ones). A service that refuses such requests, or
takes them and does not keep to them, as older ones do, is found out when an object is created; UnsupportedError says
why.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from assay.store import error_messages

ATTEMPTS = 6
WAIT, PATIENCE = timedelta(seconds=10), timedelta(seconds=60)  # for an answer; for all attempts together
REFUSALS = (
    "status code: 501",
    "status code: 405",
    "NotImplemented",
    "MethodNotAllowed",
    "token request",
    "credential error",
)
"""What an error contains where the service knows no such request, or obstore finds no credentials of Google's."""


class ChangedError(Exception):
    """Somebody else wrote the object since it was read."""


class UnsupportedError(OSError):
    """The service, or what is installed here, can't do it; the text says why."""


class ConditionalObjects:
    """Objects below a prefix (`BUCKET/PREFIX`), by keys with slashes. Raises OSError where a request fails.

    A version is what the service calls it (its ETag or generation), as `read` and `put` return it.
    """

    def __init__(self, scheme: str, prefix: str) -> None:
        bucket, _, self.prefix = prefix.partition("/")
        self.place = (scheme, bucket)

    def read(self, key: str) -> tuple[bytes, Any] | None:
        """The content and the version of an object; None where there is none."""
        import obstore

        try:
            found = self._do(obstore.get, key)
            return bytes(found.bytes()), _version(found.meta)
        except FileNotFoundError:
            return None

    def put(self, key: str, content: bytes, version: Any, *, taking: bool = True) -> Any:
        """Write an object that has this version still, or, for None, is not there; returns its new version.

        Raises ChangedError where it is not so, UnsupportedError where the service can't tell. taking: of no meaning.
        """
        import obstore

        mode = version if version is not None else "create"
        try:
            made = _version(self._do(obstore.put, key, content, use_multipart=False, mode=mode))
        except FileNotFoundError as error:
            raise OSError("NO_SUCH_BUCKET") from error
        if version is None and self.place not in _proved:
            try:
                self._do(obstore.put, key, content, use_multipart=False, mode="create")
            except ChangedError:
                _proved.add(self.place)
            else:
                self._do(obstore.delete, key)
                raise UnsupportedError("it ignores the condition of a conditional request")
        return made

    def free(self, key: str, version: Any, content: bytes) -> None:
        """Put `content` in the place of what had this version; raises ChangedError as `put` does.

        Nothing is deleted: a service may delete what somebody else wrote meanwhile.
        """
        self.put(key, content, version)

    def _do(self, work: Any, key: str, *args: Any, **options: Any) -> Any:
        """The answer; with a new client, and so new credentials, where those had expired."""
        try:
            return self._once(work, key, *args, **options)
        except OSError as error:
            if not error_messages.expired(error):
                raise
        _client.cache_clear()
        return self._once(work, key, *args, **options)

    def _once(self, work: Any, key: str, *args: Any, **options: Any) -> Any:
        from obstore import exceptions

        try:
            return work(_client(*self.place), f"{self.prefix}/{key}".lstrip("/"), *args, **options)
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
            raise ChangedError from error
        except exceptions.BaseError as error:
            text = str(error).partition("\n\nDebug")[0]
            if isinstance(error, exceptions.NotSupportedError) or any(word in text for word in REFUSALS):
                raise UnsupportedError(text.rpartition(" - ")[2].partition(": <")[0]) from error
            raise OSError(text) from error


_proved: set[tuple[str, str]] = set()
"""Scheme and bucket of the services that were seen to keep to the condition."""


def _version(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in ("e_tag", "version") if told.get(name) is not None}


@functools.lru_cache(maxsize=8)
def _client(scheme: str, bucket: str) -> Any:
    """The client of a bucket, with the credentials that pyarrow's has; raises UnsupportedError where it can't have."""
    from obstore.store import GCSStore, S3Store

    from assay.store import object_storage

    patience: dict[str, Any] = {
        "client_options": {"connect_timeout": WAIT, "timeout": WAIT},
        "retry_config": {"max_retries": ATTEMPTS - 1, "retry_timeout": PATIENCE},
    }
    if scheme == "gs":
        patience["client_options"]["allow_http"] = True  # where a service of one's own is asked, by its account's file
        return GCSStore(bucket, **patience)
    endpoint, region = object_storage.address(bucket)
    if endpoint:
        patience["client_options"]["allow_http"] = endpoint.startswith("http://")
    return S3Store(bucket, endpoint=endpoint, region=region, credential_provider=_credentials(), **patience)


def _credentials() -> Any:
    """What boto3 finds, renewed as it renews it; None where the environment has a key, which obstore reads itself."""
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise UnsupportedError("boto3 is not installed, which finds the credentials for it") from error
    try:
        return Boto3CredentialProvider()
    except ValueError as error:
        raise UnsupportedError("no credentials were found for it") from error
