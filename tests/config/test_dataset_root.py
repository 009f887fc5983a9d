"""The root of a dataset is taken from the file that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.config.dataset_root import located
from assay.errors import InputError


def root(dataset: object, file: Path) -> object:
    return located({"dataset": dataset, "name": "n"}, file)["dataset"]


def test_a_relative_root_is_relative_to_the_file_and_stored_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in (Path("work/space.yaml"), tmp_path / "work" / "space.yaml"):
        expected = {"name": "mvtec", "root": str(tmp_path / "work" / "data"), "image_size": 32}
        assert root({"name": "mvtec", "root": "data", "image_size": 32}, file) == expected
        assert root({"mvtec": {"root": "./data", "image_size": 32}}, file) == expected
    assert root({"name": "mvtec", "root": "../data"}, Path("work/space.yaml")) == {
        "name": "mvtec",
        "root": str(tmp_path / "data"),
    }


def test_home_and_variables_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", str(tmp_path))
    monkeypatch.setenv("HOME", "/home/ann")
    file = tmp_path / "space.yaml"
    assert root({"name": "mvtec", "root": "$DATA/bottle"}, file) == {"name": "mvtec", "root": f"{tmp_path}/bottle"}
    assert root({"name": "mvtec", "root": "~/bottle"}, file) == {"name": "mvtec", "root": "/home/ann/bottle"}
    monkeypatch.delenv("DATA")
    with pytest.raises(InputError, match=r"dataset.root is \$DATA/bottle, and the variable \$DATA is not set"):
        root({"name": "mvtec", "root": "$DATA/bottle"}, file)


@pytest.mark.parametrize("dataset", ["elpv", {"name": "elpv"}, 3, {"name": "mvtec", "root": 3}, None])
def test_everything_else_is_left_to_its_check(dataset: object) -> None:
    assert root(dataset, Path("space.yaml")) == dataset


def test_a_root_in_object_storage_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "mine")
    file = Path("work/space.yaml")
    assert root({"name": "mvtec", "root": "s3://$BUCKET/a b"}, file) == {"name": "mvtec", "root": "s3://mine/a b"}
    with pytest.raises(InputError, match=r"dataset\.root is s3:/mine: a slash is missing, write s3://mine"):
        root({"name": "mvtec", "root": "s3:/mine"}, file)
