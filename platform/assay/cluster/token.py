"""The token of a Ray cluster: whoever has it can run code there, nobody else. Ray keeps it in ~/.ray/auth_token."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from pathlib import Path

from ray._private.authentication.authentication_token_generator import generate_new_authentication_token


def keep_in(folder: str) -> None:
    """Before a local cluster is started: where no token can be kept at home, keep one in this folder of the user's own.

    A container or a service may have no home folder, or one that is read-only. Raises OSError where the folder is, too.
    """
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ or _at_home():
        return
    path = Path(folder) / "auth_token"
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(generate_new_authentication_token())
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(path)


def _at_home() -> bool:
    """Whether Ray finds a token in the home folder, or can make one there."""
    if not os.environ.get("HOME"):  # Ray asks for no other word of where it is
        return False
    folder = Path(os.environ["HOME"]) / ".ray"
    if (folder / "auth_token").exists():
        return os.access(folder / "auth_token", os.R_OK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def guard(joined: str | None, session: str) -> None:
    """Once connected: keep token and session from other users of this machine, and warn where no token is asked for.

    joined: the address of a cluster that was not started here. session: Ray's folder of this session.
    """
    if joined is None:
        for path in (Path(session), Path(session).parent):  # Ray lets everybody write to both
            path.chmod(0o700)
    with contextlib.suppress(OSError):  # none there, or not ours: then it is not for us to change
        path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
        if path.stat().st_mode & 0o077 and path.stat().st_uid == os.getuid():
            path.chmod(0o600)
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":  # Ray sets it in `ray.init` where it is not set
        what = f"the Ray cluster at {joined}" if joined else "the local Ray cluster"
        logging.getLogger("assay").warning(
            "%s asks for no token: whoever reaches its ports can run code there. Start it with a token: "
            "`ray get-auth-token --generate`, and RAY_AUTH_MODE=token on every node",
            what,
        )
