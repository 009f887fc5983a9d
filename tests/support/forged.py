"""Models as somebody forges them who can write to a store: every hash in them is right."""

from __future__ import annotations

from typing import Any

from assay.hashing import canonical, digest
from assay.models import model_folder
from assay.store.store import Store


def model(store: Store, files: dict[str, bytes] | None = None, **changes: Any) -> str:
    """Write the store's first model once more with other files and other keys in its manifest; returns its hash.

    A change to None takes the key out.
    """
    manifest = {**store.read_json(f"models/{store.names('models')[0]}/manifest.json"), **changes}
    manifest = {key: value for key, value in manifest.items() if value is not None}
    name = digest(canonical(manifest))[: model_folder.HASH_LENGTH]
    for file, content in (files or {}).items():
        store.write(f"models/{name}/{file}", content)
    store.write(f"models/{name}/manifest.json", canonical(manifest))
    return name


def factory(store: Store, detector: str, code_sha256: str | None) -> str:
    """A model that says it is what `detector`, a `module:attribute`, makes."""
    return model(store, kind="factory", detector=detector, code_sha256=code_sha256, trainable=None, parameters=None,
                 weights_sha256=None, higher_is="anomalous")  # fmt: skip
