"""A backbone for small images that is given large ones is told of."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from assay.cli import main
from assay.config import reader
from assay.config.search import slow_stem

TEXT = """
name: few
trainable: {trainable}
dataset: {{name: elpv, cells: mono, image_size: {size}}}
{rest}
evaluation: {{attack: pgd, norm: linf, epsilon: 2/255, steps: 5}}
objectives: {{clean_auroc: max}}
search: {{sampler: random, trials: 2}}
resources: {{cpu: 1, gpu: 0}}
"""
CIFAR = "fixed: {backbone: {name: resnet18}}\nspace: {batch_size: {choice: [4, 8]}}"


@pytest.fixture
def written(tmp_path):
    def write(size: object = 224, rest: str = CIFAR, trainable: str = "cobra") -> str:
        path = tmp_path / "few.yaml"
        path.write_text(TEXT.format(size=size, rest=rest, trainable=trainable))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("rest", "names"),
    [
        (CIFAR, ["resnet18"]),
        (CIFAR.replace("18", "18, stem: imagenet"), []),
        (
            "space: {backbone: {choice: [{name: resnet18}, {name: resnet50, stem: cifar}, small_resnet]}}",
            ["resnet18", "resnet50"],
        ),
    ],
)
def test_the_stem_of_every_choice_is_looked_at(rest, names, written):
    assert [note.split()[0] for note in slow_stem.notes(reader.read(written(rest=rest)))] == names


def test_small_images_are_what_it_is_for(written):
    assert slow_stem.notes(reader.read(written(96))) == []


def test_of_native_images_nothing_is_known_before_they_are_read(written):
    file = written("native")
    text = (path := Path(file)).read_text().replace("name: elpv, cells: mono", "name: mvtec, root: ., category: part")
    path.write_text(text)
    found = reader.read(file)
    assert slow_stem.notes(found) == []
    assert "on images of 128 pixels" in slow_stem.notes(found, [128, 300])[0]
    assert slow_stem.notes(found, 64) == []
    told = CliRunner().invoke(main, ["validate", file])
    assert told.exit_code == 0, told.output


def test_validate_says_so(written):
    told = CliRunner().invoke(main, ["validate", written()])
    assert told.exit_code == 0, told.output
    assert "note: resnet18 with stem cifar works 15 times as long on images of 224 pixels" in told.output
