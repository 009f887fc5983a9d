"""Signatures over whole folders: OpenSSF model signing with your own elliptic-curve key, offline.

A signature lists the SHA-256 of every file of a folder. It lies in that folder as `<fingerprint of the key>.sig`, so
it travels with it, and several people can sign the same model, each with their own key.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from assay.errors import InputError, StoreError
from assay.store.store import Store, opened

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

SUFFIX = ".sig"
NOT_COVERED = "wandb"
"""W&B's own folder in an audit: it holds links to absolute paths and changes when a run is synchronised."""
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
IRREGULAR = "not a regular file"
DAMAGED = "the signature is damaged, or was not made with this key"
MAKE_ONE = "make one with openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem"
_CONTENT = ("Signature mismatch", "Cannot use")  # how the library begins its messages about files, not about signatures


@dataclass(frozen=True)
class Key:
    """A private or a public key in a PEM file, and the fingerprint of the pair: `sha256sum` of the public PEM file."""

    path: Path
    fingerprint: str
    password: bytes | None = None

    @property
    def file(self) -> str:
        """The name of its signature in a folder."""
        return self.fingerprint[:16] + SUFFIX


class Checked(NamedTuple):
    """What is wrong with a signature ("" where it is valid), and the SHA-256 of each file it lists (if it is valid)."""

    problem: str
    files: dict[str, str]


def private_key(path: str | Path, ask: Callable[[], str]) -> Key:
    """The key to sign with; `ask` gives the password, and is called for an encrypted key only.

    Raises InputError for a file that holds no elliptic-curve private key, and for a wrong password.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path, password = Path(path), None
    content = _read(path)
    if b"PUBLIC KEY" in content:
        raise InputError(f"{path} is a public key; sign with the private key of the pair")
    try:
        key = load_pem_private_key(content, None)
    except TypeError:  # encrypted
        password = ask().encode()
        try:
            key = load_pem_private_key(content, password)
        except ValueError as error:
            raise InputError(f"{path} cannot be decrypted: the password is wrong, or the file is damaged") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path} is no private key in PEM form: {MAKE_ONE}") from error
    return Key(path, _fingerprint(path, key.public_key()), password)


def public_key(path: str | Path) -> Key:
    """The key to verify with; raises InputError for a file that holds no elliptic-curve public key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    path = Path(path)
    content = _read(path)
    if b"PRIVATE KEY" in content:
        remedy = f"openssl pkey -in {path} -pubout -out public.pem"
        raise InputError(f"{path} is a private key; verify with the public key of the pair: {remedy}")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path} is no public key in PEM form (it begins with -----BEGIN PUBLIC KEY-----)") from error
    return Key(path, _fingerprint(path, key))


def sign(folder: Store | Path, key: Key) -> str:
    """Sign every file of a folder but `*.sig` and `wandb/` at its top; returns where the signature lies.

    Raises StoreError where there is a link, or what an unfinished command left behind.
    """
    from model_signing import signing

    signer = signing.Config().use_elliptic_key_signer(private_key=key.path, password=key.password)
    with tempfile.TemporaryDirectory() as elsewhere, opened(folder).near() as near:
        require_signable(near)
        made = Path(elsewhere) / key.file
        signer.set_hashing_config(_hashing(near.path())).sign(near.path(), made)
        near.write(key.file, made.read_bytes())
        return near.place(key.file)


def of_text(content: bytes, key: Key) -> str:
    """The signature (base64) of a private key on some bytes."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private: Any = load_pem_private_key(_read(key.path), key.password)
    return base64.b64encode(private.sign(content, _algorithm())).decode()


def holds(content: bytes, signature: str, key: Key) -> bool:
    """Whether a signature of `of_text` on those bytes is of this public key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    public: Any = load_pem_public_key(_read(key.path))
    try:
        public.verify(_strict(signature), content, _algorithm())
    except (InvalidSignature, ValueError):
        return False
    return True


def require_signable(folder: Store | Path) -> None:
    """Raises StoreError where a folder holds a link, or a hidden file that an unfinished command left behind."""
    with opened(folder).near() as near:
        for name in _names(near.path()):
            place = f"{near.place()}/{name}"
            if not _regular(near.path() / name):
                raise StoreError(f"{place} is a link or no file at all; put the file itself there, then sign")
            if Path(name).name.startswith("."):
                raise StoreError(f"{place} was left by an unfinished command or a tool; delete it, then sign")


def signatures(folder: Store | Path) -> list[str]:
    """The names of the signatures in a folder."""
    return [name for name in opened(folder).names() if name.endswith(SUFFIX)]


def signers(folder: Store | Path) -> list[str]:
    """The beginnings of the fingerprints of the keys that signed a folder."""
    return [name.removesuffix(SUFFIX) for name in signatures(folder)]


def check(folder: Store | Path, key: Key) -> Checked:
    """The signature of this key on a folder: whether it is valid, and which files it lists."""
    with opened(folder).near() as near:
        return _check(near.path(), key)


def listed(folder: Store | Path, key: Key) -> dict[str, str]:
    """The SHA-256 of each file that the signature of a key says it covers; whether it is valid is not checked."""
    envelope = json.loads(opened(folder).read(key.file))["dsseEnvelope"]
    resources = json.loads(_strict(envelope["payload"]))["predicate"]["resources"]
    return {one["name"]: one["digest"] for one in resources}


def _check(folder: Path, key: Key) -> Checked:
    from model_signing import verifying

    path = folder / key.file
    if not path.exists():
        others = ", ".join(signers(folder))
        problem = f"signed with another key ({others}), not with {path.stem}" if others else "not signed"
        return Checked(problem, {})
    try:
        bundle = json.loads(path.read_text("utf-8"))
        if bundle["verificationMaterial"]["publicKey"]["hint"] != key.fingerprint:
            return Checked(DAMAGED, {})
        listed = json.loads(_strict(bundle["dsseEnvelope"]["payload"]))["predicate"]["resources"]
        _strict(bundle["dsseEnvelope"]["signatures"][0]["sig"])
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=key.path)
        verifier.set_hashing_config(_hashing(folder)).verify(folder, path)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a damaged signature makes the library raise, it is not valid
        if not str(error).startswith(_CONTENT):
            return Checked(DAMAGED, {})
    return Checked("", {one["name"]: one["digest"] for one in listed})


def digests(folder: Store | Path) -> dict[str, str]:
    """The SHA-256 of every file that a signature covers, by its path in the folder; IRREGULAR for a link."""
    with opened(folder).near() as near:
        return _digests(near.path())


def _digests(folder: Path) -> dict[str, str]:
    hashes = {}
    for name in _names(folder):
        if not _regular(folder / name):
            hashes[name] = IRREGULAR
            continue
        with (folder / name).open("rb") as file:
            hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _names(folder: Path) -> list[str]:
    """Every file below a folder, links not followed, without `*.sig` and `wandb/` at its top."""
    covered = []
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        covered += [Path(parent, name).relative_to(folder).as_posix() for name in [*files, *links]]
    return sorted(name for name in covered if name.split("/")[0] != NOT_COVERED and not _is_signature(name))


def _is_signature(name: str) -> bool:
    return "/" not in name and name.endswith(SUFFIX)


def _regular(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _hashing(folder: Path) -> Any:
    """How the library is to hash a folder: exactly `_names`. By default it leaves .git out, and fails at links."""
    from model_signing import hashing

    class Covered(hashing.Config):  # type: ignore[misc]
        def hash(self, model_path: Path, *, files_to_hash: object = None) -> Any:
            return super().hash(model_path, files_to_hash=[Path(model_path, name) for name in _names(folder)])

    left_out = [NOT_COVERED, *signatures(folder)]
    return Covered().set_ignored_paths(paths=left_out, ignore_git_paths=False)


def _strict(text: str) -> bytes:
    """Decoded base64; the spare bits at its end, which decoders ignore, must be 0 too."""
    content = base64.b64decode(text, validate=True)
    if base64.b64encode(content).decode() != text:
        raise ValueError("not the one way to write this in base64")
    return content


def _algorithm() -> Any:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    return ECDSA(hashes.SHA256())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"key {path} cannot be read: {error.strerror}") from error


def _fingerprint(path: Path, key: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    if not isinstance(key, EllipticCurvePublicKey):
        raise InputError(f"{path} is no elliptic-curve key: {MAKE_ONE}")
    if key.curve.name not in CURVES:
        allowed = ", ".join(CURVES.values())
        raise InputError(f"{path} is of the curve {key.curve.name}; one of {allowed} is needed: {MAKE_ONE}")
    return hashlib.sha256(_pem(key)).hexdigest()


def _pem(key: EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
