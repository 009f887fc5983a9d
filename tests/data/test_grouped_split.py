"""Splitting by seed: shares, groups, strata and chains of what belongs together."""

from __future__ import annotations

from collections import Counter

import pytest

from assay.data.grouped_split import components, normal_shares, split
from assay.errors import InputError


def test_counts_come_within_one_of_their_shares() -> None:
    shares = {"a": 0.6, "b": 0.25, "c": 0.15}
    for count in range(1, 40):
        held = Counter(split([f"{index}" for index in range(count)], shares, 0, "x"))
        assert all(abs(held[part] - share * count) < 1 for part, share in shares.items())


def test_equal_keys_stay_together_and_the_order_of_keys_does_not_matter() -> None:
    keys = [f"group {index % 7}" for index in range(60)]
    parts = dict(zip(keys, split(keys, {"a": 0.5, "b": 0.5}, 3, "x"), strict=True))
    again = split(keys[::-1], {"a": 0.5, "b": 0.5}, 3, "x")[::-1]
    assert again == [parts[key] for key in keys]


def test_strata_are_drawn_apart_and_a_share_of_zero_gets_nothing() -> None:
    keys = [f"{index}" for index in range(30)]
    halves = {"a": 0.5, "b": 0.5}
    assert split(keys, halves, 0, "x") != split(keys, halves, 0, "y")
    assert set(split(keys, {"a": 0.0, "b": 1.0}, 0, "x")) == {"b"}


def test_what_a_part_already_holds_counts_towards_its_share() -> None:
    parts = split([f"{index}" for index in range(10)], {"a": 0.5, "b": 0.5}, 0, "x", {"a": 10})
    assert set(parts) == {"b"}


def test_components_join_chains_of_equal_labels() -> None:
    ids = ["d", "c", "b", "a", "e"]
    patients = ["p", "p", None, None, None]
    contents = ["1", "2", "2", "3", "4"]
    assert components(ids, patients, contents) == ["b", "b", "b", "a", "e"]


def test_fractions_that_leave_no_test_split_are_refused() -> None:
    with pytest.raises(InputError, match=r"train_fraction 0\.8 and validation_fraction 0\.2 leave 0 of the normals"):
        normal_shares(0.8, 0.2)
    with pytest.raises(InputError, match="must be above 0"):
        normal_shares(0.0, 0.2)
