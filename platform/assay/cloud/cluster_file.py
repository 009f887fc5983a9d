"""A cluster file of `ray up`: reading it, and filling in what an account's stack made.

A file that is shipped has words such as `fill-in-Subnets` where an account's ids belong. Ray takes none of them for an
id, so a file that is not filled in starts nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from assay.config import yaml_file
from assay.errors import InputError

BLANK = re.compile(r"fill-in-(\w+(?:-\w+)*)")


def blanks(text: str) -> list[str]:
    """The names of what is still to be filled in, outside comments, in order."""
    lines = (line.partition(" #")[0] for line in text.splitlines() if not line.lstrip().startswith("#"))
    return list(dict.fromkeys(name for line in lines for name in BLANK.findall(line)))


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with each `fill-in-NAME` replaced by that value; others stay."""
    return BLANK.sub(lambda found: values.get(found[1], found[0]), text)


def text_of(path: str | Path) -> str:
    """The text of a file; raises InputError where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def read(path: str | Path) -> dict[str, Any]:
    """The content of a cluster file.

    Raises InputError where it isn't one, or where something is to be filled in.
    """
    text = text_of(path)
    content = _merged(yaml_file.written(text.encode(), str(path)))
    provider = content.get("provider") if isinstance(content, dict) else None
    if not isinstance(provider, dict) or "type" not in provider:
        raise InputError(f"{path} is not a cluster file of `ray up`: it has no `provider` with a `type`")
    if left := blanks(text):
        raise InputError(
            f"{path}: {', '.join(left)} {'is' if len(left) == 1 else 'are'} to be filled in; for AWS, `assay cluster "
            f"fill {path} --stack NAME --output MINE.yaml` does it"
        )
    return dict(content)


def _merged(value: Any) -> Any:
    """The value with merge keys (`<<`) followed, as Ray's own reader does."""
    if isinstance(value, list):
        return [_merged(one) for one in value]
    if not isinstance(value, dict):
        return value
    base = value.get("<<")
    first = _merged(base) if isinstance(base, dict) else {}
    return {**first, **{key: _merged(one) for key, one in value.items() if key != "<<"}}


def node_types(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each node type's name and its `node_config`."""
    for name, kind in (content.get("available_node_types") or {}).items():
        yield name, (kind or {}).get("node_config") or {}


def most(content: Mapping[str, Any], name: str) -> int:
    """How many nodes of a type may run at a time, by the file."""
    kinds, total = content.get("available_node_types") or {}, int(content.get("max_workers", 2))
    if name == content.get("head_node_type"):
        return 1
    return min(total, int(kinds[name].get("max_workers", total)))
