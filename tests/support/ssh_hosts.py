"""Machines made of kernel namespaces, for tests of what goes over ssh: each with its own network, processes and homes.

They vanish with the process that made them, and so does everything that runs in them, whatever happens to the test.
Needs root, util-linux, iproute2 and openssh-server.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

TOOLS = ("unshare", "nsenter", "setpriv", "ip", "ssh", "ssh-keygen", "ps", "rsync", "/usr/sbin/sshd")
NETWORK = "10.213.7"
KEPT = (Path(__file__).parents[2], Path(sys.prefix), Path(sys.base_prefix))
"""What of this machine they must see: the checkout, its environment and the interpreter."""
VARIABLES = (f"PYTHONPATH={KEPT[0]}:{KEPT[0] / 'platform'}", "RAY_worker_niceness=0")
"""Makes it this checkout's code, whichever one its environment was made for; of the other, see conftest.py."""
NEW = "setpriv --pdeathsig KILL unshare --mount --net --pid --uts --ipc --fork --kill-child --mount-proc"

# Run in new namespaces: folders of its own over those that programs write to, and root's home at /home.
BOOT = """
set -e
mount --make-rprivate /
for path in $KEPT; do
  case "$path" in /tmp/*) there="$FOLDER$path" ;; /home/*) there="$FOLDER$path" ;; *) continue ;; esac
  mkdir -p "$there"; mount --bind "$path" "$there"
done
mount --bind "$SHARED" /mnt; mount --rbind "$FOLDER/home" /home; mount --bind "$FOLDER/passwd" /etc/passwd
mount --rbind "$FOLDER/tmp" /tmp  # last, for the folders may lie in there
mount -t tmpfs none /dev/shm; mount -t tmpfs none /run; mkdir /run/sshd
hostname "$NAME"; ip link set lo up
cd /; touch "/home/.booted"
while ! ip -4 addr show scope global | grep -q inet; do sleep 0.05; done
exec /usr/sbin/sshd -D -e -f /home/sshd_config
"""
SSHD = """
HostKey /home/host_key
AuthorizedKeysFile /home/.ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
MaxStartups 100
Subsystem sftp internal-sftp
"""


def missing() -> str:
    """What this machine lacks for it, or nothing."""
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    lacking = [tool for tool in TOOLS if not shutil.which(tool)]
    if lacking:
        return f"needs {', '.join(lacking)} (openssh-server, rsync, iproute2, procps, util-linux)"
    if subprocess.run([*NEW.split(), "true"], capture_output=True, timeout=30, check=False).returncode:
        return "this machine does not allow new namespaces"
    return ""


class Host:
    """One machine; everything in it dies with it."""

    def __init__(self, name: str, folder: Path, shared: Path, key: Path) -> None:
        """Boot it; it answers once it has an address."""
        self.name, self.home, self.tmp = name, folder / "home", folder / "tmp"
        (self.home / ".ssh").mkdir(parents=True)
        self.tmp.mkdir()
        (folder / "passwd").write_text("root:x:0:0:root:/home:/bin/bash\nsshd:x:100:65534::/run/sshd:/bin/false\n")
        subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", self.home / "host_key"], check=True, timeout=30)
        (self.home / "sshd_config").write_text(SSHD)
        shutil.copy(key, self.home / ".ssh" / "id_ed25519")
        shutil.copy(key.with_suffix(".pub"), self.home / ".ssh" / "authorized_keys")
        for path in (folder, self.home, self.home / ".ssh"):
            path.chmod(0o700)
        kept = " ".join(map(str, KEPT))
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*NEW.split(), "bash", "-c", BOOT],
                env={
                    "PATH": os.environ["PATH"],
                    "FOLDER": str(folder),
                    "SHARED": str(shared),
                    "NAME": name,
                    "KEPT": kept,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while not (self.home / ".booted").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not start: {(folder / 'log').read_text()}")
            time.sleep(0.05)
        self.init = int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text())

    def command(self, *command: str) -> list[str]:
        """What runs a command in this machine, in root's home there, with nothing of this process's environment."""
        enter = ["nsenter", "-t", str(self.init), "--mount", "--net", "--pid", "--uts", "--ipc", "--wd=/home"]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        follow = ["setpriv", "--pdeathsig", "KILL"]  # it ends with the nsenter that is waited for
        person = ["HOME=/home", "USER=root", "SHELL=/bin/bash"]
        return [*enter, *follow, "env", "-i", *person, f"PATH={path}", *VARIABLES, *command]

    def run(self, *command: str, timeout: float = 240) -> str:
        """Its output, which an error shows."""
        done = subprocess.run(
            self.command(*command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def running(self) -> list[str]:
        """The command lines of what runs in it, but for its sshd."""
        lines = self.run("ps", "-eo", "args", "--no-headers").splitlines()
        return [line for line in lines if not line.startswith(("sshd", "/usr/sbin/sshd", "ps "))]

    def end(self) -> None:
        """Switch it off."""
        self.process.kill()
        self.process.wait(timeout=30)


@contextlib.contextmanager
def network(folder: Path, *names: str) -> Iterator[dict[str, Host]]:
    """Machines on one wire, the first with the bridge in it, at 10.213.7.1 and on; `/mnt` is one folder in all."""
    shared, key = folder / "shared", folder / "key"
    shared.mkdir()
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", key], check=True, timeout=30)
    hosts: dict[str, Host] = {}
    try:
        for number, name in enumerate(names, start=1):
            host = hosts[name] = Host(name, folder / name, shared, key)
            first = hosts[names[0]]
            if host is first:
                first.run("ip", "link", "add", "wire", "type", "bridge")
                first.run("ip", "addr", "add", f"{NETWORK}.1/24", "dev", "wire")
                first.run("ip", "link", "set", "wire", "up")
                continue
            subprocess.run(
                f"nsenter -t {first.init} --net ip link add {name} type veth peer name eth0 netns {host.init}".split(),
                check=True,
                timeout=30,
            )
            first.run("ip", "link", "set", name, "master", "wire", "up")
            host.run("ip", "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
            host.run("ip", "link", "set", "eth0", "up")
            host.run("ip", "route", "add", "default", "via", f"{NETWORK}.1")  # Ray asks the kernel which address it has
        yield hosts
    finally:
        for host in hosts.values():
            host.end()
