"""What workers print is kept in the store, also of those that died, and no secret of theirs is."""

from __future__ import annotations

import os
import sys

import pytest
import ray

from assay.cluster import session_folder, worker_logs
from assay.cluster.worker_logs import OwnLog
from assay.errors import StoreError

SECRET = "planted-secret-of-a-worker"


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """A Ray of this machine."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=session_folder.own_folder())
    yield
    ray.shutdown()


@ray.remote(num_cpus=0, runtime_env={"env_vars": {"SOME_API_KEY": SECRET}})
class Printer:
    def say(self, text: str, most: int = 99) -> list[tuple[str, str]]:
        """Print it, keep the log twice, and return what was written."""
        print(text, os.environ["SOME_API_KEY"])
        print("an error:", text, file=sys.stderr)
        sys.stdout.flush()
        written: list[tuple[str, str]] = []
        own = OwnLog(lambda name, content: written.append((name, content.decode())))
        for _ in range(2):
            own.keep()
        return written

    def die(self, text: str) -> None:
        print(text, os.environ["SOME_API_KEY"], flush=True)
        os._exit(3)


def test_a_worker_keeps_its_own_log_without_its_secrets():
    written = dict(ray.get(Printer.remote().say.remote("hello there")))
    assert len(written) == 2, "output and errors, once: nothing was new the second time"
    [out] = [text for name, text in written.items() if name.endswith(".out")]
    [err] = [text for name, text in written.items() if name.endswith(".err")]
    assert "hello there ***" in out
    assert "an error: hello there" in err
    assert SECRET not in out + err


def test_what_a_dead_worker_had_printed_is_asked_for(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", SECRET)  # what the driver knows to be one is removed, too
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(Printer.remote().die.remote("these were my last words"))
    kept: dict[str, str] = {}
    worker_logs.keep_all(lambda name, content: kept.update({name: content.decode()}))
    [last] = [text for text in kept.values() if "these were my last words" in text]
    assert SECRET not in "".join(kept.values())
    assert "these were my last words ***" in last
    assert all(text.strip() for text in kept.values())


def test_the_end_of_a_long_log_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(worker_logs, "MOST", 10)
    (tmp_path / "log").write_text("0123456789abcdef")
    assert worker_logs._text(tmp_path / "log") == "6789abcdef"


def test_marks_of_ray_alone_are_no_log(tmp_path):
    (tmp_path / "log").write_text(":job_id:01000000\n:actor_name:Worker\n")
    assert worker_logs._text(tmp_path / "log") == ""


def test_a_store_that_fails_does_not_end_the_work(caplog):
    def refused(name, content):
        raise StoreError("no space")

    with caplog.at_level("INFO"):
        worker_logs._keep({"worker-1.out": "text"}, refused)
    assert "worker-1.out was not kept: no space" in caplog.text
