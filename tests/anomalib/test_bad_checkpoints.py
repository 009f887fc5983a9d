"""A checkpoint that cannot be audited is refused in words, and nothing in it is run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_anomalib

from assay.errors import AssayError, ModelError
from assay.models import card
from assay.models.loaders.anomalib import COMPONENTS, anomalib
from assay.store.store import Store


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logging.disable(logging.WARNING)
    return toy_anomalib.write_images(tmp_path_factory.mktemp("anomalib") / "images")


@pytest.fixture(scope="module")
def padim(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of Padim on a ResNet-18."""
    return toy_anomalib.trained("Padim", images, tmp_path_factory.mktemp("padim"))[2]


@pytest.fixture
def bring(padim: Path, images: Path, tmp_path: Path) -> Callable[..., str]:
    """A function: changes of the checkpoint, keys of the card -> the error that bringing it ends in."""

    def bring(change: Callable[[dict[str, Any]], object] = lambda checkpoint: None, **keys: Any) -> str:
        checkpoint = torch.load(padim, weights_only=False)
        change(checkpoint)
        torch.save(checkpoint, tmp_path / "model.ckpt")
        toy_anomalib.write_card(tmp_path / "model.ckpt", images, threshold="model", **keys)
        with pytest.raises(AssayError) as error:
            card.bring(Store(tmp_path / "store"), str(tmp_path / "model.ckpt"))
        assert not Store(tmp_path / "store").names("models")
        return str(error.value)

    return bring


def test_a_class_that_there_is_not(bring: Callable[..., str]) -> None:
    assert "anomalib model 'padimm' is not known" in (said := bring(anomalib="padimm"))
    assert "Padim" in said


def test_parameters_that_no_class_has(bring: Callable[..., str]) -> None:
    said = bring(lambda checkpoint: checkpoint["hyper_parameters"].update(colour=1))
    assert "none has its parameters" in said
    assert "write `anomalib: NAME` into the card, NAME one of: " in said


def test_weights_of_another_model_are_named(bring: Callable[..., str]) -> None:
    said = bring(anomalib={"padim": {"backbone": "resnet50"}})
    assert "its weights are not those of Padim" in said
    assert "The file has other shapes of model.feature_extractor.feature_extractor.layer1.0.conv1.weight, " in said
    assert "name its class and parameters in the card" in said
    assert said.endswith(" more")
    said = bring(lambda checkpoint: checkpoint["state_dict"].pop("model.gaussian.mean"))
    assert "lacks model.gaussian.mean" in said


def test_another_version_of_anomalib(bring: Callable[..., str], padim: Path) -> None:
    said = bring(lambda checkpoint: checkpoint.pop(COMPONENTS))
    assert f"of another version of anomalib, or of another library: it lacks {COMPONENTS}" in said
    manifest = {"anomalib_version": "2.6.0", "higher_is": "anomalous"}
    with pytest.raises(ModelError, match=r"was brought with anomalib 2\.6\.0, and .* pip install 'anomalib==2\.6\.0'"):
        anomalib(manifest, padim.read_bytes())


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


def test_code_in_it_is_refused_and_not_run(bring: Callable[..., str], tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    said = bring(lambda checkpoint: checkpoint.update(callbacks=Code(ran)))
    assert "is refused: it holds more than weights, numbers and text (posix.mkdir)" in said
    assert not ran.exists()


def test_what_is_no_checkpoint(bring: Callable[..., str]) -> None:
    assert "it has no state_dict" in bring(lambda checkpoint: checkpoint.pop("state_dict"))
