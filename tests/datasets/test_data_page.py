"""The page on data says what there is: every dataset, its licence, and examples that work."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import layouts
import pytest
import yaml

from assay import shelves
from assay.approval.gate import Gate
from assay.contracts import Dataset

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)]


def test_every_dataset_has_its_row_and_its_licence() -> None:
    licences: dict[str, str] = {}
    table = PAGE.partition("## What is read")[2].partition("\n## ")[0]
    for line in (line for line in table.splitlines() if line.startswith("| ") and "`" in line.split("|")[1]):
        cells = line.split("|")
        licences[cells[1].strip(" `")] = cells[6].strip()
    assert sorted(licences) == shelves.names("datasets")
    for name, licence in licences.items():
        module = sys.modules[shelves.load("datasets", name).__module__]
        stated = getattr(module, "LICENCE", None)
        if stated is not None:
            assert str(stated).startswith(licence)
            assert ("NC" in licence) == ("non-commercial" in stated)


@pytest.fixture
def examples(tmp_path: Path) -> dict[str, Dataset]:
    """The datasets of the page's examples, read from small copies of what they name."""
    for name in ("bottle", "cable"):
        for part, count in (("train/good", 10), ("test/good", 4), ("test/crack", 4)):
            for at in range(count):
                layouts.picture(tmp_path / f"mvtec/{name}/{part}/{at}.png", sum(map(ord, name + part)) * 100 + at)
    for name in ("candle", "pcb1"):
        layouts.visa(tmp_path / "visa", name)
    with (layouts.picture(tmp_path / "line-9/0.png", 0).parent / "images.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "result", "defect", "split", "serial", "mask"])
        for at in range(20):
            layouts.picture(tmp_path / f"line-9/{at}.png", at)
            bad = at >= 14
            split = "train" if at < 8 else "test"
            rows.writerow([f"{at}.png", "fail" if bad else "pass", "dent" if bad else "", split, f"s{at // 2}", ""])
    made = {}
    for example in (example["dataset"] for example in EXAMPLES if "dataset" in example):
        root = example["root"].replace("/data", str(tmp_path))
        values = {key: value for key, value in example.items() if key != "name"} | {"root": root}
        item = shelves.Item("datasets", example["name"], values)
        made[example["name"]] = item.function(**item.arguments())
    return made


def test_its_examples_are_read(examples: dict[str, Dataset]) -> None:
    assert set(examples) == {"table", "mvtec", "visa"}
    assert {sample.defect for sample in examples["table"].samples} == {"normal", "dent"}
    assert {sample.category for sample in examples["mvtec"].samples} == {"bottle", "cable"}
    assert {sample.category for sample in examples["visa"].samples} == {"candle", "pcb1"}


def test_its_tiled_detector_has_the_parameters_that_it_is_given() -> None:
    [example] = [example for example in EXAMPLES if "trainable" in example]
    bound = shelves.bind(shelves.load("trainables", example["trainable"]), example["fixed"])
    assert (bound["of"].name, bound["tile"], bound["overlap"]) == ("patchcore", 256, 0.25)


def test_its_gate_is_a_gate() -> None:
    [gates] = [example["gates"] for example in EXAMPLES if "gates" in example]
    assert [Gate.model_validate(gate).text for gate in gates] == ["clean AUROC, worst category at least 0.90"]
