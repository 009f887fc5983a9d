"""`ray up docs/cluster-local.yaml` between the machines of ssh_hosts.py, with an S3 service of moto's on the laptop.

In place of the installation the machines get this test's own interpreter; else the file is used as it stands.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import ssh_hosts
import yaml

REPO = Path(__file__).parents[2]
VENV = Path(sys.executable).parent.parent
FILE = REPO / "docs" / "cluster-local.yaml"
PATIENCE = 480  # seconds; what takes 20 on an idle machine may take long on a busy one
S3 = "AWS_ENDPOINT_URL=http://10.213.7.1:9000 AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b AWS_DEFAULT_REGION=us-east-1"
SETTINGS = ["env", "RAY_AUTH_MODE=token", *S3.split()]
STORE = "s3://store/assay"
IMAGES = "s3://store/images"


def up(laptop: ssh_hosts.Host, head: str, *workers: str) -> None:
    """Start the cluster of a head and workers, given by their addresses."""
    config = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    config["provider"] |= {"head_ip": head, "worker_ips": list(workers)}
    config["auth"]["ssh_user"] = "root"
    config["setup_commands"][:3] = [
        f"ln -sfn {VENV} ~/venv",
        f"grep -q AWS ~/.bashrc || echo 'export {S3} {' '.join(ssh_hosts.VARIABLES)}' >> ~/.bashrc",
    ]
    (laptop.home / "cluster.yaml").write_text(yaml.safe_dump(config))
    laptop.run("bash", "-c", "test -e ~/.ray/auth_token || ray get-auth-token --generate")
    laptop.run(*SETTINGS, "bash", "-c", f"cd {REPO} && ray up -y /home/cluster.yaml", timeout=PATIENCE)


@contextlib.contextmanager
def bucket(laptop: ssh_hosts.Host) -> Iterator[None]:
    """An S3 service on the laptop, and the bucket of the store."""
    server = started(laptop, "python", "-m", "moto.server", "-H", "10.213.7.1", "-p", "9000")
    wait_for(lambda: answers(laptop, "10.213.7.1", 9000), "the S3 service")
    laptop.run(*SETTINGS, "python", "-c", "import boto3; boto3.client('s3').create_bucket(Bucket='store')")
    yield
    server.kill()
    server.wait(timeout=30)


@contextlib.contextmanager
def tunnel(laptop: ssh_hosts.Host) -> Iterator[None]:
    """`ray dashboard`, through which jobs are submitted."""
    process = started(laptop, *SETTINGS, "ray", "dashboard", "/home/cluster.yaml")
    wait_for(lambda: answers(laptop, "127.0.0.1"), "the tunnel to the dashboard")
    yield
    process.kill()
    process.wait(timeout=30)


def submitted(laptop: ssh_hosts.Host, *command: str) -> subprocess.Popen:
    """A job of the cluster; what it prints is followed."""
    submit = ["ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--", *command]
    return subprocess.Popen(
        laptop.command(*SETTINGS, *submit), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def started(host: ssh_hosts.Host, *command: str) -> subprocess.Popen:
    """A program that runs there until it is killed or the host is."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen(host.command(*command), stdin=quiet, stdout=quiet, stderr=quiet)


def wait_for(done, what: str) -> None:
    """Until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(1)


def answers(host: ssh_hosts.Host, address: str, port: int = 8265) -> bool:
    """Whether that port, else the dashboard's, takes a connection from that host."""
    return not subprocess.run(
        host.command("bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"), capture_output=True, timeout=120, check=False
    ).returncode


def has_raylet(host: ssh_hosts.Host) -> bool:
    """Whether Ray runs there; cheap to ask, unlike `status`."""
    return any("/raylet/raylet " in line for line in host.running())


def status(head: ssh_hosts.Host, address: str) -> str:
    """What `ray status` tells; nothing while it cannot."""
    ask = head.command(*SETTINGS, "ray", "status", "--address", f"{address}:6379")
    return subprocess.run(ask, capture_output=True, text=True, timeout=120, check=False).stdout
