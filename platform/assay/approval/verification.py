"""Is a model or an audit what it was when it was named, and when it was signed?

A model's name is the hash of its content, so it can be checked without any key. Scores, figures, verdict and report
of an audit are protected by a signature alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assay.approval import records, review, signature
from assay.approval.judgement import judged
from assay.approval.signature import Key
from assay.approval.trust import people, quorum, redecision
from assay.approval.trust.hashed import HashedFolder, hashed
from assay.approval.trust.memory import Memory
from assay.approval.trust.people import Keys
from assay.approval.verdict import verdict_of
from assay.errors import AssayError, InputError, ModelError, StoreError
from assay.models import deployed_file, model_folder
from assay.store import formats, references, services
from assay.store.audit_reader import Audit
from assay.store.store import Store, opened

CHANGED = 3
"""Exit code of the command line where something was changed or a signature is not valid."""


@dataclass(frozen=True)
class Verification:
    """The result for one folder: names of files in it, and sentences about what else is wrong.

    signed: whether a valid signature of every given key covers it; False also where no key was given.
    signers: the beginnings of the fingerprints of those keys. unchecked: signatures by other keys.
    says: what an audit says of itself, to be believed only where it is signed.
    """

    kind: str
    name: str
    folder: str
    files: int
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    signed: bool = False
    signers: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    says: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.changed or self.missing or self.new or self.problems)


def verify(store: Store, text: str, given: Sequence[Key], keys: Keys | None = None) -> list[Verification]:
    """Verify the model that `text` names, or the audit and its model where the store holds it.

    text: a model's hash, a service or an audit as in `references.audit`, or the path or URL of such a folder anywhere.
    given: public keys, each of which must have signed. keys: whose they are.
    Raises InputError where it names neither.
    """
    if "://" in text:
        return of_folder(Store(text), given, keys)
    path = Path(text).expanduser()
    if "/" in text and not path.is_dir():
        raise InputError(f"there is no folder {text}")
    if path.is_dir() and ("/" in text or not store.exists(f"audits/{text}")):
        return of_folder(Store(path), given, keys)
    if text in store.names("audits"):
        return of_audit(references.folder(store, text), given, text, keys=keys)
    if any(name.startswith(text) for name in store.names("models")):
        name = references.model(store, text)
        return [of_model(store.below(f"models/{name}"), given, name)]
    if model := services.holder(store, text):
        return _serving(store, text, model, given, keys)
    name = references.audit(store, text)
    return of_audit(references.folder(store, name), given, name, keys=keys)


def _serving(store: Store, name: str, model: str, given: Sequence[Key], keys: Keys | None) -> list[Verification]:
    """Verify what serves under a name: the audit that it was promoted by, which must say PASS, and its model."""
    audit = next((one.audit for one in reversed(records.promotions(store)) if one.name == name), "-")
    if audit not in store.names("audits"):
        verified = of_model(store.below(f"models/{model}"), given, model)
        why = f"audit {audit}, by which it serves as {name}, is gone: nothing says that it was approved"
        return [replace(verified, problems=(*verified.problems, why))]
    with hashed(references.folder(store, audit)) as held:
        first, *rest = of_audit(held, given, audit, keys=keys)
        why = _not_approved(Audit(held), model)
    if why:
        first = replace(first, problems=(*first.problems, f"{why}, though {model[:12]} serves as {name} by it"))
    return [first, *rest]


def _not_approved(audit: Audit, model: str) -> str:
    """Why an audit does not approve a model, or nothing."""
    try:
        verdict = verdict_of(audit)
        if audit.info["model"] != model:
            return f"it is an audit of {str(audit.info['model'])[:12]}"
        if verdict is None or not verdict.passed or not verdict.policy.approves:
            return f"its verdict is {verdict.verdict if verdict else 'missing'} and approves nothing"
    except AssayError:
        return ""  # which is among the problems already
    return ""


def of_folder(folder: Store, given: Sequence[Key], keys: Keys | None = None) -> list[Verification]:
    """Verify a folder anywhere; the model of an audit is looked for as in a store."""
    place = folder.place()
    if folder.exists("audit.yaml") or folder.exists(review.FILE):
        return of_audit(folder, given, keys=keys)
    if folder.exists("manifest.json"):
        hashed = model_folder.is_hash(folder.name)
        if not hashed and not given:
            raise InputError(f"{place} is not named by the hash of a model, so nothing says what it was; give --key")
        return [of_model(folder, given, folder.name if hashed else None)]
    raise InputError(f"{place} is neither an audit (audit.yaml) nor a model (manifest.json)")


def of_audit(
    place: Store | Path,
    given: Sequence[Key],
    name: str | None = None,
    *,
    keys: Keys | None = None,
    decided: bool = True,
) -> list[Verification]:
    """Verify an audit, and its model in `../../models`; name: the id that the audit must have.

    given: public keys, each of which must have signed. keys: who may sign. decided: whether the verdict and the review
    count; not where both are about to be replaced.
    """
    with hashed(place) as folder:
        beside, audit = folder.up(2), Audit(folder)  # one for all: each reads and parses its files once
        verified = _of_audit(audit, folder, given, name, decided)
        if decided and verified.signed and (stranger := _stranger(audit, given, keys)):
            verified = replace(verified, problems=(*verified.problems, stranger))
        objection = _objection(beside, audit, first(audit, given)) if decided else ""
        if objection and objection not in verified.problems:
            verified = replace(verified, problems=(*verified.problems, objection))
        hash = _model(audit)
    if model_folder.is_hash(hash) and beside.exists(f"models/{hash}"):
        return [verified, of_model(beside.below(f"models/{hash}"), given, hash)]
    return [verified]


def first(audit: Audit, given: Sequence[Key]) -> Key | None:
    """The key, of those given, that review.json names; where it names none of them, or cannot be read, any."""
    try:
        reviewed = review.read(audit.folder)
    except AssayError:
        reviewed = None
    named = (key for key in given if reviewed and key.fingerprint == reviewed.key)
    return next(named, given[0] if given else None)


def _stranger(audit: Audit, given: Sequence[Key], keys: Keys | None) -> str:
    """Why the keys are not of those who must sign; nothing while nobody has decided.

    The first must be the reviewer's and may approve by the policy, and there must be as many people as must sign.
    """
    try:
        verdict, key = verdict_of(audit), first(audit, given)
        policy = redecision.policy_of(verdict) if verdict else None
        if policy and key and not policy.may_approve(key.fingerprint):
            return f"policy {policy.name} does not list the key {key.fingerprint[:16]} among its approvers"
        if verdict is None or key is None:
            return ""
        reviewed = review.read(audit.folder)
        return people.objection(keys, key, reviewed) or quorum.shortage(verdict, reviewed, given, keys)
    except AssayError as error:
        return str(error)


def _objection(beside: Store, audit: Audit, key: Key | None) -> str:
    """What the register beside an audit says against its verdict; nothing where there is none."""
    if not beside.names(records.FOLDER):
        return ""
    try:
        return Memory.of(beside, key).objection(audit)
    except AssayError as error:
        return str(error)


def _model(audit: Audit) -> str:
    """The hash of the model that an audit names, or nothing where that cannot be read."""
    try:
        return str(audit.info["model"])
    except AssayError:
        return ""


def _of_audit(
    audit: Audit, folder: HashedFolder, given: Sequence[Key], name: str | None, decided: bool
) -> Verification:
    files = folder.files
    problems: list[str] = []
    changed: tuple[str, ...] = ()
    says = ""
    try:
        if name and audit.info["audit"] != name:
            problems.append(f"it is audit {audit.info['audit']}, under another name")
        if not model_folder.names(str(audit.info["model"]), files.get("manifest.json", "")):
            changed = ("manifest.json",)
        if decided:
            says = _says(audit)
            problems += _stale(audit)
    except AssayError as error:
        problems.append(str(error))
    plain = Verification(
        "audit", name or folder.name, folder.place(), len(files), changed, (), (), tuple(problems), says=says
    )
    verified = _with_signatures(plain, folder, files, given)
    if decided and verified.good and not verified.signed and (other := _other(audit)):
        return replace(verified, problems=(other,))
    return verified


def of_model(place: Store | Path, given: Sequence[Key], name: str | None = None) -> Verification:
    """Verify a model; name: the hash that it must have, None where its folder is not named by it."""
    with opened(place).near() as folder:
        files = signature.digests(folder)
        changed, missing, new = map(tuple, _content(folder, files, name))
        plain = Verification("model", name or folder.name, folder.place(), len(files), changed, missing, new)
        return _with_signatures(plain, folder, files, given)


def _content(folder: Store, files: dict[str, str], name: str | None) -> tuple[list[str], list[str], list[str]]:
    """Files changed, missing and new by the hashes that a model is named by."""
    others = [file for file in files if file != "manifest.json"]
    if "manifest.json" not in files:
        return [], ["manifest.json"], []
    if name and not model_folder.names(name, files["manifest.json"]):
        return ["manifest.json"], [], []
    try:
        manifest = folder.read_json("manifest.json")
        formats.check_content(manifest, "model", folder.place("manifest.json"))
        weights = manifest.get("weights_sha256")
    except (StoreError, AttributeError):
        return ["manifest.json"], [], []
    try:
        sides = _more_files(manifest)
    except (ModelError, AttributeError):
        return ["manifest.json"], [], []
    changed = [file for file, wanted in sides.items() if files.get(file, wanted) != wanted]
    missing = [file for file in sides if file not in files]
    others = [file for file in others if file not in sides]
    if weights in (None, *files.values()):
        return changed, missing, [file for file in others if files[file] != weights]
    if not others:
        return changed, [*missing, "the file beside manifest.json"], []
    return [*changed, *others], missing, []


def _more_files(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The hashes of a model's files but its first one: its side files, and the file that is deployed in its place."""
    return {**model_folder.side_files(manifest), **deployed_file.hashes(manifest)}


def _with_signatures(plain: Verification, folder: Store, files: dict[str, str], given: Sequence[Key]) -> Verification:
    """The verification by content alone, extended by what the signature of every key says."""
    links = [file for file, digest in files.items() if digest == signature.IRREGULAR]
    known = [key.file for key in given]
    others = [name for name in signature.signers(folder) if name + signature.SUFFIX not in known]
    verified = replace(plain, changed=_sorted(plain.changed, links), unchecked=tuple(others))
    for key in given:
        problem, signed = signature.check(folder, key)
        if problem:
            verified = replace(verified, problems=(*verified.problems, problem))
            continue
        differs = [file for file in files.keys() & signed.keys() if files[file] != signed[file]]
        verified = replace(
            verified,
            signers=(*verified.signers, key.file.removesuffix(signature.SUFFIX)),
            changed=_sorted(verified.changed, differs),
            missing=_sorted(verified.missing, signed.keys() - files.keys()),
            new=_sorted(verified.new, files.keys() - signed.keys()),
        )
    return replace(verified, signed=bool(given) and len(verified.signers) == len(given))


def _sorted(*groups: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set().union(*groups)))


def _says(audit: Audit) -> str:
    """`PASS by Jane Doe (approver) on 2026-02-03, until 2026-06-01`, or nothing where nobody has decided."""
    verdict = verdict_of(audit)
    if verdict is None:
        return ""
    reviewed = review.read(audit.folder)
    by = f" by {reviewed.reviewer} ({reviewed.role})" if reviewed and reviewed.reviewer else ""
    on = f" on {reviewed.date}" if reviewed else ""
    if reviewed and reviewed.expires:
        on += f", {'EXPIRED on' if reviewed.expired else 'until'} {reviewed.expires}"
    return f"{verdict.verdict}{by}{on}"


def _stale(audit: Audit) -> list[str]:
    """A sentence where the verdict was made on other figures or checks than there are now."""
    verdict = verdict_of(audit)
    if verdict is None or not verdict.judged or verdict.judged == judged(audit.folder):
        return []
    return ["verdict.json decides on other figures or checks than there are now; run assay approve again"]


def _other(audit: Audit) -> str:
    """A sentence where an unsigned verdict is not the one that its policy gives."""
    try:
        verdict = verdict_of(audit)
        return redecision.difference(audit, verdict) if verdict else ""
    except AssayError as error:
        return f"its verdict cannot be decided again: {error}"


def require_good(verified: list[Verification], remedy: str) -> None:
    """Raises AssayError for the first folder that is not as it was."""
    for one in verified:
        if not one.good:
            raise AssayError(f"{one.kind} {one.name}: {'; '.join(lines(one))}; {remedy}")


def lines(verification: Verification) -> list[str]:
    """What is wrong, a line each."""
    files = {"changed": verification.changed, "missing": verification.missing, "new": verification.new}
    return [*verification.problems, *(f"{what}: {file}" for what, names in files.items() for file in names)]
