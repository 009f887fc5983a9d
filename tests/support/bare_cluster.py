"""A Ray cluster as another machine would have it: interpreters without Assay, in a folder of its own, with a token.

Its nodes run here, on the loopback of this machine; each is ended with the fixture that started it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

TOKEN = "c0ffee" * 10 + "beef"
PATIENCE = 300  # seconds; what takes 10 on an idle machine may take long on a busy one


def interpreter(folder: Path, **other: str) -> Path:
    """A Python with the libraries of this one and without Assay; other: what it says the versions of libraries are."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=PATIENCE)
    [packages] = folder.glob("lib/python*/site-packages")
    # a .pth in a folder that was itself added by one is not read, so this checkout's editable install stays out
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for name, version in other.items():
        (packages / f"{name}-{version}.dist-info").mkdir()
        (packages / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    return folder / "bin" / "python"


class BareCluster:
    """A head, and nodes that join it; `environment` is what a client must have to be let in."""

    def __init__(self, folder: Path, mode: str = "token") -> None:
        self.folder, self.mode = folder, mode
        self.logs = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: sockets lie in it
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        token = folder / "token"
        token.write_text(TOKEN)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHON", "ASSAY_"))}
        self.environment = {**kept, "RAY_AUTH_TOKEN_PATH": str(token), "RAY_worker_niceness": "0"}  # see conftest.py
        self.nodes: list[subprocess.Popen[bytes]] = []

    def start(self, python: Path, *, cpus: int = 1, **environment: str) -> subprocess.Popen[bytes]:
        """A node whose raylet and workers run under that interpreter, in a folder that holds nothing."""
        home = self.folder / f"node-{len(self.nodes)}"
        home.mkdir()
        where = [f"--address={self.address}"] if self.nodes else ["--head", f"--port={self.port}"]
        temporary = [] if self.nodes else [f"--temp-dir={self.logs}", "--include-dashboard=false"]
        node = subprocess.Popen(
            [python, "-m", "ray.scripts.scripts", "start", *where, *temporary, f"--num-cpus={cpus}", "--block"],
            cwd=home,
            env={
                **self.environment,
                "RAY_AUTH_MODE": self.mode,
                "OMP_NUM_THREADS": "1",
                "RAY_worker_niceness": "0",
                **environment,
            },
            stdout=(home / "output").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.nodes.append(node)
        self._wait(lambda: b"Ray runtime started" in (home / "output").read_bytes(), node, home)
        return node

    def stop(self) -> None:
        """End every process of every node."""
        for node in self.nodes:
            node.send_signal(signal.SIGTERM)
        for node in self.nodes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(20)
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for node in self.nodes:
            node.wait(PATIENCE)
        shutil.rmtree(self.logs, ignore_errors=True)

    def _processes(self) -> list[int]:
        """Everything that a node started, however far from it by now."""
        mark, found = f"RAY_AUTH_TOKEN_PATH={self.folder / 'token'}".encode(), []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # ended meanwhile
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found

    def _wait(self, condition, node: subprocess.Popen[bytes], home: Path) -> None:
        until = time.monotonic() + PATIENCE
        while not condition():
            output = (home / "output").read_text()
            assert node.poll() is None, output
            assert time.monotonic() < until, output
            time.sleep(0.1)
