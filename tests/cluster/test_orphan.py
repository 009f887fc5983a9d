"""What ends a worker whose head is lost, and a head without workers: with stubs for the end, and Google on loopback."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from assay.cluster import idle_head, orphan, preemption

METADATA = {
    "/computeMetadata/v1/instance/service-accounts/default/token": json.dumps({"access_token": "a-token"}),
    "/computeMetadata/v1/instance/zone": "projects/12/zones/us-central1-a",
    "/computeMetadata/v1/project/project-id": "mine",
    "/computeMetadata/v1/instance/name": "ray-assay-worker-1",
}


class Google(ThreadingHTTPServer):
    """The metadata service and the API, which notes what it was asked to delete and may refuse it."""

    allowed = True

    def __init__(self, *given) -> None:
        super().__init__(*given)
        self.deleted: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Google

    def answer(self, code: int, text: str = "") -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self) -> None:
        known = self.path in METADATA and self.headers["Metadata-Flavor"] == "Google"
        self.answer(200 if known else 403, METADATA.get(self.path, ""))

    def do_DELETE(self) -> None:
        good = self.server.allowed and self.headers["Authorization"] == "Bearer a-token"
        if good:
            self.server.deleted.append(self.path)
        self.answer(200 if good else 403)

    def log_message(self, *arguments) -> None:
        """Nothing."""


@pytest.fixture
def google() -> Iterator[Google]:
    with Google(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def url(server: Google) -> str:
    return f"http://127.0.0.1:{server.server_port}"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_absence_counts_from_when_it_was_last_seen():
    clock = Clock()
    absence = orphan.Absence(clock)
    clock.now = 100
    assert absence.after(False) == 100
    assert absence.after(True) == 0
    clock.now = 130
    assert absence.after(False) == 30


@pytest.mark.parametrize("there", [True, False])
def test_a_worker_ends_once_no_raylet_has_run_for_long_and_not_before(monkeypatch, there):
    """While a raylet runs, or is only restarted, the watch goes on; the notice of the cloud then ends it."""
    ended, asked = [], []
    monkeypatch.setattr(orphan, "raylets", lambda: iter([["raylet"]] if there else []))
    monkeypatch.setattr(preemption, "drain", lambda *given: None)
    monkeypatch.setattr(preemption, "local_node", lambda head: "a-node")

    def notice(metadata: str) -> float | None:
        asked.append(1)
        return 30.0 if len(asked) > 30 else None

    monkeypatch.setattr(preemption, "aws", notice)
    preemption.watch("aws", "head:6379", "", 0.01, orphaned=0.1, end=lambda: ended.append(1))
    assert ended == ([] if there else [1])
    assert (len(asked) > 1) or there


def test_a_worker_that_still_sets_up_is_not_ended(monkeypatch):
    """No raylet yet, but ten minutes have not passed."""
    monkeypatch.setattr(orphan, "raylets", lambda: iter([]))
    monkeypatch.setattr(preemption, "drain", lambda *given: None)
    monkeypatch.setattr(preemption, "local_node", lambda head: "a-node")
    answers = iter([None] * 5 + [30.0])
    monkeypatch.setattr(preemption, "aws", lambda metadata: next(answers))
    preemption.watch("aws", "head:6379", "", 0.01, end=lambda: pytest.fail("ended"))


def test_google_s_instance_deletes_itself_for_a_stopped_one_keeps_its_disk(google):
    orphan.end("gcp", url(google), ["false"], compute=url(google))
    assert google.deleted == ["/projects/mine/zones/us-central1-a/instances/ray-assay-worker-1"]


def test_where_it_may_not_it_shuts_down_at_least(google, tmp_path, capsys):
    google.allowed = False
    orphan.end("gcp", url(google), ["touch", str(tmp_path / "down")], compute=url(google))
    assert (tmp_path / "down").exists()
    assert "cannot delete this instance" in capsys.readouterr().out


def test_on_aws_the_machine_shuts_down(tmp_path):
    orphan.end("aws", "http://127.0.0.1:9", ["touch", str(tmp_path / "down")])
    assert (tmp_path / "down").exists()


def test_a_head_ends_once_no_worker_has_been_there_for_long(capsys):
    ended = []
    counts = iter([2, 1, 1] + [0] * 10_000)
    idle_head.watch(lambda: next(counts), seconds=0.1, every=0.01, end=lambda: ended.append(1))
    assert ended == [1]
    assert "this head ends" in capsys.readouterr().out


def test_a_head_with_workers_stays():
    seen = []

    def count() -> int:
        seen.append(1)
        if len(seen) == 30:
            raise KeyboardInterrupt
        return len(seen) % 2  # gone for less than the limit each time

    with pytest.raises(KeyboardInterrupt):
        idle_head.watch(count, seconds=0.2, every=0.01, end=lambda: pytest.fail("ended"))


def test_a_head_whose_ray_has_stopped_ends_too(capsys):
    def count() -> int:
        raise subprocess.CalledProcessError(1, "ray")

    ended = []
    idle_head.watch(count, seconds=0.05, every=0.01, end=lambda: ended.append(1))
    assert ended == [1]
    assert "cannot ask Ray" in capsys.readouterr().out
