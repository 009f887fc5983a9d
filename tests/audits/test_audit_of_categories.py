"""One model over two categories, from the data set to the verdict and the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import toy_audit
import yaml
from click.testing import CliRunner
from PIL import Image

from assay import shelves
from assay.cli import main
from assay.store.audit_reader import Audit
from assay.store.store import Store


def category(folder: Path, seed: int, spot: float, test_normals: int = 12) -> None:
    rng = np.random.default_rng(seed)
    for kind, count in (("train/good", 12), ("test/good", test_normals), ("test/spot", 18)):
        (folder / kind).mkdir(parents=True)
        for at in range(count):
            pixels = rng.normal(90, 12, (toy_audit.SIZE, toy_audit.SIZE))
            if kind == "test/spot":
                pixels[4:10, 4:10] += spot
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / kind / f"{at:02}.png")


def audited(tmp_path: Path) -> tuple[Audit, str]:
    """The audit of a toy model over the categories in `images`, by a policy with a gate on one and on the worst."""
    item = {"name": "mvtec", "root": str(tmp_path / "images"), "category": "all", "image_size": toy_audit.SIZE}
    toy_audit.write_model(Store("store"), {**item, "channels": 1}, flaw="none")
    toy_audit.write_suite(tmp_path / "tiny.yaml")
    gates = [
        {"name": name, "metric": "auroc", "attack": "clean", "defect": defect, "at_least": 0.7, "why": "a test"}
        for name, defect in (("bright", "bright"), ("worst", "worst_category"))
    ]
    policy = {"name": "mine", "version": 1, "why": "a test", "minimum_samples": {"normals": 5, "anomalies": 5}}
    Path("policy.yaml").write_text(yaml.safe_dump({**policy, "gates": gates}))
    [model] = Store("store").names("models")
    words = ["audit", model, "--suite", "tiny.yaml", "--policy", "policy.yaml", "--workers", "1", "--no-wandb"]
    result = CliRunner().invoke(main, [*words, "--store", "store"], env={"COLUMNS": "200"})
    [name] = Store("store").names("audits")
    return Audit(Store("store").below(f"audits/{name}")), result.output


def test_the_worst_category_decides_and_is_shown(tmp_path, monkeypatch, own_cache):
    monkeypatch.chdir(tmp_path)
    category(tmp_path / "images/bright", 0, 110)
    category(tmp_path / "images/faint", 1, 0)
    audit, output = audited(tmp_path)
    assert audit.categories == ["bright", "faint"], output
    assert audit.defects == ["bright/spot", "faint/spot"]
    gates_decided = json.loads(audit.folder.read("verdict.json"))["gates"]
    decisions = {one["name"]: one["decision"] for one in gates_decided}
    assert decisions["bright"] == "PASS"
    assert decisions["worst"] != "PASS"
    page = shelves.load("sections", "clean_performance")(audit).html
    assert "worst category" in page
    assert "against the normals of the same category" in page


def test_a_category_without_test_normals_is_told_and_its_gate_is_not_decided(tmp_path, monkeypatch, own_cache):
    monkeypatch.chdir(tmp_path)
    category(tmp_path / "images/bright", 0, 110)
    category(tmp_path / "images/faint", 1, 0, test_normals=0)
    audit, output = audited(tmp_path)
    why = "among the test images, faint has no normals"
    assert audit.categories == []
    assert "note: no figures by category, none of the worst one" in output
    assert output.count(why) >= 1
    for gate in json.loads(audit.folder.read("verdict.json"))["gates"]:
        assert gate["decision"] == "INCONCLUSIVE"
        assert why in gate["why"]
    for section in ("clean_performance", "limitations"):
        assert shelves.load("sections", section)(audit).html.count(why) == 1
