"""Compiled kernels: used where they can be, the same on any number of threads, compiled where nothing can be kept."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._compiled import compiled
from trainables.pseudo_anomalies._processor import usable
from trainables.pseudo_anomalies.cutpaste_union import cutpaste_union
from trainables.pseudo_anomalies.cutperm import cutperm
from trainables.pseudo_anomalies.nsa import nsa
from trainables.pseudo_anomalies.rotation import rotation

KERNELS = [*(Path(__file__).parents[2] / "trainables" / "pseudo_anomalies").glob("*_kernel*.py")]
ITEMS = [cutpaste_union, cutperm, nsa, rotation]


def made(item: object, images: Tensor) -> PseudoAnomalies:
    return item(images, torch.Generator().manual_seed(3))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_kernels_are_for_the_processor_s_floats_without_a_gradient() -> None:
    image = torch.zeros(1, 1, 4, 4)
    assert usable(image, image.double())
    assert not usable(image, image.bfloat16())
    assert not usable(image.to("meta"))
    asked = image.clone().requires_grad_()
    assert not usable(image, asked)
    with torch.no_grad():
        assert usable(asked)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("item", ITEMS)
def test_the_number_of_threads_changes_nothing(item: object) -> None:
    images, before = torch.rand(9, 3, 40, 40), numba.get_num_threads()
    results = []
    for count in (1, 2, 64):
        torch.set_num_threads(count)
        results.append(made(item, images))
        assert torch.get_num_threads() == count
    assert numba.get_num_threads() == before
    for other in results[1:]:
        assert torch.equal(results[0].images, other.images)
        assert torch.equal(results[0].mask, other.mask)


@pytest.mark.parametrize("item", ITEMS)
def test_images_may_lie_in_memory_in_any_way(item: object) -> None:
    images = torch.rand(5, 3, 40, 40)
    expected = made(item, images)
    wide = torch.rand(5, 3, 40, 80)
    wide[..., ::2] = images
    for same in (images.to(memory_format=torch.channels_last), wide[..., ::2], images.mT.contiguous().mT):
        torch.testing.assert_close(made(item, same).images, expected.images)
    one = images[:1].expand(5, -1, -1, -1)
    torch.testing.assert_close(made(item, one).images, made(item, one.clone()).images)


@pytest.mark.parametrize("item", ITEMS)
def test_half_precision_is_left_to_pytorch(item: object) -> None:
    images = torch.rand(5, 3, 40, 40)
    low = made(item, images.bfloat16())
    assert low.images.dtype == torch.bfloat16
    assert (low.images.float() - made(item, images).images).abs().mean() < 0.02


def test_deterministic_algorithms_are_kept_to() -> None:
    images = torch.rand(5, 3, 40, 40)
    torch.use_deterministic_algorithms(True)
    try:
        for item in ITEMS:
            for gradient in (False, True):
                assert made(item, images.clone().requires_grad_(gradient)).mask.any()
    finally:
        torch.use_deterministic_algorithms(False)


def test_several_threads_of_python_may_call_at_once() -> None:
    images, results = torch.rand(8, 3, 64, 64), []
    workers = [threading.Thread(target=lambda: results.append(made(nsa, images).images)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 6
    assert all(torch.equal(one, results[0]) for one in results)


def test_without_a_place_to_keep_it_a_function_is_compiled_all_the_same() -> None:
    names: dict[str, object] = {}
    exec(compile("def total(values):\n    return values.sum()", "<string>", "exec"), names)
    with pytest.raises(RuntimeError, match="no locator"):
        numba.njit(cache=True)(names["total"])
    assert compiled(names["total"])(np.arange(4.0)) == 6


def test_numba_is_not_imported_until_a_kernel_is_used() -> None:
    code = """
import sys, torch
from assay import shelves
for name in shelves.names("pseudo_anomalies"):
    shelves.load("pseudo_anomalies", name)
assert "numba" not in sys.modules
shelves.load("pseudo_anomalies", "cutperm")(torch.rand(2, 1, 16, 16), torch.Generator())
assert "numba" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_module_of_kernels_holds_all_that_it_compiles() -> None:
    # What Numba keeps is compiled anew when the kernel's own file changes, not when another file does.
    assert KERNELS
    for path in KERNELS:
        names = {node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
        ours = {name for name in names if name.startswith(("assay", "trainables"))}
        assert ours <= {"trainables.pseudo_anomalies._compiled", "trainables.pseudo_anomalies._visible"}, path
