"""The token of a Ray cluster: whoever has it can run code there, nobody else. Ray keeps it in ~/.ray/auth_token."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import tempfile
from pathlib import Path

from assay.errors import SweepError


def own_folder() -> str:
    """A folder of this user alone, in which a local cluster keeps its sessions: nobody gets in while Ray makes them.

    Ray's own, `/tmp/ray`, may be written by everybody, and so may a session until `guard` was called. Raises SweepError
    where somebody else has a folder of that name.
    """
    base = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    path = base / f"assay-ray-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SweepError(f"{path} is not a folder of yours; remove it, or set RAY_TMPDIR to a folder of your own")
    path.chmod(0o700)
    return str(path)


def guard(joined: str | None, session: str) -> None:
    """Once connected: keep token and session from other users of this machine, and warn where no token is asked for.

    joined: the address of a cluster that was not started here. session: Ray's folder of this session.
    """
    if joined is None:
        Path(session).chmod(0o700)  # Ray lets everybody write there
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
