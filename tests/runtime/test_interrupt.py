"""SIGTERM ends work as Ctrl-C does, and only where that is asked for."""

from __future__ import annotations

import signal

import pytest

from assay.runtime.interrupt import Terminated, terminated


def test_sigterm_raises_in_the_block_and_what_was_set_before_comes_back():
    noted = []
    before = signal.signal(signal.SIGTERM, lambda *_: noted.append("before"))
    try:
        with pytest.raises(Terminated), terminated():
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert noted == ["before"]
    finally:
        signal.signal(signal.SIGTERM, before)


def as_an_extension_does():
    try:
        signal.raise_signal(signal.SIGTERM)
    except Terminated:
        raise KeyboardInterrupt from None


def test_what_an_extension_raises_in_its_place_is_still_a_termination():
    with pytest.raises(Terminated), terminated():
        as_an_extension_does()
    with pytest.raises(KeyboardInterrupt) as caught, terminated():
        raise KeyboardInterrupt
    assert not isinstance(caught.value, Terminated)
