"""What went wrong with a store, in words: why, and what to do. The same command then goes on where it stopped."""

from __future__ import annotations

import errno
import os
from pathlib import Path

AGAIN = "then run the same command again, what was written is kept"
KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role of the machine"
CODES = (
    (("ExpiredToken", "EXPIRED_TOKEN", "TokenRefreshRequired", "RequestExpired", "invalid_grant"),
     f"the credentials have expired; renew them (aws sso login, or new AWS_* variables), {AGAIN}"),
    (("INVALID_ACCESS_KEY_ID", "InvalidAccessKeyId", "InvalidToken", "INVALID_CLIENT_TOKEN", "UNRECOGNIZED_CLIENT"),
     f"the service does not know this access key; look at {KEYS}, {AGAIN}"),
    (("SIGNATURE_DOES_NOT_MATCH", "SignatureDoesNotMatch"),
     f"the secret does not fit the access key; look at {KEYS}, {AGAIN}"),
    (("REQUEST_TIME_TOO_SKEWED", "RequestTimeTooSkewed"),
     f"this machine's clock is wrong, so its requests are refused; set it, {AGAIN}"),
    (("NO_SUCH_BUCKET", "NoSuchBucket"), "there is no such bucket; make it, or give another place with --store"),
    (("INVALID_BUCKET", "InvalidBucketName"), "this cannot be the name of a bucket; give another place with --store"),
    (("PermanentRedirect", "AuthorizationHeaderMalformed", "HTTP status 301", "IllegalLocationConstraint",
      "incorrectly configured region"),
     f"the bucket is in another region than was asked; set AWS_REGION to the bucket's, {AGAIN}"),
    (("SLOW_DOWN", "SERVICE_UNAVAILABLE", "THROTTLING", "HTTP status 503", "HTTP status 429", "INTERNAL_FAILURE",
      "HTTP status 500", "HTTP status 502", "HTTP status 504", "REQUEST_TIMEOUT", "status code: 500",
      "status code: 502", "status code: 503", "status code: 504", "status code: 429"),
     "the service asks to slow down or fails, and did so at every attempt; wait a little, " + AGAIN),
    (("InsufficientStorage", "HTTP status 507", "QuotaExceeded"),
     f"no space left there; free some or raise the quota, {AGAIN}"),
    (("OAuth2 access token", "UNAUTHENTICATED"),
     f"no credentials of Google Cloud that could be used; set GOOGLE_APPLICATION_CREDENTIALS, or say gcloud auth "
     f"application-default login, {AGAIN}"),
    (("NETWORK_CONNECTION", "curlCode", "Could not resolve", "UNAVAILABLE", "DEADLINE_EXCEEDED",
      "error sending request"),
     f"the service cannot be reached, or the connection stalls, at every attempt; look at the network and at "
     f"AWS_ENDPOINT_URL, {AGAIN}"),
)  # fmt: skip
"""What an error of object storage contains -> what to tell the user; the first that fits."""

DENIED = ("ACCESS_DENIED", "AccessDenied", "HTTP status 403", "HTTP status 401", "PERMISSION_DENIED",
          "status code: 403", "status code: 401")  # fmt: skip


def advice(error: OSError) -> str:
    """Why an error of a local store came, and what to do."""
    if error.errno == errno.ENOSPC:
        return "no space left on the disk; free some and run the same command again, what was written is kept"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "not allowed to read or write here; give another folder with --store or change its permissions"
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return "a file is where a folder is wanted, or a folder where a file is; give another folder with --store"
    if error.errno == errno.ENOENT:
        return "there is no such file; look at what the store holds with `assay trials` or `ls`"
    return f"{error.strerror or error}; check the disk, then run the same command again"


def of_object_storage(error: OSError) -> str:
    """Why an error of object storage came, and what to do."""
    text = str(error)
    if error.errno in (errno.ENOSPC, errno.EISDIR, errno.ENOTDIR, errno.EEXIST):  # of the copy on this machine
        return advice(error)
    if isinstance(error, FileNotFoundError):
        return "there is no such object; look at what the store holds with `assay trials` or `assay models`"
    for codes, message in CODES:
        if any(code in text for code in codes):
            return message
    if any(code in text for code in DENIED):
        if any(code in text for code in DENIED[:2]) and no_credentials():
            return f"not allowed, and no credentials were found; set {KEYS}, {AGAIN}"
        did = text.partition(" during ")[2].partition(" operation")[0]
        return (
            f"not allowed{f' ({did})' if did else ''}: the credentials may not do this; Assay needs to list, read, "
            f"write and delete below its prefix. Change the policy of the bucket or the role, {AGAIN}"
        )
    return f"{text.splitlines()[0]}; {AGAIN}"


def of_images(error: OSError) -> str:
    """Why an error about images in object storage came, and what to do."""
    text = str(error)
    if "NO_SUCH_BUCKET" in text:
        return "there is no such bucket; look at the dataset's root, or make the bucket"
    if any(code in text for code in ("INVALID_BUCKET", "InvalidBucketName")):
        return "this cannot be the name of a bucket; look at the dataset's root"
    if isinstance(error, FileNotFoundError):
        return f"an object was deleted while the images were read; {AGAIN}"
    return of_object_storage(error).replace(
        "Assay needs to list, read, write and delete below its prefix",
        "images have to be listed and read below the root, and written by `assay data push`",
    )


def expired(error: OSError) -> bool:
    """Whether newer credentials may help: those of a profile or a role are renewed while a command runs."""
    return any(code in str(error) for code in CODES[0][0])


def no_credentials() -> bool:
    """Whether neither the environment nor a file of the user names any credentials for S3."""
    files = (
        Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser(),
        Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser(),
    )
    named = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
             "AWS_CONTAINER_CREDENTIALS_FULL_URI")  # fmt: skip
    return not any(map(os.environ.get, named)) and not any(path.is_file() for path in files)
