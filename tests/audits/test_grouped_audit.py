"""An audit of images that are of groups, from the data set to the report: what is counted and said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import toy_audit
import yaml
from click.testing import CliRunner
from PIL import Image

from assay import shelves
from assay.cli import main
from assay.store import figures, parquet
from assay.store.audit_reader import Audit
from assay.store.schemas import METRICS, SCORES
from assay.store.store import Store

VIEWS = 4
POLICY = {
    "name": "mine", "version": 1, "why": "a test", "minimum_samples": {"normals": 20, "anomalies": 5},
    "gates": [
        {"name": "clean", "metric": "auroc", "attack": "clean", "at_least": 0.1, "why": "a test"},
        {"name": "alarms", "metric": "false_alarm_rate", "attack": "clean", "at_most": 0.2, "why": "a test"},
    ],
}  # fmt: skip


def views(folder: Path) -> dict[str, object]:
    """Four nearly equal views of each of 24 good parts and 12 with a spot; half of the good ones are test."""
    rng = np.random.default_rng(0)
    for kind, parts in (("good", 24), ("spot", 12)):
        (folder / kind).mkdir(parents=True)
        for part in range(parts):
            pixels = rng.normal(90, 12, (toy_audit.SIZE, toy_audit.SIZE))
            if kind == "spot":
                pixels[4:10, 4:10] += rng.uniform(20, 110)
            for view in range(VIEWS):
                seen = (pixels + rng.normal(0, 1, pixels.shape)).clip(0, 255).astype(np.uint8)
                Image.fromarray(seen).save(folder / kind / f"{kind}{part:02d}-{view}.png")
    item = {"root": str(folder), "normal": "good", "anomalous": ["spot"], "image_size": toy_audit.SIZE, "channels": 1}
    fractions = {"train_fraction": 0.25, "validation_fraction": 0.25}
    return {"name": "folder", **item, **fractions, "group_pattern": r"^(\w+)-"}


@pytest.fixture
def run(tmp_path, monkeypatch, own_cache):
    """A function: words -> exit code, output, errors; a store with a model beside it."""
    monkeypatch.chdir(tmp_path)
    toy_audit.write_model(Store("store"), views(tmp_path / "images"), flaw="none")
    toy_audit.write_suite(tmp_path / "tiny.yaml")
    Path("policy.yaml").write_text(yaml.safe_dump(POLICY))

    def run(*words: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(main, [*words, "--store", "store"], env={"COLUMNS": "200"})
        return result.exit_code, result.stdout, result.stderr

    return run


def test_an_audit_counts_groups_from_the_data_set_to_the_verdict(run):
    [model] = Store("store").names("models")
    code, _, errors = run(
        "audit", model, "--suite", "tiny.yaml", "--policy", "policy.yaml", "--workers", "1", "--no-wandb"
    )
    notes = [line for line in errors.splitlines() if line.startswith("note: this will be INCONCLUSIVE")]
    told = "note: this will be INCONCLUSIVE: "
    assert notes == [
        f"{told}minimum_samples: there are 12 groups of normals, the policy needs at least 20",
        f"{told}gate alarms: with 12 groups of normals not even a figure without error keeps the limit 0.2 (its upper "
        "bound is 0.265 at 95 % confidence); 17 would do",
    ]
    [name] = Store("store").names("audits")
    audit = Audit(Store("store").below(f"audits/{name}"))
    assert audit.info["samples"] == {"normals": 48, "anomalies": 32}
    assert audit.info["groups"] == {"normals": 12, "anomalies": 8}
    table = parquet.load(audit.folder, "metrics.parquet", METRICS)
    assert {row.units for row in figures.read(table)} == {(12, 8)}
    parts = parquet.whole(audit.folder, audit.parts("scores"), SCORES)
    assert {sample.split("/")[-1].split("-")[0] for sample in parts["sample"].to_pylist()} == set(
        parts["group"].to_pylist()
    )
    verdict = json.loads(audit.folder.read("verdict.json"))
    assert (code, verdict["verdict"]) == (5, "INCONCLUSIVE"), verdict["reasons"]
    assert verdict["gates"][0]["why"] == "12 groups of normals were tested, the policy needs at least 20"
    page = {
        section: shelves.load("sections", section)(audit).html
        for section in ("summary", "clean_performance", "identity")
    }
    assert "in 12 and 8 groups over which the intervals are" in page["summary"]
    assert "every interval is over groups" in page["clean_performance"]
    assert "anomalous test images in 12 and 8 groups" in page["identity"]
    for key in audit.parts("scores"):  # as if every image were a part
        table = parquet.load(audit.folder, key, SCORES)
        alone = table.set_column(table.schema.get_field_index("group"), "group", table["sample"])
        audit.folder.write(key, parquet.dump(alone))
    code, _, errors = run("approve", name, "--policy", "policy.yaml")
    assert code == 1
    assert "counts 12 independent normals and 8 anomalies, the scores beside it 48 and 32, so one of them" in errors
