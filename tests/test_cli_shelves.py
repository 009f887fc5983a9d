"""`assay ls` and `assay show`: what there is, and what a YAML file may set of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from assay import shelves
from assay.cli import main


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_all_shelves_are_listed():
    assert json.loads(run("ls", "--json")) == {shelf: shelves.names(shelf) for shelf in shelves.PACKAGES}
    assert [line.split()[0] for line in run("ls").splitlines() if line[0] != " "] == sorted(shelves.PACKAGES)


def test_a_shelf_is_listed_with_first_lines():
    listed = json.loads(run("ls", "attacks", "--json"))
    assert list(listed) == shelves.names("attacks")
    assert listed["pgd"] == shelves.load("attacks", "pgd").__doc__.splitlines()[0]
    assert listed["pgd"] in run("ls", "attacks")


@pytest.mark.parametrize("verb", [["ls", "atacks"], ["show", "atacks", "pgd"], ["show", "atacks", "toy_trainable:Toy"]])
def test_an_unknown_shelf_is_named_with_the_nearest(verb):
    result = CliRunner().invoke(main, verb)
    assert result.exit_code == 2
    assert "did you mean 'attacks'?" in result.output


def test_an_unknown_item_is_named_with_the_nearest():
    result = CliRunner().invoke(main, ["show", "attacks", "gpd"])
    assert result.exit_code == 2
    assert "did you mean 'pgd'?" in result.output


def test_an_item_is_shown_with_limits_in_words():
    lines = {
        line.split()[0]: " ".join(line.split()[1:])
        for line in run("show", "trainables", "toy_trainable:Toy").splitlines()
        if line
    }
    assert lines["epochs"] == "20 whole number, at least 1"
    assert lines["optimizer"] == "adam adam or sgd"
    assert lines["widths"] == "null list of whole number or null"
    assert lines["backbone"] == "small_resnet name on shelf backbones"
    assert lines["adversary.epsilon"] == "2/255 epsilon in pixel scale (2/255), 0 to 1"
    assert lines["loss.classification"] == "1.0 number, more than 0"
    assert "seed" not in lines


def test_a_required_parameter_is_said_to_be():
    [rank] = json.loads(run("show", "trainables", "toy_trainable:Needy", "--json"))["parameters"]
    assert rank == {"name": "rank", "limits": "whole number, at least 1", "required": True, "default": None}


def test_machines_get_the_same():
    shown = json.loads(run("show", "attacks", "pgd", "--json"))
    assert (shown["shelf"], shown["name"]) == ("attacks", "pgd")
    assert [parameter["name"] for parameter in shown["parameters"]] == list(
        shelves.fields(shelves.load("attacks", "pgd"))
    )


@pytest.mark.parametrize("shelf", sorted(shelves.PACKAGES))
def test_every_item_there_is_can_be_shown(shelf):
    for name in shelves.names(shelf):
        assert name in run("show", shelf, name)
