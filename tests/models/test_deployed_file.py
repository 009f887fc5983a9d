"""The file that is deployed in place of a detector: named by the card, kept beside it, and covered by its hash."""

from __future__ import annotations

import json

import pytest
import torch
import toy_audit
import toy_deployed
import yaml
from signed_store import write_keys

from assay.approval import signature, verification
from assay.errors import ModelError, SpecError
from assay.hashing import digest
from assay.models import card, deployed_file, model_folder
from assay.store.store import Store

FILE = "deployed/program.pt2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, own_cache):
    """A folder with images, the twin, and every file that is deployed in its place."""
    folder = tmp_path_factory.mktemp("detectors")
    for name, make in toy_deployed.FILES.items():
        toy_deployed.save(make(), folder / f"{name}.pt2")
    toy_deployed.save(toy_deployed.twin(), folder / "twin.pt2")
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, own_cache):
    return toy_audit.pictures(tmp_path_factory.mktemp("images") / "toy")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def write(folder, dataset):
    """A function that writes a card beside the files, some keys changed or (None) taken out, and returns its path."""

    def write(**changes) -> str:
        values = {
            "detector": "twin.pt2",
            "deployed": "equal.pt2",
            "dataset": dataset,
            "threshold": {"false_alarm_rate": 0.2},
            "trained_on": "train",
            **changes,
        }
        path = folder / "card.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
        return str(path)

    return write


def images() -> torch.Tensor:
    return torch.rand(5, 1, toy_audit.SIZE, toy_audit.SIZE, generator=torch.Generator().manual_seed(0))


def test_it_lies_in_the_model_s_folder_and_scores_as_its_own_file(store, write, folder):
    name = card.bring(store, write(deployed="shifted.pt2"))
    manifest = model_folder.read_manifest(store, name)
    content = (folder / "shifted.pt2").read_bytes()
    assert store.read(f"models/{name}/{FILE}") == content
    assert manifest["deployed"] == {
        "kind": "exported",
        "detector": "shifted.pt2",
        "weights_sha256": digest(content),
        "threshold": manifest["threshold"]["value"],
        "own_scale": False,
    }
    twin, deployed = model_folder.load(store, name).detector, deployed_file.load(store, name)
    torch.testing.assert_close(deployed(images()), twin(images()) + 0.02)


def test_a_model_is_another_one_with_another_file(store, write):
    names = {card.bring(store, write(deployed=deployed)) for deployed in (None, "equal.pt2", "bf16.pt2")}
    assert len(names) == 3
    assert card.bring(store, write()) in names


def test_its_own_threshold_and_direction(store, write):
    deployed = {"detector": "shifted.pt2", "threshold": 0.7, "higher_is": "normal"}
    name = card.bring(store, write(deployed=deployed))
    described = model_folder.read_manifest(store, name)["deployed"]
    assert (described["threshold"], described["own_scale"], described["higher_is"]) == (-0.7, True, "normal")
    twin, file = model_folder.load(store, name).detector, deployed_file.load(store, name)
    torch.testing.assert_close(file(images()), -(twin(images()) + 0.02))


@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_file_that_was_touched_is_found(store, write, how):
    name = card.bring(store, write())
    assert all(one.good for one in verification.verify(store, name, []))
    if how == "changed":
        content = bytearray(store.read(f"models/{name}/{FILE}"))
        content[100] ^= 1
        store.write(f"models/{name}/{FILE}", bytes(content))
        with pytest.raises(ModelError, match=rf"{FILE} is damaged or was changed"):
            deployed_file.load(store, name)
    else:
        store.remove(f"models/{name}/{FILE}")
    [verified] = verification.verify(store, name, [])
    assert getattr(verified, how) == (FILE,)


def test_a_signature_covers_it(store, write, tmp_path):
    name = card.bring(store, write())
    private, public = write_keys(tmp_path, "signer")
    place = store.below(f"models/{name}")
    signature.sign(place, signature.private_key(private, lambda: ""))
    key = signature.public_key(public)
    assert FILE in signature.check(place, key).files
    assert verification.of_model(place, [key], name).signed
    store.write(f"models/{name}/{FILE}", b"another")
    assert verification.of_model(place, [key], name).changed == (FILE,)


@pytest.mark.parametrize(
    ("deployed", "key", "words"),
    [
        ("absent.pt2", "deployed", r"there is no file .*absent\.pt2; its path is relative to the card"),
        ("toy_deployed:twin", "deployed", r"must be a file that ends in .*\.pt2"),
        ({"detector": "equal.pt2", "threshold": "high"}, "deployed.threshold", "must be a number"),
        ({"detector": "equal.pt2", "scale": 2}, "deployed.scale", "unknown key"),
        ({"threshold": 2}, "deployed.detector", "is required"),
    ],
)
def test_what_a_card_says_of_it_is_checked(write, deployed, key, words):
    with pytest.raises(SpecError) as caught:
        card.Card.read(write(deployed=deployed))
    [fault] = caught.value.faults
    assert fault.key == key
    assert caught.match(words)


def test_a_file_that_does_not_score_images_leaves_nothing(store, write, folder):
    (folder / "broken.pt2").write_bytes(b"no program")
    with pytest.raises(ModelError, match=r"the deployed file broken\.pt2 is no \.pt2 archive"):
        card.bring(store, write(deployed="broken.pt2"))

    class Constant(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1).mean(1) * 0

    toy_deployed.save(Constant(), folder / "constant.pt2")
    with pytest.raises(ModelError, match=r"the deployed file constant\.pt2: the detector scores all \d+ images 0"):
        card.bring(store, write(deployed="constant.pt2"))
    assert store.names("models") == []


@pytest.mark.parametrize("kind", ["factory", "memory", "toy_deployed:twin", None])
def test_no_manifest_makes_it_run_code(store, write, kind):
    name = card.bring(store, write())
    manifest = json.loads(store.read(f"models/{name}/manifest.json"))
    manifest["deployed"] |= {"kind": kind, "detector": "toy_deployed:twin"}
    content = json.dumps(manifest).encode()
    other = digest(content)
    store.write(f"models/{other}/manifest.json", content)
    with pytest.raises(ModelError, match="which is no kind of file"):
        deployed_file.load(store, other)
