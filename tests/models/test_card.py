"""Cards: what is wrong is told at once, and what is right becomes an ordinary model folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import toy_audit
import toy_outside
import yaml
from click.testing import CliRunner

import assay
from assay import shelves
from assay.api.audit import models_of
from assay.cli import main
from assay.data import splits
from assay.errors import AssayError, InputError, ModelError, SpecError
from assay.models import card, model_folder, scoring
from assay.models.card import Card
from assay.store.store import Store


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, own_cache):
    return toy_audit.pictures(tmp_path_factory.mktemp("images") / "toy")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def write(tmp_path, dataset):
    """A function that writes a card, some keys changed or (None) taken out, and returns its path."""

    def write(name: str = "card.yaml", **changes) -> str:
        values = {"detector": "toy_outside:good", "dataset": dataset, "threshold": {"false_alarm_rate": 0.2}, **changes}
        path = tmp_path / name
        path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
        return str(path)

    return write


def validation(dataset):
    name, parameters = shelves.normal_form(dataset)
    function = shelves.load("datasets", name)
    return splits.training_data(function(**shelves.bind(function, parameters))).validation


def test_every_fault_is_told_at_once(write):
    path = write(
        detector="toy_outside:nothing",
        threshold={"false_alarm_rate": 2},
        higher_is="normally",
        channels=2,
        dataset="elvp",
        extra=1,
        stochastic="maybe",
    )
    with pytest.raises(SpecError) as caught:
        Card.read(path)
    told = {fault.key: fault.allowed for fault in caught.value.faults}
    assert "cannot be imported" in told["detector"]
    assert "must be less than 1" in told["threshold.false_alarm_rate"]
    assert "did you mean 'elpv'?" in told["dataset"]
    assert "must be one of" in told["higher_is"]
    assert "unknown key" in told["extra"]
    assert {"channels", "stochastic"} <= set(told)


@pytest.mark.parametrize("threshold", [".nan", ".inf", "[1]", "high"])
def test_a_threshold_that_is_no_number(tmp_path, threshold):
    path = tmp_path / "card.yaml"
    path.write_text(f"dataset: elpv\nthreshold: {threshold}\n")
    with pytest.raises(SpecError, match=r"threshold: found .*must be a"):
        Card.read(path)


def test_a_detector_is_looked_for_beside_its_card(write, tmp_path):
    with pytest.raises(SpecError, match=rf"no file {tmp_path}/absent\.pt2; its path is relative to the card"):
        Card.read(write(detector="absent.pt2"))
    (tmp_path / "here.onnx").write_bytes(b"")
    assert Card.read(write(detector="here.onnx")).summary == "card of here.onnx (onnx), images of dataset folder"
    with pytest.raises(
        SpecError, match=r"'model\.pth' is not a detector; it may hold code, .*; write module:attribute, or a file that"
    ):
        Card.read(write(detector="model.pth"))


def test_validate_knows_a_card(write, tmp_path):
    result = CliRunner().invoke(main, ["validate", write(), write("unnamed.yaml", detector=None)])
    assert result.exit_code == 0, result.output
    assert "ok (card of toy_outside:good (factory), images of dataset folder)" in result.output
    assert "ok (card for a detector that the command names, images of dataset folder)" in result.output
    (tmp_path / "typo.yaml").write_text("treshold: 1\ntrained_on: train\n")
    result = CliRunner().invoke(main, ["validate", str(tmp_path / "typo.yaml")])
    assert "treshold: found 1; unknown key (did you mean 'threshold'?)" in result.output
    result = CliRunner().invoke(main, ["validate", write(higher_is="up")])
    assert result.exit_code == 2
    assert "higher_is: found" in result.output


def test_what_names_a_detector_and_what_a_model():
    for text in ("card.yaml", "my/card.yml", "detector.pt2", "../detector.onnx", "package.module:make"):
        assert card.names_detector(text), text
    for text in ("0123abcd", "demo:best", "demo:pareto", "demo"):
        assert not card.names_detector(text), text


def test_the_model_folder_is_as_ordinary_as_a_trial_s(store, write, dataset):
    hash_ = card.bring(store, write(notes="from the plant"))
    found = model_folder.load(store, hash_)
    manifest, images = found.manifest, validation(dataset)
    assert store.names("models") == [hash_]
    assert (manifest["kind"], found.made_by, manifest["notes"]) == ("factory", "toy_outside:good", "from the plant")
    assert (manifest["channels"], manifest["image_size"]) == (1, toy_audit.SIZE)
    name, parameters = shelves.normal_form(manifest["dataset"]["item"])
    assert (name, parameters["root"]) == ("folder", dataset["root"])
    assert manifest["dataset"]["counts"]["test"] == {"normal": 12, "anomalous": 12}
    scores = scoring.clean_scores(toy_outside.good(), images)
    normals = scores[images.labels == 0]
    assert manifest["threshold"]["count"] == len(normals)
    assert np.mean(normals > found.threshold) <= 0.2
    assert found.threshold in normals
    assert manifest["figures"]["split"] == "validation"
    assert 0.5 < manifest["figures"]["clean_auroc"] <= 1
    assert manifest["environment"]["versions"]["torch"]
    assert not found.stochastic


def test_the_same_detector_has_the_same_hash(store, write):
    first = card.bring(store, write())
    assert card.bring(store, write("other.yaml")) == first
    assert card.bring(store, write(threshold=0.7)) != first
    assert card.bring(store, write(stochastic=True)) != first


def test_a_detector_keeps_its_hash_when_assay_is_updated(store, write, monkeypatch):
    first = card.bring(store, write())
    monkeypatch.setattr(card, "environment", lambda: {"assay": "99.0", "code_hash": "other"})
    assert card.bring(store, write()) == first
    assert store.names("models") == [first]


def test_a_number_is_a_threshold_on_the_detectors_own_scale(store, write):
    plain = model_folder.load(store, card.bring(store, write(threshold="0.6")))
    turned = model_folder.load(store, card.bring(store, write(threshold=0.6, higher_is="normal")))
    assert (plain.threshold, turned.threshold) == (0.6, -0.6)
    images = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain.detector(images), -turned.detector(images))
    assert 0 <= plain.manifest["threshold"]["false_alarm_rate"] <= 1
    aurocs = [one.manifest["figures"]["clean_auroc"] for one in (plain, turned)]
    assert sum(aurocs) == pytest.approx(1)


def test_the_size_of_a_card_is_given_to_the_dataset(store, write, dataset):
    sizeless = {key: value for key, value in dataset.items() if key not in ("image_size", "channels")}
    found = model_folder.load(store, card.bring(store, write(dataset=sizeless, image_size=24, channels=3)))
    assert (found.manifest["image_size"], found.manifest["channels"]) == (24, 3)
    with pytest.raises(SpecError, match=r"image_size: found 24; the dataset gives 16"):
        card.bring(store, write(image_size=24))


def test_a_detector_without_a_card_is_shown_one_to_copy(store, tmp_path):
    (tmp_path / "mine.pt2").write_bytes(b"")
    for source, words in ((f"{tmp_path}/mine.pt2", f"{tmp_path}/mine.yaml"), ("toy_outside:good", "toy_outside.yaml")):
        with pytest.raises(InputError, match="has no card") as caught:
            card.bring(store, source)
        message = str(caught.value)
        assert words in message
        example = yaml.safe_load(message.partition("\n\n")[2])
        assert set(example) <= set(Card.model_fields)
        assert example["detector"] == source.rpartition("/")[2]


def test_a_detector_that_is_not_there_or_may_hold_code_is_no_model_of_the_store(store, tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*mine\.pt2"):
        models_of(store, f"{tmp_path}/mine.pt2")
    (tmp_path / "mine.pt").write_bytes(b"")
    with pytest.raises(InputError, match=r"mine\.pt' is not a detector; it may hold code, and is never loaded; write"):
        models_of(store, f"{tmp_path}/mine.pt")


def test_a_file_is_brought_before_it_is_scored_with(store, tmp_path):
    (tmp_path / "mine.onnx").touch()
    with pytest.raises(InputError, match=r"mine\.onnx is a file, .* bring it there by `assay audit .*mine\.onnx`"):
        assay.load(str(tmp_path / "mine.onnx"), store=store)


def test_the_class_of_a_checkpoint_is_for_checkpoints_alone():
    of_padim = Card.model_construct(anomalib={"name": "Padim"})
    with pytest.raises(
        SpecError, match=r"anomalib: found .*Padim.*; a key for detectors of the kind anomalib; this is onnx"
    ):
        card._check_keys(of_padim, "card.yaml", "onnx")
    card._check_keys(of_padim, "card.yaml", "anomalib")


def test_the_command_and_the_card_must_mean_the_same(store, write):
    unnamed = write("unnamed.yaml", detector=None)
    assert card.bring(store, "toy_outside:good", unnamed) == card.bring(store, write())
    assert card.bring(store, "toy_outside:good", write()) == card.bring(store, write())
    with pytest.raises(InputError, match=r"is the card of toy_outside:good, not of toy_outside:plain_function"):
        card.bring(store, "toy_outside:plain_function", write())
    with pytest.raises(SpecError, match=r"detector: found nothing; is required, as the command names none"):
        card.bring(store, unnamed)
    with pytest.raises(InputError, match="two cards"):
        card.bring(store, unnamed, write())


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("drawn", "toy_outside:drawn makes other weights than when its model was made"),
        ("needs_a_path", "toy_outside:needs_a_path needs path; name a function without arguments"),
        ("breaks", r"toy_outside:breaks does not make a detector: OSError: weights\.pt is not there"),
        ("no_detector", "toy_outside:no_detector returns a str; return an nn"),
        ("instance", "toy_outside:instance is a detector; name a function without arguments that returns it"),
        ("stubborn", "toy_outside:stubborn stays in train mode after"),
    ],
)
def test_a_factory_that_makes_no_detector_leaves_nothing(store, write, attribute, words):
    with pytest.raises(ModelError, match=words):
        card.bring(store, write(detector=f"toy_outside:{attribute}"))
    assert store.names("models") == []


def test_a_detector_that_cannot_be_audited_leaves_nothing(store, write, monkeypatch):
    monkeypatch.setattr(toy_outside, "plain_function", lambda: lambda images: images.mean((2, 3)))
    with pytest.raises(ModelError, match=r"add `\.squeeze\(1\)`"):
        card.bring(store, write(detector="toy_outside:plain_function"))
    assert store.names("models") == []


def test_other_weights_or_other_code_are_found(store, write, monkeypatch):
    hash_ = card.bring(store, write())
    with monkeypatch.context() as patch:
        patch.setattr(toy_outside, "good", toy_outside.drawn)
        with pytest.raises(ModelError, match=rf"models/{hash_} \(toy_outside:good\) makes other weights"):
            model_folder.load(store, hash_)
    monkeypatch.setattr("assay.models.loaders.factory.own_code", lambda name: "other")
    with pytest.raises(ModelError, match="is other code than when its model was made"):
        model_folder.load(store, hash_)


def test_making_a_detector_touches_no_global_generator(store, write):
    state = torch.random.get_rng_state()
    card.bring(store, write(detector="toy_outside:plain_function"))
    with pytest.raises(AssayError):
        card.bring(store, write(detector="toy_outside:drawn"))
    assert torch.equal(torch.random.get_rng_state(), state)
