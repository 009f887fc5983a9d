"""A lock in object storage: of several that begin at once one goes on, and who lost his writes no more."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from s3_server import error, expired_unless

from assay.errors import StoreError
from assay.store.locks import conditional, lease
from assay.store.locks.conditional import ChangedError, ConditionalObjects
from assay.store.locks.lease import Lease, PlainObjects
from assay.store.store import Store

PATIENCE = 60
KEY = "x/.lock"


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is known yet of any service."""
    monkeypatch.setattr(conditional, "_proved", set())
    monkeypatch.setattr(lease, "_said", set())
    conditional._client.cache_clear()
    yield
    conditional._client.cache_clear()


@pytest.fixture(params=["conditional", "plain"])
def store(request, s3, fresh) -> Store:
    """A store whose service knows conditional requests, and one whose service refuses them."""
    if request.param == "plain":
        s3.faults.append(unknown)
    return Store(f"s3://{s3.bucket()}/prefix")


def unknown(proxy) -> bool:
    """Refuse a conditional request, as a service that has none."""
    condition = proxy.headers.get("If-None-Match") or proxy.headers.get("If-Match")
    return bool(condition) and error(501, "NotImplemented", method="PUT")(proxy)


def ignored(proxy) -> bool:
    """Take a conditional request for a plain one, as older services do."""
    for name in ("If-None-Match", "If-Match"):
        del proxy.headers[name]
    return False


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function: other waits, in seconds."""

    def brisk(**waits: float) -> None:
        for name, seconds in {"SETTLE": 0.1, "LOOK": 0.1, **waits}.items():
            monkeypatch.setattr(lease, name, seconds)

    return brisk


def test_it_is_refused_while_it_is_renewed_and_taken_once_it_lapsed(store, brisk):
    brisk(RENEW=0.3, LAPSE=3.0)
    other = Store(store.root)
    with store.locked("sweeps/.toy.lock", "sweep 'toy'"):
        assert store.names("sweeps") == []
        with pytest.raises(StoreError, match=r"sweep 'toy' is running in s3://.* \(on .*, process \d+, .*\); wait"):
            other.locked("sweeps/.toy.lock", "sweep 'toy'").__enter__()
        store.write("a", b"x")
    started = time.monotonic()
    with other.locked("sweeps/.toy.lock", "sweep 'toy'"):
        assert time.monotonic() - started < 2.5, "it was given back"
    store.write("sweeps/.toy.lock", json.dumps({"name": "x", "host": "h", "process": 1, "time": "t"}).encode())
    with store.locked("sweeps/.toy.lock", "sweep 'toy'"):  # of a process that was killed
        pass


def test_who_lost_it_writes_no_more(store, brisk):
    brisk(RENEW=60.0, LAPSE=0.2)
    with store.locked(KEY, "sweep 'toy'"):
        store.write("a", b"x")
        time.sleep(0.3)  # as if the machine had slept
        store.write("a", b"y")
        with Store(store.root).locked(KEY, "sweep 'toy'"):
            time.sleep(0.3)
            for act in (
                lambda: store.write("a", b"z"),
                lambda: store.remove("a"),
                lambda: store.below("a").write("b", b"z"),
            ):
                with pytest.raises(StoreError, match="was taken over by another process"):
                    act()
            with store.near("a") as near, pytest.raises(StoreError, match="was taken over"):
                near.write("b", b"z")
    assert store.read("a") == b"y"


def test_who_slept_while_another_one_began_and_ended_writes_no_more(store, brisk):
    brisk(RENEW=60.0, LAPSE=0.2)
    with store.locked(KEY, "sweep 'toy'"):
        with Store(store.root).locked(KEY, "sweep 'toy'"):
            pass
        with pytest.raises(StoreError, match="was taken over by another process"):
            store.write("a", b"z")
    assert not store.exists("a")


def test_one_that_another_took_over_is_not_given_back_by_its_former_holder(store, brisk):
    brisk(RENEW=60.0, LAPSE=0.2)
    first = store.locked(KEY, "it")
    first.__enter__()
    with Store(store.root).locked(KEY, "it"):
        first.__exit__(None, None, None)
        assert json.loads(store.read(KEY))["name"], "it is still the other's"


def test_two_are_held_at_once_and_end_each_for_itself(store, brisk):
    brisk(RENEW=60.0, LAPSE=0.2)
    with store.locked("x/.a", "a"):
        with store.locked("x/.b", "b"):
            store.write("x/y", b"")
        with Store(store.root).locked("x/.b", "b"):
            store.write("x/y", b"")
        with Store(store.root).locked("x/.a", "a"), pytest.raises(StoreError, match="a was taken over"):
            store.write("x/y", b"")


def test_it_counts_from_when_its_renewal_was_sent(store, monkeypatch):
    """Others see it from then on; an answer that comes late gives nobody more time."""
    objects = PlainObjects(store._files)
    put = objects.put
    monkeypatch.setattr(objects, "put", lambda *told, **how: (put(*told, **how), time.sleep(0.5))[0])
    held = Lease(objects, KEY, store.root, "it")
    began = time.monotonic()
    held.say(None)
    assert held.renewed - began < 0.4


def test_of_several_that_begin_together_one_goes_on(store, brisk):
    brisk(RENEW=0.3, LAPSE=2.0, SETTLE=1.0, LOOK=0.3)
    found, held = [], threading.Barrier(4)

    def begin() -> None:
        held.wait()
        try:
            with Store(store.root).locked(KEY, "it"):
                found.append("held")
                time.sleep(4)
        except StoreError:
            found.append("refused")

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(found) == ["held", *["refused"] * 3]


def test_of_two_of_which_each_saw_it_free_one_has_it(s3, fresh):
    """Whatever holds the requests up: the moment in which both have looked, and neither has written yet."""
    store = Store(f"s3://{s3.bucket()}/prefix")
    objects = ConditionalObjects("s3", store.root[5:])
    for number in range(5):
        leases = [Lease(objects, f"x/.lock-{number}", store.root, "it") for _ in range(2)]
        seen = [one.look() for one in leases]
        leases[1].say(seen[1].version, taking=True)
        with pytest.raises(ChangedError):
            leases[0].say(seen[0].version, taking=True)


def test_an_answer_that_was_lost_is_not_taken_for_another_holder(s3, fresh, monkeypatch):
    """The second attempt of a request whose first was heard meets what the first has written."""
    store = Store(f"s3://{s3.bucket()}/prefix")
    objects = ConditionalObjects("s3", store.root[5:])
    put = objects.put

    def twice(*told, **how):
        put(*told, **how)
        return put(*told, **how)

    held = Lease(objects, KEY, store.root, "it")
    with monkeypatch.context() as patch:
        patch.setattr(objects, "put", twice)
        held.take()
    held.renew()
    assert not held.lost


@pytest.mark.parametrize(
    ("fault", "why"), [(unknown, "status code: 501"), (ignored, "it ignores the condition of a conditional request")]
)
def test_a_service_without_conditional_requests_is_named_once(s3, fresh, brisk, caplog, fault, why):
    brisk()
    store = Store(f"s3://{s3.bucket()}/prefix")
    s3.faults.append(fault)
    for _ in range(2):
        with store.locked(KEY, "it"):
            pass
    [told] = [record.message for record in caplog.records if record.name == "assay.store.locks.lease"]
    assert told.startswith(f"{store.root}: locks there are as good as can be without conditional requests (")
    assert why in told


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (error(403, "AccessDenied", method="PUT"), "not allowed: the credentials may not do this"),
        (error(403, "InvalidAccessKeyId", method="PUT"), "the service does not know this access key"),
        (error(400, "ExpiredToken", method="PUT"), "the credentials have expired"),
        (error(404, "NoSuchBucket", method="PUT"), "there is no such bucket"),
    ],
)
def test_what_else_fails_is_said_in_words(s3, fresh, fault, told):
    store = Store(f"s3://{s3.bucket()}/prefix")
    s3.faults.append(fault)
    with pytest.raises(StoreError, match=told) as caught:
        store.locked(KEY, "it").__enter__()
    assert len(str(caught.value).splitlines()) == 1


def test_credentials_that_are_renewed_while_it_is_held_are_taken_up(s3, fresh, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    file.write_text("[default]\naws_access_key_id = old\naws_secret_access_key = x\n")
    store = Store(f"s3://{s3.bucket()}/prefix")
    held = Lease(ConditionalObjects("s3", store.root[5:]), KEY, store.root, "it")
    held.take()
    s3.faults.append(expired_unless("new"))
    with pytest.raises(OSError, match="ExpiredToken"):
        held.renew()
    file.write_text("[default]\naws_access_key_id = new\naws_secret_access_key = x\n")
    held.renew()
    assert not held.lost


def test_without_boto3_a_profile_is_asked_without_conditions(s3, fresh, brisk, monkeypatch, caplog, tmp_path):
    """pyarrow reads its keys itself, obstore does not."""
    brisk()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = x\n")
    monkeypatch.setitem(sys.modules, "obstore.auth.boto3", None)
    store = Store(f"s3://{s3.bucket()}/prefix")
    with store.locked(KEY, "it"):
        store.write("a", b"x")
    assert "boto3 is not installed" in caplog.text


def test_without_credentials_that_is_said(s3, fresh, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    store = Store(f"s3://{s3.bucket()}/prefix")
    s3.faults.append(lambda proxy: not proxy.headers.get("Authorization") and error(403, "AccessDenied")(proxy))
    with pytest.raises(StoreError, match="not allowed, and no credentials were found; set AWS_ACCESS_KEY_ID and"):
        store.locked(KEY, "it").__enter__()


class Google(BaseHTTPRequestHandler):
    """As much of Google's storage as a lock needs: what is at a path, and its generation."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, tuple[bytes, int]] = {}  # noqa: RUF012 - of the one server of a test
    numbers = itertools.count(1)

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def answer(self, status: int, body: bytes = b"", generation: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{generation}"')
        self.send_header("x-goog-generation", str(generation))
        self.send_header("Last-Modified", "Sun, 29 Nov 2026 12:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        found = self.objects.get(self.path)
        self.answer(200, *found) if found else self.answer(404)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        wanted = self.headers.get("x-goog-if-generation-match")
        if wanted is not None and int(wanted) != self.objects.get(self.path, (b"", 0))[1]:
            return self.answer(412)
        self.objects[self.path] = body, next(self.numbers)
        return self.answer(200, generation=self.objects[self.path][1])


def test_google_takes_conditions_by_generation(fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Google)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    account = {"gcs_base_url": f"http://127.0.0.1:{server.server_port}", "disable_oauth": True}
    (tmp_path / "account.json").write_text(
        json.dumps({**account, "client_email": "", "private_key": "", "private_key_id": ""})
    )
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
    try:
        objects = ConditionalObjects("gs", "bucket/prefix")
        assert objects.read(KEY) is None
        first = objects.put(KEY, b"1", None)
        with pytest.raises(ChangedError):
            objects.put(KEY, b"2", None)
        second = objects.put(KEY, b"2", first)
        with pytest.raises(ChangedError):
            objects.put(KEY, b"3", first)
        objects.free(KEY, second, b"{}")
        assert objects.read(KEY)[0] == b"{}"
    finally:
        server.shutdown()
        server.server_close()
