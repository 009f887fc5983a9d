"""Gates on the least good seed of training: by the manifest of the model, where its search space trained several."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import toy_audit
import yaml
from pydantic import ValidationError

from assay.approval import undecidable, worst_seed
from assay.approval.gate import Gate
from assay.approval.judgement import judge
from assay.approval.policy import Policy
from assay.audits import audit, suite
from assay.errors import DataError
from assay.hashing import digest
from assay.models import model_folder
from assay.store.audit_reader import Audit
from assay.store.store import Store

SEEDS = {
    "trained": 3,
    "trials": [0, 3, 4],
    "failed": [],
    "split": "validation",
    "mean": {"clean_auroc": 0.95, "robust_auroc": 0.9},
    "worst": {"clean_auroc": 0.9, "robust_auroc": 0.8},
    "sd": {"clean_auroc": 0.03, "robust_auroc": 0.07},
}
ATTACKED = {"attack": "worst_seed", "epsilon": "2/255"}
CLEAN = {"attack": "worst_seed:clean"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> dict[str, Path]:
    """The folders of two audits, of a model with several seeds and of one with its own alone. Not to be changed."""
    root = tmp_path_factory.mktemp("seeds")
    store = Store(root / "store")
    alone = toy_audit.write_model(store, toy_audit.pictures(root / "images"))
    several = model_folder.amended(store, alone, {"seeds": SEEDS})
    tiny = suite.read(toy_audit.write_suite(root / "tiny.yaml"))
    names = {"alone": alone, "several": several}
    return {kind: store.path(f"audits/{audit.run(store, name, tiny)}") for kind, name in names.items()}


def policy(*more: dict, **gate) -> Policy:
    rules = {"name": "p", "version": 1, "why": "w", "minimum_samples": {"normals": 2, "anomalies": 2}}
    gates = [{"metric": "auroc", "why": "w", **one} for one in (gate, *more)]
    return Policy.of({**rules, "required_checks": ["robust_below_clean"], "gates": gates}, "p.yaml")


def result(folder: Path, **gate):
    [found] = judge(Audit(folder), policy(**gate)).gates
    return found


@pytest.mark.parametrize(("attack", "value"), [(ATTACKED, 0.8), (CLEAN, 0.9)], ids=["attacked", "clean"])
def test_the_worst_seed_is_a_figure_with_bounds_over_the_validation_images(made, attack, value):
    found = result(made["several"], **attack, at_least=0.1)
    manifest = json.loads((made["several"] / "manifest.json").read_text())
    counts = manifest["dataset"]["counts"]["validation"]
    assert (found.normals, found.anomalies) == (counts["normal"], counts["anomalous"])
    assert (found.lower, found.upper) == worst_seed.bounds(value, found.normals, found.anomalies, 3, 0.95)
    assert (found.value, found.decision) == (value, "PASS")
    assert result(made["several"], **attack, at_least=0.99).decision in ("FAIL", "INCONCLUSIVE")
    assert result(made["several"], **attack, at_least=0.99, bound="value").decision == "FAIL"
    assert result(made["several"], **attack, at_least=value, bound="value").decision == "PASS"


def test_a_model_of_one_seed_decides_no_such_gate(made):
    found = result(made["alone"], **ATTACKED, at_least=0.1)
    assert found.decision == "INCONCLUSIVE"
    assert "the audit has no figure for attack worst_seed" in found.why


def test_another_budget_than_the_sweeps_is_not_decided(made):
    found = result(made["several"], attack="worst_seed", epsilon="4/255", at_least=0.1)
    assert found.decision == "INCONCLUSIVE"
    assert "epsilon 4/255; there is: 2/255" in found.why


def test_a_manifest_that_was_changed_decides_nothing(made, tmp_path):
    folder = Path(shutil.copytree(made["several"], tmp_path / "store" / "audits" / made["several"].name))
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"robust_auroc":0.8', '"robust_auroc":0.9'))
    with pytest.raises(DataError, match="is not that of model"):
        judge(Audit(folder), policy(**ATTACKED, at_least=0.1))


def test_other_gates_do_not_change_beside_it(made):
    both = policy({"attack": "clean", "at_least": 0.1}, **ATTACKED, at_least=0.1)
    two = judge(Audit(made["several"]), both).gates
    metrics = pq.read_table(made["several"] / "metrics.parquet").to_pylist()
    own = next(row for row in metrics if (row["attack"], row["metric"], row["defect"]) == ("clean", "auroc", "all"))
    assert two[1].value == own["value"]


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({**ATTACKED, "metric": "fpr95", "at_most": 0.5}, "worst_seed has the metric auroc alone"),
        ({**ATTACKED, "regime": "evasion", "at_least": 0.5}, "give no regime and no defect"),
        ({**ATTACKED, "defect": "worst_kind", "at_least": 0.5}, "give no regime and no defect"),
        ({**CLEAN, "epsilon": "2/255", "at_least": 0.5}, "attack worst_seed:clean takes no epsilon"),
        ({"attack": "worst_seed", "at_least": 0.5}, "epsilon is required"),
    ],
)
def test_what_there_is_not_is_refused(gate, words):
    with pytest.raises(ValidationError, match=words):
        Gate.model_validate({"metric": "auroc", "why": "w", **gate})


def test_it_is_said_in_words_and_lacks_nothing_of_a_suite(tmp_path):
    rules = policy(**ATTACKED, at_least=0.6)
    assert rules.gates[0].text == "AUROC of the worst seed of training, validation, linf 2/255 at least 0.60"
    clean = Gate.model_validate({"metric": "auroc", "why": "w", **CLEAN, "at_least": 0.8})
    assert clean.text == "AUROC of the worst seed of training, validation, clean at least 0.80"
    assert undecidable.undecidable(rules, suite.read(toy_audit.write_suite(tmp_path / "tiny.yaml"))) == []


def test_a_manifest_without_counts_or_with_one_seed_has_no_figures(made, tmp_path):
    folder = Path(shutil.copytree(made["several"], tmp_path / "audit"))
    manifest = json.loads((folder / "manifest.json").read_text())
    for changed in ({"seeds": {**SEEDS, "trained": 1}}, {"dataset": {**manifest["dataset"], "counts": {}}}):
        content = json.dumps({**manifest, **changed})
        (folder / "manifest.json").write_text(content)
        info = yaml.safe_load((folder / "audit.yaml").read_text())
        info["model"] = digest(content.encode())
        (folder / "audit.yaml").write_text(yaml.safe_dump(info))
        assert worst_seed.figures(Audit(folder), 0.95) == []
