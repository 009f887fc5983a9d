"""The watch for the cloud's notice: metadata services on loopback, and a real raylet that is drained."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import nodes
import pytest
import ray

from assay.cluster import preemption, started_workers

PATIENCE = 120  # seconds


class Metadata(ThreadingHTTPServer):
    """Answers as EC2 (IMDSv2) and Compute Engine do; `notice` is what it says of this instance's end."""

    notice: datetime | None = None
    broken = False
    asked = 0


class Handler(BaseHTTPRequestHandler):
    server: Metadata

    def answer(self, code: int, text: str = "") -> None:
        self.server.asked += 1
        self.send_response(500 if self.server.broken else code)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_PUT(self) -> None:
        good = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.answer(200 if good else 400, "a-token")

    def do_GET(self) -> None:
        notice = self.server.notice
        if self.path == "/latest/meta-data/spot/instance-action":
            if self.headers["X-aws-ec2-metadata-token"] != "a-token":
                self.answer(401)
            elif notice is None:
                self.answer(404)
            else:
                self.answer(200, json.dumps({"action": "terminate", "time": f"{notice:%Y-%m-%dT%H:%M:%SZ}"}))
        elif self.path == "/computeMetadata/v1/instance/preempted" and self.headers["Metadata-Flavor"] == "Google":
            self.answer(200, "TRUE\n" if notice else "FALSE\n")
        else:
            self.answer(403)

    def log_message(self, *arguments) -> None:
        """Nothing."""


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    with Metadata(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def url(server: Metadata) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def wait_for(done, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.2)


def test_aws_tells_nothing_and_then_how_long_is_left(metadata):
    assert preemption.aws(url(metadata)) is None
    metadata.notice = datetime.now(UTC) + timedelta(seconds=100)
    assert 90 < preemption.aws(url(metadata)) <= 100
    metadata.notice = datetime.now(UTC) - timedelta(seconds=100)
    assert preemption.aws(url(metadata)) == 0


def test_google_tells_nothing_and_then_half_a_minute(metadata):
    assert preemption.gcp(url(metadata)) is None
    metadata.notice = datetime.now(UTC)
    assert preemption.gcp(url(metadata)) == 30


def test_a_proxy_of_the_environment_is_not_asked(metadata, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert preemption.gcp(url(metadata)) is None


def test_trouble_is_told_once_and_the_watch_goes_on(metadata, monkeypatch, capsys):
    metadata.broken = True
    drained = []
    monkeypatch.setattr(preemption, "drain", lambda *given: drained.append(given))
    monkeypatch.setattr(preemption, "local_node", lambda head: "a-node")
    watch = threading.Thread(target=preemption.watch, args=("gcp", "head:6379", url(metadata), 0.01), daemon=True)
    watch.start()
    wait_for(lambda: metadata.asked > 3, "some questions")
    assert drained == []
    metadata.broken = False
    metadata.notice = datetime.now(UTC)
    watch.join(PATIENCE)
    assert drained == [("head:6379", "a-node", 30)]
    told = capsys.readouterr().out.splitlines()
    assert len(told) <= 3
    assert "HTTP Error 500" in told[0]


def test_a_notice_that_cannot_be_acted_on_is_acted_on_when_it_can(metadata, monkeypatch, capsys):
    metadata.notice = datetime.now(UTC)
    nodes = iter([LookupError("no raylet yet"), "a-node"])
    drained = []

    def local_node(head: str) -> str:
        if isinstance(found := next(nodes), LookupError):
            raise found
        return found

    monkeypatch.setattr(preemption, "local_node", local_node)
    monkeypatch.setattr(preemption, "drain", lambda *given: drained.append(given))
    preemption.watch("gcp", "head:6379", url(metadata), 0.01)
    assert len(drained) == 1
    assert "no raylet yet" in capsys.readouterr().out


def test_the_node_is_found_by_its_raylet(tmp_path):
    for number, words in enumerate(
        [
            ["/bin/sleep", "9"],
            ["/x/raylet", "--node_id=other", "--gcs-address=10.0.0.9:6379"],
            ["/x/raylet", "--node_id=abc", "--gcs-address=10.0.0.1:6379"],
        ]
    ):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "cmdline").write_text("\0".join(words) + "\0")
    assert preemption.local_node("10.0.0.1:6379", tmp_path) == "abc"
    with pytest.raises(LookupError, match=r"10\.0\.0\.2"):
        preemption.local_node("10.0.0.2:6379", tmp_path)


@pytest.fixture(scope="module")
def workers() -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a cluster on this machine, and its workers: two that an autoscaler started, one of our own."""
    with nodes.cluster(0) as found:
        ids = {}
        for name in ("taken", "idle", "own"):
            marks = {} if name == "own" else {"RAY_CLOUD_INSTANCE_ID": f"i-{name}", "RAY_NODE_TYPE_NAME": "one_gpu"}
            node = found.cluster.add_node(num_cpus=1, resources={name: 1}, env_vars=marks, **nodes.SMALL)
            ids[name] = node.node_id
        ray.init(address=found.address, log_to_driver=False)
        yield found.address, ids


def alive() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def test_idle_workers_of_an_autoscaler_are_ended_and_busy_ones_and_one_s_own_are_not(workers):
    @ray.remote(num_cpus=1)
    class Trial:
        def begun(self) -> bool:
            return True

    _, ids = workers
    assert {node.node_id for node in started_workers.started()} == {ids["taken"], ids["idle"]}
    busy = [Trial.options(resources={name: 1}).remote() for name in ("taken", "idle")]
    ray.get([one.begun.remote() for one in busy])
    with started_workers.watched(every=0.2) as up:
        time.sleep(1)
    assert up.cpu_hours * 3600 == pytest.approx(2 * 1, abs=0.9)
    assert up.gpu_hours == 0
    ray.kill(busy[1])
    assert started_workers.end_idle(patience=3) == 1
    wait_for(lambda: ids["idle"] not in alive(), "the idle one to leave")
    assert {ids["taken"], ids["own"]} < alive()


def test_a_worker_that_is_to_be_taken_away_leaves_the_cluster(metadata, workers, monkeypatch):
    """The head and the workers are raylets of this machine, so the worker's has to be named."""
    address, ids = workers
    assert preemption.local_node(address) in {node["NodeID"] for node in ray.nodes()}
    monkeypatch.setattr(preemption, "local_node", lambda head: ids["taken"])
    metadata.notice = datetime.now(UTC) + timedelta(seconds=110)
    preemption.watch("aws", address, url(metadata), 0.1)
    wait_for(lambda: ids["taken"] not in alive(), "the node to leave")
