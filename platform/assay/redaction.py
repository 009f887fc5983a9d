"""Keeps secrets out of what is printed, logged or stored: by their format, and those of this process by their value."""

from __future__ import annotations

import base64
import functools
import json
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
SHORTEST = 8  # shortest value to look for; shorter ones may be ordinary words

_QUERY_NAMES = (
    r"[^=\s&#;]*(?:signature|token|secret|password|passwd|credential|access_?key|api_?key)[^=\s&#;]*"
    r"|sig|key|auth|code|pwd|pass"
)
_FORMATS = (
    # What stands before the @ of an address; a password may hold a slash, a quote or a blank, a port is no password.
    (re.compile(r"(?<=://)[^\s/@\"'<>]+(?=@)"), HIDDEN),
    (re.compile(r"(?<=://)[^\s/@:\"'<>]*:(?!\d{1,5}(?:[/?#\s\"']|$))[^@\n]{1,200}(?=@[\w\[])"), HIDDEN),
    (re.compile(r"(?<![\w/:.@-])[\w.+-]+:[^\s:@/\"'<>]{3,}(?=@(?:localhost|[\w-]+(?:\.[\w-]+)+|[\w-]+:\d))"), HIDDEN),
    # What signs or unlocks it, behind its path.
    (re.compile(rf"([?&#;](?:{_QUERY_NAMES})=)[^&\s\"'<>;#]+", re.IGNORECASE), rf"\g<1>{HIDDEN}"),
    (re.compile(r"((?:^|[;\s\"'])(?:AccountKey|SharedAccessKey|Password|Pwd)=)[^;\s\"']+", re.IGNORECASE),
     rf"\g<1>{HIDDEN}"),
    (re.compile(r"\b((?:Bearer|Basic) +)[\w.~+/=-]{16,}", re.IGNORECASE), rf"\g<1>{HIDDEN}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    # Tokens that say by their first letters what they are.
    (re.compile(
        r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|\bhf_[A-Za-z0-9]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}"
        r"|\bglpat-[\w-]{16,}|\bxox[abeprs]-[\w-]{10,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{30,}"
        r"|\bsk-[\w-]{20,}|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{30,}"
    ), HIDDEN),
)  # fmt: skip
"""Pattern -> what stands in its place."""

_NAMES_SECRET = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|(?:^|_)PASS(?:_|$)|_PWD(?:_|$)|_PAT$|KEY$|KEY_ID$|API_?KEY|ACCESS_KEY"
    r"|PRIVATE_KEY|CREDENTIAL|CONNECTION_STRING|CONN_STR|(?:^|_)DSN(?:_|$)|_AUTH$",
    re.IGNORECASE,
)
_NAMES_PLACE = re.compile(r"(?:PATH|FILE|DIR|MODE|ASKPASS)$", re.IGNORECASE)


def redacted(text: str) -> str:
    """The text with `***` in place of credentials, signatures and tokens, and of this process's secrets."""
    for value in _secrets():
        text = text.replace(value, HIDDEN)
    for pattern, instead in _FORMATS:
        text = pattern.sub(instead, text)
    return text


def holds_password(text: str) -> bool:
    """Whether the text holds credentials, a signature, a token or a private key, by its format."""
    return any(pattern.search(text) for pattern, _ in _FORMATS)


def _secrets() -> list[str]:
    """The values of environment variables with names of secrets in every form they are met in, longest first."""
    named = [
        value for name, value in os.environ.items() if _NAMES_SECRET.search(name) and not _NAMES_PLACE.search(name)
    ]
    forms = {form for value in named for form in _forms(value)}
    return sorted(forms, key=len, reverse=True)


@functools.lru_cache(maxsize=256)
def _forms(value: str) -> tuple[str, ...]:
    """A value, its lines and the texts in it as JSON: each as it is, escaped, in an address, and in base64."""
    if os.path.isabs(value) and os.path.exists(value):  # noqa: PTH110, PTH117 - a place, not a secret
        return ()
    whole = [value, *value.splitlines(), *_leaves(value)]
    parts = {part.strip() for part in whole if not part.strip().startswith("-----")}
    forms = {value} if len(value) >= SHORTEST else set()
    for part in (part for part in parts if len(part) >= SHORTEST):
        forms |= {part, repr(part)[1:-1], json.dumps(part)[1:-1], quote(part), quote(part, safe=""), *_base64(part)}
    return tuple(forms)


def _leaves(value: str) -> Iterator[str]:
    """Every text in a JSON mapping, such as the key of a service account."""
    try:
        pending: list[Any] = [json.loads(value)] if value.lstrip().startswith("{") else []
    except (ValueError, RecursionError):
        return
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            yield from (one, *one.splitlines())
        elif isinstance(one, dict | list):
            pending += one.values() if isinstance(one, dict) else one


def _base64(value: str) -> Iterator[str]:
    """What stands in any base64 text that holds the value, as in `user:password`; at its three possible offsets."""
    for offset, skipped in ((0, 0), (1, 2), (2, 3)):
        raw = bytes(offset) + value.encode()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(raw[: len(raw) // 3 * 3]).decode()[skipped:]
            if len(text) >= SHORTEST:
                yield text
