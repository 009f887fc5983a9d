"""The address of a cluster to join, tried before Ray tries it: Ray waits for minutes, and then ends this process."""

from __future__ import annotations

import os
import socket

from ray._private import services
from ray._private.utils import get_ray_address_file

from assay.errors import SweepError

VARIABLE = "RAY_ADDRESS"
REACH = 10.0  # seconds to reach the head


def reach(address: str) -> None:
    """Raise SweepError where no cluster can be joined at `auto` or HOST:PORT, and say where that address came from.

    `auto` means what RAY_ADDRESS says where it is set, else the cluster of this machine.
    """
    try:
        meant = services.get_ray_address_from_environment("auto", None) if address == "auto" else address
    except ConnectionError as error:
        raise SweepError("no Ray runs on this machine; give --address HOST:PORT, or none at all") from error
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
    raise SweepError(f"cannot join the cluster at {meant}: {why}{_source(address, meant)}")


def _source(address: str, meant: str) -> str:
    """Where an address came from that the user may not know of, and what to do about it."""
    if os.environ.get(VARIABLE) == meant:
        return f". {VARIABLE} says so: unset it to run on this machine's cores"
    if address == "auto":
        file = get_ray_address_file(None)
        return f". {file} says so, which was left by a cluster that did not end in order: `ray stop`, or remove it"
    return ""
