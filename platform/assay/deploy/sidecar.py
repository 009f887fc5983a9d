"""What lies beside an exported file: its sidecar (JSON), which says what it is, and a card with which it is audited."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from assay.contracts import Plain
from assay.errors import InputError
from assay.models.model_folder import Model
from assay.store import formats

SUFFIX = ".json"
"""Added to the name of the file: `line-9.onnx.json`."""
PURPOSE = ("intended_use", "out_of_scope_use", "materiality")


def place(file: Path) -> Path:
    """Where the sidecar of a file lies."""
    return file.with_name(file.name + SUFFIX)


def hashes(file: Path, sides: tuple[str, ...]) -> dict[str, str]:
    """Name -> SHA-256 of a file and of those of the same name with other suffixes that belong to it."""
    return {one.name: _hash(one) for one in (file, *(file.with_suffix(side) for side in sides))}


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read(file: Path) -> Plain:
    """The sidecar of an exported file; raises InputError where there is none, or none of an export."""
    beside = place(file)
    try:
        content = json.loads(beside.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{file} has no {beside.name} beside it, so nothing says what it was exported from") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{beside} cannot be read ({error}); export the model again") from error
    formats.check_content(content, "export", str(beside))
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict) or "model" not in content:
        raise InputError(f"{beside} does not say what was exported; export the model again")
    return content


def written(content: Mapping[str, Any]) -> bytes:
    """The text of a sidecar."""
    return json.dumps({formats.FIELD: formats.written("export"), **content}, indent=2).encode() + b"\n"


def card_of(file: Path) -> Path:
    """Where the card of a file lies: where `models.card` looks for it."""
    return file.with_suffix(".yaml")


def card(model: Model) -> bytes:
    """A card (models.card) for the files exported from a model, the same for all formats."""
    manifest = model.manifest
    trained_on = manifest.get("trained_on", "train" if "trainable" in manifest else None)
    values = {
        "dataset": manifest["dataset"]["item"],
        "threshold": model.threshold,
        **({"trained_on": trained_on} if trained_on else {}),
        "notes": f"Exported from model {model.hash[:12]}; it does its own resize.",
        **({"purpose": purpose} if (purpose := {key: manifest[key] for key in PURPOSE if key in manifest}) else {}),
    }
    head = "# The card of the exported files of this name; to audit one: assay audit FILE\n"
    return head.encode() + yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()
