"""What workers print is kept in the store, also of those that died, and no secret of theirs is."""

from __future__ import annotations

import os
import sys

import pytest
import ray

from assay.cluster import session_folder, worker_logs
from assay.cluster.worker_logs import OwnLog
from assay.errors import StoreError
from assay.store.store import Store

SECRET = "planted-secret-of-a-worker"


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """A Ray of this machine."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=session_folder.own_folder())
    yield
    ray.shutdown()


class Counting(Store):
    """Counts what is written."""

    written = 0

    def write(self, name: str, content: bytes) -> None:
        self.written += 1
        super().write(name, content)


@ray.remote(num_cpus=0, runtime_env={"env_vars": {"SOME_API_KEY": SECRET}})
class Printer:
    def say(self, text: str, root: str) -> int:
        """Print it, keep the log twice, and return how often something was written."""
        print(text, os.environ["SOME_API_KEY"])
        print("an error:", text, file=sys.stderr)
        sys.stdout.flush()
        own = OwnLog(Counting(root), "logs/a")
        for _ in range(2):
            own.keep()
        return own.store.written

    def die(self, text: str, root: str, *folders: str) -> None:
        for folder in folders:
            OwnLog(Store(root), folder)
        print(text, os.environ["SOME_API_KEY"], flush=True)
        os._exit(3)


def test_a_worker_keeps_its_own_log_without_its_secrets(tmp_path):
    store = Store(tmp_path)
    count = ray.get(Printer.remote().say.remote("hello there", store.root))
    written = kept(store, "logs/a")
    assert count == len(written) == 2, "output and errors, once: nothing was new the second time"
    [out] = [text for name, text in written.items() if name.endswith(".out")]
    [err] = [text for name, text in written.items() if name.endswith(".err")]
    assert "hello there ***" in out
    assert "an error: hello there" in err
    assert SECRET not in out + err


def test_what_a_dead_worker_had_printed_is_asked_for_and_goes_to_its_own_place(monkeypatch, tmp_path):
    monkeypatch.setenv("SOME_API_KEY", SECRET)  # what the driver knows to be one is removed, too
    store, other = Store(tmp_path / "store"), Store(tmp_path / "other")
    words = {
        "these were my last words": (store.root, "logs/before", "logs/a"),
        "I could note nothing": (store.root,),
        "of another sweep": (store.root, "logs/b"),
        "of the same name in another store": (other.root, "logs/a"),
    }
    for text, where in words.items():
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(Printer.remote().die.remote(text, *where))
    worker_logs.keep_all(store, "logs/a")
    texts = kept(store, "logs/a").values()
    assert SECRET not in "".join(texts)
    found = [text for text in words if any(f"{text} ***" in one for one in texts)]
    assert found == ["these were my last words", "I could note nothing"]
    assert all(text.strip() for text in texts)


def test_the_end_of_a_long_log_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(worker_logs, "MOST", 10)
    (tmp_path / "log").write_text("0123456789abcdef")
    assert worker_logs._text(tmp_path / "log") == "6789abcdef"


def test_marks_of_ray_alone_are_no_log(tmp_path):
    (tmp_path / "log").write_text(":job_id:01000000\n:actor_name:Worker\n")
    assert worker_logs._text(tmp_path / "log") == ""


def test_a_store_that_fails_does_not_end_the_work(caplog, monkeypatch, tmp_path):
    def refused(*_):
        raise StoreError("no space")

    monkeypatch.setattr(Store, "write", refused)
    with caplog.at_level("INFO"):
        worker_logs._keep({"worker-1.out": "text"}, Store(tmp_path), "logs/a")
    assert "worker-1.out was not kept: no space" in caplog.text


def kept(store: Store, folder: str) -> dict[str, str]:
    """Name -> text of the logs in the store."""
    return {name: store.read(f"{folder}/{name}").decode() for name in store.names(folder)}
