"""Models on disk: what is loaded is what was written, and whatever was changed since is found."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
import toy_runs

from assay import __version__
from assay.errors import AssayError, InputError, ModelError, StoreError
from assay.hashing import canonical, digest
from assay.models import model_folder
from assay.store import references
from assay.store.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def net(bank: int = 5) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(3)
    net = toy_runs.Net()
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    net.seen = torch.arange(bank).float()
    return net


MANIFEST = {
    "trainable": "toy_runs:Runs",
    "parameters": {"epochs": 3, "learning_rate": 0.1},
    "channels": 1,
    "image_size": 16,
    "threshold": {"value": 0.25},
    "environment": {"assay": "0.0.7"},
}


def rewritten(store, name, **changes) -> str:
    """A folder that is right in itself, of a manifest with changes."""
    manifest = {**store.read_json(f"models/{name}/manifest.json"), **changes}
    content = canonical(manifest)
    weights = store.read(f"models/{name}/model.safetensors")
    new = digest(content)[: model_folder.HASH_LENGTH]
    store.write(f"models/{new}/model.safetensors", weights)
    store.write(f"models/{new}/manifest.json", content)
    return new


def refused(store, name) -> str:
    """The one line that says why a model is not loaded."""
    with pytest.raises(ModelError) as caught:
        model_folder.load(store, name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    return str(caught.value)


def test_a_model_scores_bit_for_bit_as_before_whatever_the_size_of_its_buffers(store):
    original, state = net(), torch.random.get_rng_state()
    name = model_folder.write(store, original, MANIFEST)
    found = model_folder.load(store, name)
    images = torch.rand(7, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found.detector(images), original(images))
    assert found.detector.seen.tolist() == [0, 1, 2, 3, 4]
    assert not found.detector.training
    assert not any(parameter.requires_grad for parameter in found.detector.parameters())
    assert found.threshold == 0.25
    assert found.hash == name == digest(store.read(f"models/{name}/manifest.json"))[: model_folder.HASH_LENGTH]
    assert found.manifest["parameters"] == MANIFEST["parameters"]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_equal_models_have_equal_names_and_others_do_not(store):
    name = model_folder.write(store, net(), MANIFEST)
    assert model_folder.write(store, net(), MANIFEST) == name
    assert model_folder.write(store, net(6), MANIFEST) != name
    assert model_folder.write(store, net(), {**MANIFEST, "seed": 1}) != name


def test_a_model_is_named_by_its_whole_hash_and_an_old_short_name_is_kept(store):
    name = model_folder.write(store, net(), MANIFEST)
    assert name == digest(store.read(f"models/{name}/manifest.json"))
    assert len(name) == 64
    short = name[:24]
    store.path(f"models/{name}").rename(store.path(f"models/{short}"))
    assert model_folder.load(store, short).hash == short
    assert model_folder.write(store, net(), MANIFEST) == short
    assert store.names("models") == [short]


@pytest.mark.parametrize("length", [0, 8, 23, 25, 63])
def test_a_name_of_another_length_is_none(store, length):
    name = model_folder.write(store, net(), MANIFEST)
    store.path(f"models/{name}").rename(store.path(f"models/{name[:length] or 'x'}"))
    with pytest.raises(ModelError, match="no longer matches"):
        model_folder.load(store, name[:length] or "x")


def test_a_folder_is_complete_once_it_has_a_manifest(store, monkeypatch):
    written = []
    monkeypatch.setattr(store, "write", lambda key, content: written.append(key.rpartition("/")[2]))
    model_folder.write(store, net(), MANIFEST)
    assert written == ["model.safetensors", "manifest.json"]


def test_every_changed_byte_is_found(store):
    name = model_folder.write(store, net(), MANIFEST)
    for file, words in (("model.safetensors", "is damaged or was changed"), ("manifest.json", "was changed after")):
        key = f"models/{name}/{file}"
        whole = store.read(key)
        for at in (0, 8, len(whole) // 2, len(whole) - 1):
            store.write(key, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert words in refused(store, name)
        store.write(key, whole)
    model_folder.load(store, name)


@pytest.mark.parametrize("left", [0, 7, 100, -1])
def test_truncated_weights(store, left):
    name = model_folder.write(store, net(), MANIFEST)
    key = f"models/{name}/model.safetensors"
    store.write(key, store.read(key)[:left])
    assert "is damaged or was changed" in refused(store, name)


def test_a_renamed_folder(store):
    name = model_folder.write(store, net(), MANIFEST)
    other = "0" * model_folder.HASH_LENGTH
    store.path(f"models/{name}").rename(store.path(f"models/{other}"))
    assert "its hash no longer matches the folder's name" in refused(store, other)


def test_a_missing_file_is_named(store):
    name = model_folder.write(store, net(), MANIFEST)
    store.remove(f"models/{name}/model.safetensors")
    with pytest.raises(StoreError, match=r"model\.safetensors: there is no such file"):
        model_folder.load(store, name)


def test_a_pickle_is_never_loaded(store, tmp_path):
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "went off"), "w")

    name = model_folder.write(store, net(), MANIFEST)
    weights = pickle.dumps({"layers": Bomb()})
    store.write(f"models/{name}/model.safetensors", weights)
    assert "is damaged or was changed" in refused(store, name)
    agreed = rewritten(store, name, weights_sha256=digest(weights))
    assert "does not fit this code" in refused(store, agreed)
    assert not (tmp_path / "went off").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, f"has format 2; this version of Assay ({__version__}) reads format 1: install a newer Assay"),
        ({"format": None}, "has format None"),
        ({"kind": "torchscript"}, "is of a kind that this version cannot load: loader 'torchscript' is not known"),
        ({"trainable": "cobar"}, "trainable 'cobar' is not known (did you mean 'cobra'?)"),
        ({"trainable": "nowhere:Runs"}, "'nowhere:Runs' cannot be imported"),
        ({"trainable": "math:sqrt"}, "made by version 0.0.7"),
        ({"trainable": "toy_runs:Net"}, "made by version 0.0.7"),
        ({"trainable": "neighbours", "parameters": {"backbone": "small_resnet"}}, "Missing key(s) in state_dict"),
        ({"parameters": {"epochs": 0}}, "epochs"),
        ({"parameters": {"depth": 3}}, "depth"),
    ],
)
def test_a_manifest_that_does_not_fit_the_code(store, changes, words):
    name = rewritten(store, model_folder.write(store, net(), MANIFEST), **changes)
    assert words in refused(store, name)


def test_a_manifest_can_be_read_without_the_code(store):
    name = model_folder.write(store, net(), {**MANIFEST, "trainable": "nowhere:Runs"})
    assert model_folder.read_manifest(store, name)["trainable"] == "nowhere:Runs"
    assert json.loads(store.read(f"models/{name}/manifest.json"))["weights_sha256"]


def test_find_by_the_beginning_of_a_hash(store):
    name = model_folder.write(store, net(), MANIFEST)
    store.write(f"models/{name[:6]}{'0' * 18}/manifest.json", b"{}")
    store.write("models/ffff0000/manifest.json", b"{}")
    assert references.model(store, name) == name
    assert references.model(store, "ffff") == "ffff0000"
    with pytest.raises(InputError, match=r"is ambiguous: .*give more digits"):
        references.model(store, name[:6])
    for text in ("", "fff", "eeee", "no such"):
        with pytest.raises(AssayError, match="is not known"):
            references.model(store, text)


def test_a_model_is_loaded_once_for_many_calls(store):
    name = model_folder.write(store, net(), MANIFEST)
    first = model_folder.loaded(str(store.root), name, "cpu")
    assert model_folder.loaded(str(store.root), name, "cpu") is first
    assert not first.training


def test_who_made_it_and_whether_it_is_random_are_read_off_the_manifest(store):
    found = model_folder.load(store, model_folder.write(store, net(), {**MANIFEST, "stochastic": True}))
    assert (found.made_by, found.stochastic) == ("toy_runs:Runs", True)
    assert not model_folder.load(store, model_folder.write(store, net(), MANIFEST)).stochastic
