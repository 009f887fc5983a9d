"""The address of a cluster to join, tried before Ray tries it: Ray waits for minutes, and then ends this process."""

from __future__ import annotations

import os
import socket

from assay.errors import SweepError

VARIABLE = "RAY_ADDRESS"
REACH = 10.0  # seconds to reach the head


def reach(address: str) -> None:
    """Raise SweepError where no cluster can be joined at `auto` or HOST:PORT, and say if it came from RAY_ADDRESS.

    `auto` means what that variable says, where it is set; else Ray looks for a cluster of this machine by itself.
    """
    meant = (os.environ.get(VARIABLE) or address) if address == "auto" else address
    if meant == "auto":
        return
    host, colon, port = meant.rpartition(":")
    if "://" in meant:
        why = (
            "that is where `ray job submit` sends jobs to, or Ray Client; a driver runs on a node of the cluster, with "
            "--address auto"
        )
    elif not colon or not port.isdigit():
        why = "it is not HOST:PORT, nor auto"
    else:
        try:
            socket.create_connection((host.strip("[]"), int(port)), REACH).close()
        except socket.gaierror:
            why = f"no machine of the name {host} is known here"
        except OSError:
            why = "nothing answers there; give its HOST:PORT (the port is 6379 unless `ray start` was given another)"
        else:
            return
    left = f". {VARIABLE} says so: unset it to run on this machine's cores" if _left_over(meant) else ""
    raise SweepError(f"cannot join the cluster at {meant}: {why}{left}")


def _left_over(address: str) -> bool:
    return os.environ.get(VARIABLE) == address
