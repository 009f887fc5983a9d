"""Keys, and a store with two audited models of one dataset: what the tests of signatures and the register share."""

from __future__ import annotations

import shutil
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from assay.models import model_folder
from assay.store.store import Store

PRIVATE = serialization.PrivateFormat.PKCS8
PEM = serialization.Encoding.PEM


def write_keys(folder: Path, name: str, key=None, password: str | None = None) -> tuple[Path, Path]:
    """Write `name.pem` and `name-public.pem` and return both paths."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    hidden = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}-public.pem"
    private.write_bytes(key.private_bytes(PEM, PRIVATE, hidden))
    public.write_bytes(key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def add_sibling(store: Store) -> str:
    """Copy the store's one audit as that of another model, which differs in its documentation; returns the audit."""
    [old], [audit] = store.names("models"), store.names("audits")
    manifest = {key: value for key, value in model_folder.read_manifest(store, old).items() if key != "weights_sha256"}
    content = store.read(f"models/{old}/model.safetensors")
    new = model_folder.write_folder(store, {**manifest, "documentation": "Another toy."}, content)
    renamed = new[:12] + audit[12:]
    folder = store.path(f"audits/{renamed}")
    shutil.copytree(store.path(f"audits/{audit}"), folder)
    text = (folder / "audit.yaml").read_text().replace(audit, renamed).replace(old, new)
    (folder / "audit.yaml").write_text(text)
    (folder / "manifest.json").write_bytes(store.read(f"models/{new}/manifest.json"))
    return renamed


def flip(path: Path, at: int) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(bytes(content))
