"""What the user set for W&B itself: its environment variables, then the files of `wandb login`, `offline`, `disabled`.

Read without W&B, which takes a second to import, as most commands send nothing.
"""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

OWN = ("api.wandb.ai", "api.forge.coreweave.com")  # hosts of W&B's own server, the older name first
OFF = {"disabled": "disabled", "offline": "offline", "dryrun": "offline"}


@dataclass(frozen=True)
class Mode:
    """`online`, `offline`, `disabled` or `no key`, and the variable or file that says so, "" where none does."""

    value: str
    source: str = ""


def mode() -> Mode:
    """Whether anything may be sent; a variable counts more than a file, and the folder's file more than the user's."""
    if asked := os.environ.get("WANDB_MODE", "").lower():
        if asked in OFF:
            return Mode(OFF[asked], "WANDB_MODE")
    elif _true(os.environ.get("WANDB_DISABLED", "")):
        return Mode("disabled", "WANDB_DISABLED")
    else:
        for file in _files():
            noted = _read(file)
            asked = "disabled" if _true(noted.get("disabled", "")) else noted.get("mode", "").lower()
            if asked in OFF:
                return Mode(OFF[asked], str(file))
            if asked:
                break
    return Mode("online") if has_key() else Mode("no key")


def server() -> str:
    """The W&B server: WANDB_BASE_URL, else what `wandb login --host` noted; empty for W&B's own."""
    return (os.environ.get("WANDB_BASE_URL") or noted("base_url")).rstrip("/")


def noted(name: str) -> str:
    """A setting in W&B's files, "" where none has it."""
    return next((value for file in _files() if (value := _read(file).get(name, ""))), "")


def has_key() -> bool:
    """Whether a key for the server is in the environment or in .netrc."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(server()).hostname
    try:
        names = Path(os.environ.get("NETRC", "~/.netrc")).expanduser().read_bytes()
    except OSError:  # none there, or none that may be read
        return False
    return any(name.encode() in names for name in ([host] if host else OWN))


def _files() -> tuple[Path, Path]:
    """W&B's settings of this folder and of this user."""
    here = Path(os.environ.get("WANDB_DIR", ".")).expanduser()
    folder = here / ".wandb" if (here / ".wandb").exists() else here / "wandb"
    return folder / "settings", Path(os.environ.get("WANDB_CONFIG_DIR", "~/.config/wandb")).expanduser() / "settings"


def _read(file: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(file)
        return dict(parser.items("default")) if parser.has_section("default") else {}
    except (configparser.Error, OSError, UnicodeDecodeError):  # W&B itself will say what is wrong
        return {}


def _true(text: str) -> bool:
    return text.strip().lower() in ("true", "1", "yes", "on")
