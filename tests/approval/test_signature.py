"""Signatures over folders: keys that may sign, and every change that verification must find."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from signed_store import flip, write_keys

from assay.approval import signature
from assay.errors import InputError, StoreError


def never():
    raise AssertionError("asked for a password")


@pytest.fixture
def private(keys):
    return signature.private_key(keys[0], never)


@pytest.fixture
def public(keys):
    return signature.public_key(keys[1])


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    (folder / "scores").mkdir(parents=True)
    (folder / "a.json").write_text("{}")
    (folder / "scores" / "part.parquet").write_bytes(bytes(range(256)))
    return folder


def test_what_was_signed_is_unchanged_also_elsewhere_and_under_another_name(folder, private, public, tmp_path):
    signature.sign(folder, private)
    for place in (folder, shutil.copytree(folder, tmp_path / "else" / "where")):
        problem, files = signature.check(place, public)
        assert problem == ""
        assert files == signature.digests(place)
    assert set(files) == {"a.json", "scores/part.parquet"}


def test_the_fingerprint_is_the_sha256_of_the_public_file(keys, private, public):
    assert private.fingerprint == public.fingerprint == hashlib.sha256(keys[1].read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["a.json", "scores/part.parquet"])
def test_a_changed_file_has_another_digest_than_the_signature_lists(folder, private, public, name):
    signature.sign(folder, private)
    flip(folder / name, 1)
    problem, files = signature.check(folder, public)
    assert problem == "", "the signature itself is valid"
    found = signature.digests(folder)
    assert {name for name in files if files[name] != found[name]} == {name}


def test_any_changed_byte_of_the_signature_is_found(folder, private, public):
    path = Path(signature.sign(folder, private))
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert signature.check(folder, public).problem == signature.DAMAGED, at


@pytest.mark.parametrize("true_one_last", [True, False])
@pytest.mark.parametrize("other_spelling", ["dsseEnvelope", "dsse_envelope"])
def test_a_second_envelope_beside_the_signed_one_is_not_believed(
    folder, private, public, true_one_last, other_spelling
):
    path = Path(signature.sign(folder, private))
    bundle = json.loads(path.read_text())
    true = bundle.pop("dsseEnvelope")
    listed = json.loads(base64.b64decode(true["payload"]))
    (folder / "a.json").write_text("evil")
    for one in listed["predicate"]["resources"]:
        one["digest"] = signature.digests(folder)[one["name"]]
    forged = {**true, "payload": base64.b64encode(json.dumps(listed).encode()).decode()}
    pair = [f'"{other_spelling}": {json.dumps(true)}', f'"dsseEnvelope": {json.dumps(forged)}'][
        :: -1 if true_one_last else 1
    ]
    path.write_text(json.dumps(bundle)[:-1] + ", " + ", ".join(pair) + "}")
    problem, files = signature.check(folder, public)
    assert problem == signature.DAMAGED or files != signature.digests(folder)


def test_spare_bits_of_base64_are_found_though_they_decode_to_the_same(folder, private, public):
    path = Path(signature.sign(folder, private))
    bundle = json.loads(path.read_text())
    payload = bundle["dsseEnvelope"]["payload"]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    if not payload.endswith("="):  # one name longer, so that there are spare bits
        (folder / "more").write_text("")
        bundle = json.loads(Path(signature.sign(folder, private)).read_text())
        payload = bundle["dsseEnvelope"]["payload"]
    bare = payload.rstrip("=")
    other = bare[:-1] + letters[letters.index(bare[-1]) ^ 1] + payload[len(bare) :]
    assert base64.b64decode(other) == base64.b64decode(payload)
    path.write_text(path.read_text().replace(payload, other))
    assert signature.check(folder, public).problem == signature.DAMAGED


def test_a_signature_by_another_key_says_whose_there_is(folder, private, tmp_path):
    signature.sign(folder, private)
    other = signature.public_key(write_keys(tmp_path, "other")[1])
    assert private.fingerprint[:16] in signature.check(folder, other).problem
    (folder / private.file).rename(folder / other.file)
    assert signature.check(folder, other).problem == signature.DAMAGED


def test_a_folder_that_nobody_signed_says_so(folder, public):
    assert signature.check(folder, public).problem == "not signed"


def test_two_people_sign_the_same_folder(folder, private, public, tmp_path):
    mine, yours = write_keys(tmp_path, "second")
    signature.sign(folder, private)
    signature.sign(folder, signature.private_key(mine, never))
    assert signature.check(folder, public).problem == ""
    assert signature.check(folder, signature.public_key(yours)).problem == ""


def test_git_files_are_covered_too(folder, private, public):
    signature.sign(folder, private)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("new")
    assert set(signature.digests(folder)) - set(signature.check(folder, public).files) == {".git/config"}


def test_a_link_is_no_file_even_to_the_same_content(folder, private, public, tmp_path):
    signature.sign(folder, private)
    (folder / "a.json").rename(tmp_path / "a.json")
    (folder / "a.json").symlink_to(tmp_path / "a.json")
    assert signature.check(folder, public).problem == ""
    assert signature.digests(folder)["a.json"] == signature.IRREGULAR


@pytest.mark.parametrize("target", ["a.json", "scores"])
def test_links_are_not_signed(folder, private, target):
    (folder / "link").symlink_to(folder / target)
    with pytest.raises(StoreError, match="is a link"):
        signature.sign(folder, private)


def test_what_an_unfinished_command_left_is_not_signed(folder, private):
    (folder / "scores" / ".part.tmp").write_text("half")
    with pytest.raises(StoreError, match="unfinished"):
        signature.sign(folder, private)
    assert signature.signatures(folder) == []


def test_the_folder_of_wandb_with_its_links_is_not_covered(folder, private, public):
    (folder / "wandb").mkdir()
    (folder / "wandb" / "latest-run").symlink_to("/nowhere")
    signature.sign(folder, private)
    (folder / "wandb" / "run.synced").write_text("later")
    assert signature.check(folder, public).files == signature.digests(folder)


def test_an_encrypted_key_asks_for_its_password(folder, tmp_path):
    locked, public = write_keys(tmp_path, "locked", password="sesame")
    with pytest.raises(InputError, match="password is wrong"):
        signature.private_key(locked, lambda: "open")
    signature.sign(folder, signature.private_key(locked, lambda: "sesame"))
    assert signature.check(folder, signature.public_key(public)).problem == ""


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (rsa.generate_private_key(65537, 2048), "no elliptic-curve key"),
        (ed25519.Ed25519PrivateKey.generate(), "no elliptic-curve key"),
        (ec.generate_private_key(ec.SECP256K1()), "curve secp256k1"),
    ],
)
def test_keys_of_other_kinds_are_refused(tmp_path, key, message):
    private, public = write_keys(tmp_path, "odd", key)
    with pytest.raises(InputError, match=message):
        signature.private_key(private, never)
    with pytest.raises(InputError, match=message):
        signature.public_key(public)


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_larger_curves_sign(folder, tmp_path, curve):
    mine, yours = write_keys(tmp_path, "large", ec.generate_private_key(curve))
    signature.sign(folder, signature.private_key(mine, never))
    assert signature.check(folder, signature.public_key(yours)).problem == ""


def test_the_wrong_half_of_a_pair_and_files_that_hold_no_key(keys, tmp_path):
    with pytest.raises(InputError, match="is a public key"):
        signature.private_key(keys[1], never)
    with pytest.raises(InputError, match=r"is a private key.*-pubout"):
        signature.public_key(keys[0])
    (tmp_path / "text").write_text("hello")
    for path, message in (
        (tmp_path / "text", "PEM form"),
        (tmp_path / "none", "No such file"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(InputError, match=message):
            signature.private_key(path, never)
        with pytest.raises(InputError, match=message):
            signature.public_key(path)
