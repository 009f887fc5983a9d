"""The folder in which a local cluster keeps its sessions: this user's alone, with a path that Ray can work with."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from assay.errors import SweepError

SHORT = Path("/tmp")
SOCKET = 103 if os.uname().sysname == "Darwin" else 107
"""The most bytes that the path of a socket may have."""
WITHIN = len("/session_2026-11-29_15-25-38_808069_4194304/sockets/plasma_store")
"""How many of them Ray's own names take, with a process id of seven digits."""


def own_folder() -> str:
    """A folder of this user alone, in which a local cluster keeps its sessions: nobody gets in while Ray makes them.

    It lies in RAY_TMPDIR, or else in the system's folder for temporary files; where that one's path is too long for the
    sockets that Ray makes there, as a batch system's may be, in /tmp. Everybody may write to Ray's own, `/tmp/ray`, and
    to a session until `token.guard` was called. Raises SweepError where it cannot be made or RAY_TMPDIR is too long,
    and where somebody else has a folder of that name.
    """
    given, name = os.environ.get("RAY_TMPDIR"), f"assay-ray-{os.getuid()}"
    path = Path(given or tempfile.gettempdir()) / name
    if not given and room(path) < 0:
        path = SHORT / name
    if (over := -room(path)) > 0:
        raise SweepError(
            f"the path of {path} is too long by {over} bytes for the sockets that Ray makes there; set RAY_TMPDIR to a "
            "folder with a shorter one, such as /tmp"
        )
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700, parents=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise SweepError(f"{path} is not a folder of yours; remove it, or set RAY_TMPDIR to a folder of your own")
        path.chmod(0o700)
        tempfile.TemporaryFile(dir=path).close()  # a file system may be mounted read-only, or full
    except OSError as error:
        raise SweepError(
            f"Ray cannot keep its sessions in {path}: {error.strerror}; set RAY_TMPDIR to a folder that can be "
            "written to"
        ) from error
    return str(path)


def room(folder: Path) -> int:
    """How many bytes the path of a folder of sessions could be longer; negative where it is too long already."""
    return SOCKET - WITHIN - len(os.fsencode(folder))
