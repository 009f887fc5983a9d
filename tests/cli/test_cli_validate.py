"""`assay validate`: every fault of every file, and the exit code scripts rely on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import assay
from assay.cli import main

GOOD = """
name: toy
trainable: toy_trainable:Toy
dataset: elpv
space:
  adversary.epsilon: {uniform: [0, 6/255]}
  optimizer: {choice: [adam, sgd]}
evaluation: {attack: pgd, epsilon: 2/255}
objectives: {robust_auroc: max}
search: {trials: 1}
"""


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "support"))


@pytest.fixture
def files(tmp_path):
    texts = {
        "good.yaml": GOOD,
        "faulty.yaml": GOOD.replace("trials: 1", "trials: 0").replace("[0, 6/255]", "[1, 0]"),
        "broken.yaml": "a: [1",
        "other.yaml": "sapce: {}",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {name: str(tmp_path / name) for name in (*texts, "missing.yaml")}


def test_a_sound_file_is_told_in_a_line(files):
    result = CliRunner().invoke(main, ["validate", files["good.yaml"]])
    assert result.exit_code == 0
    assert result.output == f"{files['good.yaml']}: ok (search space toy: 1 trial over 2 parameters)\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name: a\n\tspace: 1\n", "indent with spaces, not with tabs"),
        ("detectors: {a: {trainable: neighbours}}\nseeds: 3\n", "seeds: found 3; must be a list, such as [0, 1, 2]"),
        ("gates: [{name: g, metric: auroc, attack: claen, at_least: 0.5, why: x}]", "(did you mean 'clean'?)"),
    ],
)  # fmt: skip
def test_common_slips_are_answered_by_what_to_write(tmp_path, text, why):
    (tmp_path / "x.yaml").write_text(text)
    result = CliRunner().invoke(main, ["validate", str(tmp_path / "x.yaml")])
    assert result.exit_code == 2
    assert why in result.output


def test_all_files_are_read_though_the_first_is_wrong(files):
    order = ["faulty.yaml", "broken.yaml", "missing.yaml", "other.yaml", "good.yaml"]
    result = CliRunner().invoke(main, ["validate", *(files[name] for name in order)])
    assert result.exit_code == 2
    assert f"{files['faulty.yaml']}: 2 faults" in result.output
    assert "  space.adversary.epsilon: found" in result.output
    assert "  search.trials: found 0; must be at least 1" in result.output
    assert f"{files['broken.yaml']}, line 1" in result.output
    assert f"{files['missing.yaml']}: no such file" in result.output
    assert "did you mean 'space'?" in result.output
    assert f"{files['good.yaml']}: ok" in result.output


def test_machines_get_json(files):
    result = CliRunner().invoke(
        main, ["validate", "--json", files["good.yaml"], files["faulty.yaml"], files["other.yaml"]]
    )
    assert result.exit_code == 2
    good, faulty, other = json.loads(result.output)
    assert good == {
        "file": files["good.yaml"],
        "ok": True,
        "kind": "search space",
        "summary": "search space toy: 1 trial over 2 parameters",
        "faults": [],
    }
    assert [fault["key"] for fault in faulty["faults"]] == ["space.adversary.epsilon", "search.trials"]
    assert (other["ok"], other["kind"], other["faults"]) == (False, None, [])


def test_a_policy_is_known_by_its_gates(tmp_path):
    packaged = sorted(Path(assay.__file__).parent.glob("approval/policies/*.yaml"))
    result = CliRunner().invoke(main, ["validate", "--json", *map(str, packaged)])
    assert result.exit_code == 0
    told = json.loads(result.output)
    assert [line["kind"] for line in told] == ["policy"] * len(packaged)
    assert all(re.fullmatch(r"policy \S+: \d+ gates?", line["summary"]) for line in told)
    faulty = tmp_path / "faulty"
    faulty.write_text("gates: []")
    result = CliRunner().invoke(main, ["validate", str(faulty)])
    assert result.exit_code == 2
    assert "minimum_samples: found nothing; is required" in result.output


def test_a_study_is_known_by_its_detectors():
    shipped = Path(__file__).parents[2] / "studies" / "small.yaml"
    result = CliRunner().invoke(main, ["validate", str(shipped)])
    assert result.output == f"{shipped}: ok (study small: 3 detectors x 2 datasets x 2 seeds, 12 cells)\n"


def test_a_file_must_be_named():
    assert CliRunner().invoke(main, ["validate"]).exit_code == 2
