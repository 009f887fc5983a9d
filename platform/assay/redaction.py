"""Keeps secrets out of what is printed, logged or stored: passwords in URLs, values of secret environment variables."""

from __future__ import annotations

import os
import re

HIDDEN = "***"
SHORTEST = 8  # shortest value to look for; shorter ones may be ordinary words
_IN_URL = re.compile(r"(?<=://)[^\s/@\"'<>]+(?=@)")
_IN_QUERY = re.compile(
    r"([?&][^=\s&]*(?:signature|token|secret|password|credential|access_?key)[^=\s&]*=)[^&\s\"'<>]+", re.IGNORECASE
)
_NAMES_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|CREDENTIAL")
_NAMES_PLACE = re.compile(r"(?:PATH|FILE|DIR|URI|URL|MODE)$")


def redacted(text: str) -> str:
    """The text with `***` in place of credentials and signatures in URLs, and of this process's secrets."""
    for value in _secrets():
        text = text.replace(value, HIDDEN)
    return _IN_QUERY.sub(rf"\g<1>{HIDDEN}", _IN_URL.sub(HIDDEN, text))


def holds_password(text: str) -> bool:
    """Whether the text is a URL with credentials before an @, or with a signature."""
    return bool(_IN_URL.search(text) or _IN_QUERY.search(text))


def _secrets() -> list[str]:
    """The values of environment variables with names of secrets, longest first."""
    named = (
        value for name, value in os.environ.items() if _NAMES_SECRET.search(name) and not _NAMES_PLACE.search(name)
    )
    return sorted({value for value in named if len(value) >= SHORTEST}, key=len, reverse=True)
