"""The token of a Ray cluster: who has it runs code there, and nobody else does. Ray keeps it in ~/.ray/auth_token."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._raylet import AuthenticationMode, get_authentication_mode  # type: ignore[attr-defined]


def use() -> None:
    """Show the token on joining a cluster, where there is one; Ray itself does so only where it finds the cluster."""
    quiet = logging.getLogger("ray._private.authentication.authentication_token_setup")
    quiet.setLevel(logging.ERROR)
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def guard(joined: str | None) -> None:
    """Once connected: keep the token file from other users of this machine, and warn where no token is asked for.

    joined: the address of a cluster that was not started here.
    """
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
