"""Reading YAML defensively, and pydantic's errors as faults a person can act on."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from assay import shelves
from assay.config import validation, yaml_file
from assay.errors import InputError, SpecError
from assay.units import Count, Epsilon, Fraction


def test_what_a_program_wrote_may_have_aliases_that_stay_small():
    shared = ["a", "b"]
    text = yaml.safe_dump({"one": shared, "two": shared})
    assert "*" in text
    assert yaml_file.written(text.encode(), "audit.yaml") == {"one": shared, "two": shared}
    with pytest.raises(InputError, match="aliases"):
        yaml_file.parse(text, "mine.yaml")
    bomb = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefghi")
    )
    tags = "a: !!python/object/apply:os.getcwd []\n", "a: !!binary aGk=\n", "a: !own x\n"
    for hostile in (bomb, "a: &a [*a]\n", *tags, "a: " + "[" * 5000 + "]" * 5000):
        with pytest.raises(InputError, match=r"^audit\.yaml"):
            yaml_file.written(hostile.encode(), "audit.yaml")


def test_plain_values_are_read_as_they_look():
    text = "a: 1\nb: 2/255\nc: [0.5, true, null]\nd: 2026-01-31\nnorm: no\non: off\ne: {f: 1e-3}\ng: false_alarm\n"
    expected = {"a": 1, "b": "2/255", "c": [0.5, True, None], "d": "2026-01-31", "norm": "no", "on": "off"}
    expected |= {"e": {"f": "1e-3"}, "g": "false_alarm"}
    assert yaml_file.parse(text, "x") == yaml_file.written(text.encode(), "x") == expected


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path):
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfname: demo\n")
    assert yaml_file.load(tmp_path / "x.yaml") == {"name": "demo"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"# only a comment\n", "empty"),
        (b"- a\n- b\n", "holds a list"),
        (b"42\n", "holds a int"),
        (b"a: \xff\n", "not UTF-8"),
        ("a: ü".encode("utf-16"), "not UTF-8"),
        (b"a: [1\nb: 2\n", "line 2"),
        (b"a: b: c\n", "line 1, column 5"),
        (b"a: \x00\n", "not readable"),
        (b"a: 1\n---\nb: 2\n", "line 2"),
        (b"a: !!python/object/apply:os.system [ls]\n", "line 1, column 4: .* tags"),
        (b"a: &x [1]\nb: *x\n", "line 2, column 4: .* aliases"),
        (b"a: 0b_\n", "not readable"),
        (b"a: " + b"9" * 5000, "not readable"),
        (b"a: " + b"[" * 5000, "nested too deeply"),
        (b"a: " + b"x" * 1_000_001, "larger than 1 MB"),
    ],
)
def test_a_file_that_is_no_settings_file_says_why(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        yaml_file.load(tmp_path / "x.yaml")
    assert str(tmp_path / "x.yaml") in str(caught.value)


def test_missing_files_and_folders_are_told_apart(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        yaml_file.load(tmp_path / "nothing.yaml")
    with pytest.raises(InputError, match="is a folder"):
        yaml_file.load(tmp_path)


def test_every_key_written_twice_is_named_with_its_lines():
    with pytest.raises(SpecError) as caught:
        yaml_file.parse("a: 1\nb:\n  - c: 1\n    c: 2\na: 3\n1: x\n", "x.yaml")
    assert [fault.key for fault in caught.value.faults] == ["b.0.c", "a", ""]
    assert "line 1 and again on line 5" in str(caught.value)
    assert "put it in quotes" in str(caught.value)


class Gate(BaseModel):
    model_config = ConfigDict(extra="forbid")
    metric: Literal["auroc", "fpr95"] = "auroc"
    epsilon: Epsilon = 0.0
    at_least: Fraction | None = None

    @model_validator(mode="after")
    def limited(self) -> Gate:
        if self.at_least is None:
            raise ValueError("give at_least")
        return self


class File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    gates: list[Gate]
    checks: Literal["all"] | list[str] = "all"
    attack: Annotated[shelves.Item, shelves.Shelf("attacks")] | None = None
    attacks: dict[str, Annotated[shelves.Item, shelves.Shelf("attacks")]] = {}


def found_in(data: object, prefix: str = "") -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        File.model_validate(data)
    return {f.key: f"{f.found}: {f.allowed}" for f in validation.from_validation(caught.value, File, data, prefix)}


def test_all_faults_are_told_at_once_in_plain_words():
    told = found_in(
        {
            "nam": "demo",
            "gates": [{"metric": "aurok", "epsilon": 2, "at_last": 0.5}, {"at_least": 7}, {}, "x"],
            "checks": 7,
        }
    )
    assert told == {
        "name": "nothing: is required",
        "nam": "\"demo\": unknown key (did you mean 'name'?); available: attack, attacks, checks, gates, name",
        "gates.0.metric": "\"aurok\": must be one of 'auroc' or 'fpr95'",
        "gates.0.epsilon": "2: epsilon is in pixel scale, 0 to 1; did you mean 2/255?",
        "gates.0.at_last": "0.5: unknown key (did you mean 'at_least'?); available: at_least, epsilon, metric",
        "gates.1.at_least": "7: must be at most 1",
        "gates.2": "{}: give at_least",
        "gates.3": '"x": must be a mapping of `key: value` lines',
        "checks": "7: must be one of 'all', or a list",
    }


def test_faults_inside_a_shelf_item_know_its_parameters(monkeypatch: pytest.MonkeyPatch):
    def pgd(*, steps: Count = 1, alpha: Fraction = 0.5, radius: float) -> None: ...

    monkeypatch.setattr(shelves, "load", lambda shelf, name: pgd)
    long = {"name": "pgd", "step": 3, "radius": 1}
    told = found_in({"name": "x", "gates": [], "attack": {"pgd": {"alpha": 9}}, "attacks": {"a": long}}, "spec")
    assert told == {
        "spec.attack.pgd.alpha": "9: must be at most 1",
        "spec.attack.pgd.radius": "nothing: is required",
        "spec.attacks.a.step": "3: unknown key (did you mean 'steps'?); available: alpha, radius, steps",
    }


def test_a_long_value_is_shortened():
    assert len(validation.shown({"key": "x" * 500})) == 60


def test_a_missing_file_says_where_it_may_be(tmp_path):
    (tmp_path / "spaces").mkdir()
    for name in ("demo.yaml", "spaces/small.yml"):
        (tmp_path / name).write_text("a: 1\n")
    for asked, expected in {
        "deno.yaml": f"did you mean {tmp_path / 'demo.yaml'}",
        "small.yaml": f"did you mean {tmp_path / 'spaces' / 'small.yml'}",
        "other.yaml": f"YAML files in {tmp_path}, {tmp_path / 'spaces'}",
        "nowhere/a.yaml": f"no folder {tmp_path / 'nowhere'}",
    }.items():
        with pytest.raises(InputError, match=re.escape(expected)):
            yaml_file.load(tmp_path / asked)
