"""The token of a Ray cluster: who has it runs code there, and nobody else does. Ray keeps it in ~/.ray/auth_token."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import ray
from ray._private.services import canonicalize_bootstrap_address_or_die
from ray._raylet import AuthenticationMode, Config, GcsClient, get_authentication_mode  # type: ignore[attr-defined]
from ray.exceptions import AuthenticationError

REACH = 10.0  # seconds to reach the head


def match(address: str) -> None:
    """Show the token to a cluster that asks for one, and to no other, unless RAY_AUTH_MODE says what to do.

    Ray would take a token that lies on this machine as a reason to ask one of everybody: the nodes of a cluster that
    was started without one could then not answer this process. Raises OSError where nothing is reached.
    """
    if "RAY_AUTH_MODE" in os.environ or "://" in address:
        return
    head = canonicalize_bootstrap_address_or_die(address)
    host, _, port = head.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), REACH).close()
    try:
        with _no_stderr():  # Ray writes there that it was refused
            GcsClient(address=head)
        mode = "disabled"
    except AuthenticationError:
        mode = "token"
    os.environ["RAY_AUTH_MODE"] = mode
    Config.initialize("")  # Ray has read the environment before


def guard(joined: str | None) -> None:
    """Once connected: keep token and session from other users of this machine, and warn where no token is asked for.

    joined: the address of a cluster that was not started here.
    """
    if joined is None:
        Path(ray._private.worker._global_node.get_session_dir_path()).chmod(0o700)  # Ray lets everybody write there
    with contextlib.suppress(OSError):  # none there, or not ours: then it is not for us to change
        path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
        if path.stat().st_mode & 0o077 and path.stat().st_uid == os.getuid():
            path.chmod(0o600)
    if get_authentication_mode() != AuthenticationMode.TOKEN:
        what = f"the Ray cluster at {joined}" if joined else "the local Ray cluster"
        logging.getLogger("assay").warning(
            "%s asks for no token: whoever reaches its ports can run code there. Start it with a token: "
            "`ray get-auth-token --generate`, and RAY_AUTH_MODE=token on every node",
            what,
        )


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Standard error goes nowhere, what C++ writes there included."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
