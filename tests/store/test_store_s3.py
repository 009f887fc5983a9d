"""A store in object storage: nothing half-written is ever seen, what fails is tried again, then said in words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest
from s3_server import SECRET, cut, error, expired_unless, stall

from assay.errors import StoreError
from assay.store import object_storage, trial_log
from assay.store.store import Store
from assay.store.trial_log import TrialLog

AGAIN = "then run the same command again, what was written is kept"
BIG = os.urandom(1) * 25_000_000  # three parts of an upload
PATIENCE = 120


@pytest.fixture
def store(s3) -> Store:
    return Store(f"s3://{s3.bucket()}/prefix")


@pytest.fixture
def hasty(monkeypatch):
    """Fewer attempts and shorter waits than a user has."""
    monkeypatch.setattr(object_storage, "ATTEMPTS", 2)
    monkeypatch.setattr(object_storage, "CONNECT", 3.0)
    monkeypatch.setattr(object_storage, "STALLED", 3.0)  # long enough for a busy machine to answer in


def uploads(s3, store) -> int:
    """How many uploads were begun and neither ended nor given up."""
    found = s3.client().list_multipart_uploads(Bucket=store.root.split("/")[2])
    return len(found.get("Uploads", []))


# What fails for a moment


def test_what_the_service_refuses_for_a_moment_is_tried_again(store, s3):
    s3.faults.append(error(503, "SlowDown", times=2))
    store.write("a", b"x")
    s3.faults.append(error(500, "InternalError", times=1))
    assert store.read("a") == b"x"


def test_a_connection_that_is_cut_is_tried_again(store, s3):
    s3.faults.append(cut(times=2))
    store.write("a", b"x")
    s3.faults.append(cut(times=1, method="GET"))
    assert store.read("a") == b"x"


def test_an_upload_that_stalls_is_tried_again(store, s3, hasty):
    s3.faults.append(stall(5, times=1))
    store.write("a", b"x")
    s3.faults.append(stall(5, times=1, contains="partNumber=2"))
    store.write("big", BIG)
    assert store.read("big") == BIG


# What goes on failing


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (error(503, "SlowDown"), "the service asks to slow down or fails, and did so at every attempt"),
        (cut(), "the service cannot be reached, or the connection stalls, at every attempt"),
        (stall(5), "the service cannot be reached, or the connection stalls, at every attempt"),
        (error(403, "AccessDenied"), "not allowed (PutObject): the credentials may not do this"),
        (error(403, "InvalidAccessKeyId"), "the service does not know this access key; look at AWS_ACCESS_KEY_ID"),
        (error(403, "SignatureDoesNotMatch"), "the secret does not fit the access key"),
        (error(400, "ExpiredToken"), "the credentials have expired; renew them"),
        (error(403, "RequestTimeTooSkewed"), "this machine's clock is wrong, so its requests are refused; set it"),
        (error(301, "PermanentRedirect"), "the bucket is in another region than was asked; set AWS_REGION"),
        (error(507, "InsufficientStorage"), "no space left there; free some or raise the quota"),
        (error(418, "Teapot"), "Teapot"),
    ],
)
def test_an_error_says_what_where_and_what_to_do(store, s3, hasty, fault, told):
    s3.faults.append(fault)
    with pytest.raises(StoreError, match=re.escape(told)) as caught:
        store.write("models/a", b"x")
    assert str(caught.value).startswith(f"{store.root}/models/a: ")
    assert str(caught.value).endswith(AGAIN)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("action", ["read", "exists", "names", "walk", "remove"])
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (error(503, "SlowDown"), "the service asks to slow down"),
        (error(403, "AccessDenied"), "the credentials may not do this"),
        (error(400, "ExpiredToken"), "the credentials have expired"),
    ],
)
def test_whatever_is_done_the_reason_is_told(store, s3, hasty, action, fault, told):
    store.write("a", b"x")
    s3.faults.append(fault)
    with pytest.raises(StoreError, match=told):
        getattr(store, action)("a")


def test_a_missing_bucket_is_told_from_an_empty_one(s3):
    for action in (lambda s: s.names("models"), lambda s: s.write("a", b""), lambda s: s.require_writable()):
        with pytest.raises(StoreError, match="there is no such bucket; make it, or give another place with --store"):
            action(Store("s3://nowhere-to-be-found/x"))
    assert Store(f"s3://{s3.bucket()}").names("models") == []


def test_without_credentials_that_is_said(store, s3, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    object_storage._client.cache_clear()
    s3.faults.append(lambda proxy: not proxy.headers.get("Authorization") and error(403, "AccessDenied")(proxy))
    with pytest.raises(StoreError, match="not allowed, and no credentials were found; set AWS_ACCESS_KEY_ID and"):
        store.write("a", b"x")


def test_without_a_network_it_is_known_within_seconds(store, monkeypatch):
    monkeypatch.setattr(object_storage, "ATTEMPTS", 3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    object_storage._client.cache_clear()
    with pytest.raises(StoreError, match=r"cannot be reached.*look at the network and at AWS_ENDPOINT_URL"):
        store.require_writable()


def test_credentials_that_are_renewed_while_a_command_runs_are_taken_up(store, s3, tmp_path, monkeypatch):
    """As those of a profile are by `aws sso login`; the client holds what it read at its beginning."""

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    file.write_text("[default]\naws_access_key_id = old\naws_secret_access_key = x\n")
    object_storage._client.cache_clear()
    store.write("a", b"1")
    s3.faults.append(expired_unless("new"))
    with pytest.raises(StoreError, match="have expired"):
        store.write("a", b"2")
    file.write_text("[default]\naws_access_key_id = new\naws_secret_access_key = x\n")
    store.write("a", b"3")
    assert store.read("a") == b"3"
    assert store.exists("a")


# Nothing half-written


def test_an_upload_of_which_a_part_fails_is_not_seen(store, s3, hasty):
    store.write("big", b"old")
    s3.faults.append(error(403, "AccessDenied", contains="partNumber=2"))
    with pytest.raises(StoreError, match="not allowed"):
        store.write("big", BIG)
    s3.faults.clear()
    assert store.read("big") == b"old"
    assert store.names() == ["big"]


def test_an_upload_whose_process_is_killed_is_not_seen(store, s3):
    store.write("big", b"old")
    s3.faults.append(stall(20, contains="partNumber=3"))
    s3.log.clear()
    code = f"from assay.store.store import Store; Store({store.root!r}).write('big', b'x' * 25_000_000)"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for(lambda: any("partNumber=3" in line for line in s3.log), "the last part of the upload")
    finally:
        process.kill()
        process.wait()
    assert store.read("big") == b"old"
    assert store.names() == ["big"]
    assert uploads(s3, store) == 1, "it is what a rule of the bucket should clear away"


def test_ctrl_c_while_writing_leaves_the_old_object_or_the_new(store, s3):
    store.write("big", b"old")
    s3.faults.append(stall(1, times=1, contains="partNumber=1"))
    code = (
        "import os, signal, threading; from assay.store.store import Store\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job begins without one
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        f"Store({store.root!r}).write('big', b'x' * 25_000_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode != 0
    assert b"KeyboardInterrupt" in done.stderr
    assert store.read("big") in (b"old", b"x" * 25_000_000)


def test_an_object_that_no_folder_can_hold_is_refused(store, s3):
    bucket = store.root.split("/")[2]
    s3.client().put_object(Bucket=bucket, Key="prefix/audits/x/../../../../outside", Body=b"x")
    with pytest.raises(StoreError, match=r"holds an object named .*as no folder can; delete it"), store.near("audits"):
        pass


# The log


def test_what_may_not_be_lost_is_there_at_once_and_reports_with_it(store, s3):
    log = TrialLog(store, "toy")
    ask = {"event": "ask", "trial": 0, "assignment": {}, "parameters": {}, "distributions": {}, "attributes": {}}
    log.append(ask)
    assert len(trial_log.read(store, "toy")) == 1
    [segment] = store.names("sweeps/toy/log")
    before = s3.requests["PUT", f"/{store.root[5:]}/sweeps/toy/log/{segment}"]
    for epoch in range(50):
        log.append({"event": "report", "trial": 0, "epoch": epoch})
    assert s3.requests["PUT", f"/{store.root[5:]}/sweeps/toy/log/{segment}"] - before <= 3
    log.append({"event": "end", "trial": 0, "state": "complete", "failure": "", "message": ""})
    assert [event["event"] for event in trial_log.read(store, "toy")] == ["ask", *["report"] * 50, "end"]
    log.close()


def test_a_long_log_goes_on_in_another_segment(store):
    log = TrialLog(store, "toy")
    for number in range(9):
        log.append({"event": "ask", "trial": number, "padding": "x" * 60_000})
    log.close()
    names = store.names("sweeps/toy/log")
    assert [name[:5] for name in names] == ["0000-", "0001-"]
    assert names[0][4:] == names[1][4:], "of one run"
    assert [event["trial"] for event in trial_log.read(store, "toy")] == list(range(9))


def wait_for(seen, what: str) -> None:
    until = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.02)


def test_two_runs_that_begin_at_once_write_to_segments_of_their_own(store, monkeypatch):
    logs = [TrialLog(store, "toy"), TrialLog(store, "toy")]
    with monkeypatch.context() as blind:
        blind.setattr(Store, "names", lambda store, folder="": [])  # neither has seen the other's
        for log in logs:
            asked = {key: {} for key in ("assignment", "parameters", "distributions", "attributes")}
            log.append({"event": "ask", "trial": 0, **asked})
    events = trial_log.read(store, "toy")
    assert len(events) == 2
    with pytest.raises(StoreError, match="trial 0 begun twice, so two drivers wrote to it at once"):
        trial_log.records(events)
