"""A small exported program cannot take all memory: sizes that it multiplies are known before tensors are made."""

from __future__ import annotations

import re
from pathlib import Path

import hostile_files
import numpy as np
import pytest
import torch
import toy_outside

from assay.contracts import Images
from assay.errors import ModelError
from assay.models import model_folder, preflight
from assay.models.loaders import _program

MANIFEST = {"kind": "exported", "higher_is": "anomalous", "channels": 1, "image_size": hostile_files.SIZE}
TOO_LARGE = [how for how in hostile_files.CHAINS if how != "of the batch alone"]


def built(content: bytes) -> torch.nn.Module:
    return model_folder.build("detector.pt2", MANIFEST, content)


def images(count: int, gradient: bool = False) -> torch.Tensor:
    made = torch.rand(count, 1, hostile_files.SIZE, hostile_files.SIZE, generator=torch.Generator().manual_seed(count))
    return made.requires_grad_(gradient)


def peak(name: str) -> int:
    """A figure of this process in MB: VmRSS, the memory it has now, or VmHWM, the most it had."""
    return int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) >> 10


@pytest.mark.parametrize("how", TOO_LARGE)
@pytest.mark.parametrize("gradient", [False, True])
def test_a_program_that_multiplies_sizes_is_refused_before_it_has_the_memory(how, gradient):
    detector = built(hostile_files.chain(how))
    built(hostile_files.chain("of the batch alone"))(images(1, gradient))  # what torch takes once is not the program's
    Path("/proc/self/clear_refs").write_text("5")  # forgets the most it had
    before = peak("VmRSS")
    with pytest.raises(ModelError, match=r"would take [\d.e+]+ MB for one image \(at 'aten\.\w+\.\w+'\); the limit"):
        detector(images(1, gradient))
    assert peak("VmHWM") - before < 700
    assert torch.is_grad_enabled(), "where a part without gradients fails, they are wanted again afterwards"


def test_more_images_than_fit_are_scored_few_at_a_time():
    detector = built(hostile_files.chain("of the batch alone"))
    many = images(64)
    assert torch.allclose(detector(many), many.mean((1, 2, 3)))
    with pytest.raises(MemoryError, match="MB for 64 images"):
        detector(images(64, gradient=True))
    assert detector(images(4, gradient=True)).requires_grad


def test_a_gradient_is_looked_for_on_fewer_images():
    assert preflight.differentiable(built(hostile_files.chain("of the batch alone")), images(64))


def test_a_refusal_is_one_error_of_the_checks_before_an_audit():
    given = (images(8).numpy() * 255).astype(np.uint8)
    names = tuple(map(str, range(8)))
    detector = built(hostile_files.chain("repeated"))
    with pytest.raises(ModelError, match="the exported program would take"):
        preflight.inspect(detector, Images(given, np.arange(8) % 2, names, names, names), None)


def test_a_program_of_known_sizes_is_looked_at_once(monkeypatch):
    detector, original = built(hostile_files.program()), toy_outside.good()
    for gradient in (False, True):
        assert torch.equal(detector(images(5, gradient)), original(images(5)))
    monkeypatch.setattr(_program, "MemoryLimit", lambda *_: pytest.fail("it was looked at again"))
    for gradient in (False, True):
        assert torch.equal(detector(images(5, gradient)), original(images(5)))
