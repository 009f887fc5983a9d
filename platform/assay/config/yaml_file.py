"""Reads a YAML file defensively: plain values only, no code, no expansion, no duplicate keys.

Supported are the parts of YAML that settings files use: mappings, lists, text, numbers, `true`/`false`, `null`. Tags
and aliases are refused. `yes`, `on` and `2026-01-31` are text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml

from assay.contracts import Plain
from assay.errors import Fault, InputError, SpecError
from assay.redaction import holds_password, redacted

LIMIT = 1_000_000
"""The largest file read, in bytes."""

NODES = 100_000
"""The most values in a file that a program wrote."""

NAMED = 4
"""Folders suggested when a file is missing."""


class _Loader(yaml.SafeLoader):
    """SafeLoader without tags, aliases, merge keys, dates and the booleans `yes`, `no`, `on`, `off`."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        alias = isinstance(event, yaml.AliasEvent)
        if alias or getattr(event, "tag", None) is not None:
            what = "aliases (*name)" if alias else "tags (!name)"
            message = f"{what} are not allowed; write the value out"
            raise yaml.composer.ComposerError(None, None, message, cast(yaml.Mark, event.start_mark))
        return super().compose_node(parent, index)


class _Written(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """For what a program wrote: with aliases, which PyYAML writes wherever one value stands in two places.

    Audits are read many times over and libyaml takes a tenth of the time; its errors are too poor for files of people.
    """


_PLAIN = ("null", "int", "float")
for _kind in (_Loader, _Written):
    _kind.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in _PLAIN]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:bool", re.compile("(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
    )
_TAGS = {f"tag:yaml.org,2002:{name}" for name in (*_PLAIN, "bool", "str", "seq", "map")}


def load(path: str | Path) -> Plain:
    """The mapping in a YAML file.

    Raises InputError for a file that is missing, unreadable, over 1 MB, not UTF-8, not YAML, empty or not a mapping,
    and SpecError naming every key that is duplicated or is not text.
    """
    return decoded(_read(Path(path)), str(path))


def decoded(raw: bytes, file: str) -> Plain:
    """The mapping in the bytes of a YAML file; `file` is the name used in errors. Raises like `load`."""
    return parse(_text(raw, file), file)


def parse(text: str, file: str) -> Plain:
    """The mapping in YAML text; `file` is the name used in errors. Raises like `load`."""
    return _parsed(text, file, _Loader)


def written(raw: bytes, file: str) -> Plain:
    """The mapping in the bytes of a YAML file that a program wrote, aliases and all; raises InputError.

    With every alias written out it must stay small: nine lines of them can stand for more than a memory holds.
    """
    return _parsed(_text(raw, file), file, _Written)


def _parsed(text: str, file: str, kind: type[_Loader | _Written]) -> Plain:
    try:
        loader = kind(text)
        root = loader.get_single_node()
        if root and kind is _Written and _size(root, {}) > NODES:
            raise InputError(f"{file}: stands for more than {NODES} values once its aliases are written out")
        faults = [] if kind is _Written else list(_faults(root, ""))
        data = loader.construct_document(root) if root and not faults else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        tab = "; indent with spaces, not with tabs" if r"'\t'" in str(error.problem) else ""
        raise InputError(f"{file}{where}: not readable as YAML: {error.problem or error.context}{tab}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{file}: not readable as YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise InputError(f"{file}: nested too deeply to be a settings file") from error
    if faults:
        raise SpecError(file, faults)
    if data is None:
        raise InputError(f"{file}: empty; write a mapping of `key: value` lines")
    if not isinstance(data, dict):
        raise InputError(f"{file}: holds a {type(data).__name__}; write a mapping of `key: value` lines")
    return data


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for; one that holds itself stands for more than any number. Tags are refused."""
    if node.tag not in _TAGS:
        raise yaml.composer.ComposerError(None, None, f"the tag {node.tag} is not allowed", node.start_mark)
    if id(node) not in known:
        known[id(node)] = NODES + 1
        below = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for one in below for part in (one if isinstance(one, tuple) else (one,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(LIMIT + 1)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file{_near(path)}") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder; name a YAML file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _text(raw: bytes, path: str) -> str:
    if len(raw) > LIMIT:
        raise InputError(f"{path}: larger than {LIMIT // 1_000_000} MB; a settings file is much smaller")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def _faults(node: yaml.Node | None, at: str) -> Iterator[Fault]:
    """Duplicate keys, keys that are not text, and values with a password, anywhere under a node."""
    if isinstance(node, yaml.ScalarNode) and holds_password(node.value):
        allowed = "must be an address without credentials or signature: what a file contains is stored, shown and sent"
        yield Fault(at, redacted(node.value), allowed)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _faults(item, _join(at, str(index)))
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith(":str"):
                shown = str(key.value) if isinstance(key, yaml.ScalarNode) else f"a {key.id}"
                yield Fault(at, f"the key {shown} on line {line}", "keys are text; put it in quotes")
                continue
            path = _join(at, key.value)
            if key.value in seen:
                yield Fault(path, f"it on line {seen[key.value]} and again on line {line}", "write each key once")
            seen.setdefault(key.value, line)
            yield from _faults(value, path)


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _near(path: Path) -> str:
    """Where the file may be instead: one with a similar name beside it or one folder down, else folders with any."""
    folder = path.parent
    if not folder.is_dir():
        return f", and no folder {folder}"
    files = [file for pattern in ("*.y*ml", "[!.]*/*.y*ml") for file in sorted(folder.glob(pattern))]
    likest = difflib.get_close_matches(path.stem, {file.stem for file in files})
    if likest:
        return f"; did you mean {', '.join(str(file) for stem in likest for file in files if file.stem == stem)}?"
    places = sorted({str(file.parent) for file in files})
    return f"; there are YAML files in {', '.join(places[:NAMED])}" if places else ""
