"""Pseudo-anomalies of one batch are the same on any number of threads, in any memory layout and at half precision."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies.cutpaste_union import cutpaste_union
from trainables.pseudo_anomalies.cutperm import cutperm
from trainables.pseudo_anomalies.nsa import nsa
from trainables.pseudo_anomalies.rotation import rotation

ITEMS = [cutpaste_union, cutperm, nsa, rotation]


def made(item: object, images: Tensor) -> PseudoAnomalies:
    return item(images, torch.Generator().manual_seed(3))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("item", ITEMS)
def test_the_number_of_threads_changes_nothing(item: object) -> None:
    images = torch.rand(9, 3, 40, 40)
    results = []
    for count in (1, 2, 64):
        torch.set_num_threads(count)
        results.append(made(item, images))
        assert torch.get_num_threads() == count
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
def test_half_precision_is_kept_and_close_to_single(item: object) -> None:
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
