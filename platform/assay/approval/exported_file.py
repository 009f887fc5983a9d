"""Is an exported file what it was when it was compared with its model, and is the model what it was?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from assay.approval.signature import Key
from assay.approval.verification import Verification, of_model
from assay.deploy import sidecar
from assay.deploy.export import FOLDER, FORMATS
from assay.errors import InputError
from assay.models import model_folder
from assay.store import formats
from assay.store.store import Store


def verify(store: Store, file: Path, given: Sequence[Key]) -> list[Verification]:
    """Verify an exported file by the store's record of it, and the model where the store holds it.

    A file that the store has no record of is compared with its sidecar, which whoever changed it may have changed, too.
    Raises InputError where neither is there.
    """
    suffixes = [one.SUFFIX for one in FORMATS.values()]
    if file.suffix not in suffixes:
        raise InputError(f"{file} is no folder and no exported file ({', '.join(suffixes)})")
    sides = next(one.SIDES for one in FORMATS.values() if file.suffix == one.SUFFIX)
    found = sidecar.hashes(file, tuple(side for side in sides if file.with_suffix(side).is_file()))
    recorded = _record(store, found[file.name])
    stated = recorded or sidecar.read(file)
    # Files may be renamed together, so each is known by its suffix.
    wanted = {file.with_suffix(Path(name).suffix).name: digest for name, digest in stated["files"].items()}
    changed = tuple(name for name in wanted if name in found and found[name] != wanted[name])
    missing = tuple(name for name in wanted if name not in found)
    where = "" if recorded else "; this store has no record of the file, so its sidecar alone says so"
    says = (
        f"exported from model {stated['model'][:12]} ({stated.get('name', '-')}) at {stated.get('created', '-')}{where}"
    )
    verified = Verification("export", file.name, str(file.parent), len(found), changed, missing, says=says)
    model = str(stated["model"])
    if not model_folder.is_hash(model):
        return [replace(verified, problems=("it names no model",))]
    if not store.exists(f"models/{model}"):
        return [verified]
    return [verified, of_model(store.below(f"models/{model}"), given, model)]


def _record(store: Store, digest: str) -> dict[str, Any] | None:
    """What the store says of an exported file, by its hash."""
    key = f"{FOLDER}/{digest}.json"
    if not store.exists(key):
        return None
    content = store.read_json(key)
    formats.check_content(content, "export", store.place(key))
    return dict(content)
