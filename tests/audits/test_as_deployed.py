"""As deployed = as audited: the file deployed in place of a twin gets the same images, and gates decide."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
import toy_audit
import toy_deployed
import yaml
from rich.console import Console

import assay
from assay.api.audit import Audit
from assay.cli.audit import _summary
from assay.errors import InputError
from assay.models import card, model_folder
from assay.reports.sections.as_deployed import as_deployed
from assay.reports.sections.limitations import limitations
from assay.reports.sections.verdict import verdict
from assay.store.store import Store

SUITE = {
    **toy_audit.SUITE,
    "attacks": [
        {"name": "noise-linf", "attack": {"noise": {"draws": 4}}, "threat": "linf", "epsilons": ["2/255"]},
        {"name": "pgd-linf", "attack": {"pgd": {"steps": 5}}, "threat": "linf", "epsilons": ["2/255", "8/255"]},
        {"name": "boundary-linf", "attack": {"boundary": {"steps": 2}}, "threat": "linf", "epsilons": ["8/255"]},
    ],
    "threats": {"linf": toy_audit.SUITE["threats"]["linf"]},
    "unbounded": {"steps": 20, "samples": 8},
}


@pytest.fixture(scope="module")
def audited(tmp_path_factory, own_cache):
    """A function: the card's keys -> the audit of the twin with that card, made once."""
    folder = tmp_path_factory.mktemp("line")
    dataset = toy_audit.pictures(folder / "images")
    del dataset["image_size"]
    for name, make in {"twin": toy_deployed.twin, **toy_deployed.FILES}.items():
        toy_deployed.save(make(), folder / f"{name}.pt2")
    made: dict[str, Audit] = {}

    def audited(**values: Any) -> Audit:
        key = yaml.safe_dump(values)
        if key not in made:
            whole = {
                "detector": "twin.pt2", "dataset": dataset, "threshold": {"false_alarm_rate": 0.2}, "input": "native",
                **values,
            }  # fmt: skip
            path = folder / "card.yaml"
            path.write_text(yaml.safe_dump(whole))
            made[key] = assay.audit(path, SUITE, store=folder / "store")
        return made[key]

    audited.folder = folder  # type: ignore[attr-defined]
    return audited


def check(audit: Audit) -> dict[str, Any]:
    [row] = [row for row in audit.to_arrow("checks").to_pylist() if row["check"] == "deployed_equal"]
    return row


def text(section: Any) -> str:
    return re.sub(r"\s+", " ", section.html.striptags())


def figure(audit: Audit, attack: str, metric: str, epsilon: float = 0.0, regime: str = "") -> float:
    rows = audit.to_pandas()
    at = (rows.attack == attack) & (rows.metric == metric) & (rows.defect == "all") & (rows.regime == regime)
    return float(rows[at & ((rows.epsilon - epsilon).abs() < 1e-9)].value.item())


def policy(*gates: dict[str, Any], **values: Any) -> dict[str, Any]:
    few = {"normals": 5, "anomalies": 5}
    return {"name": "line", "version": 1, "why": "w", "minimum_samples": few, "gates": list(gates), **values}


AGREES = {"metric": "decisions_differ", "attack": "deployed:clean", "at_most": 0.4, "why": "what runs was audited"}
ROBUST = {"metric": "auroc", "attack": "deployed:worst", "epsilon": "2/255", "at_least": 0.3, "why": "it must hold"}


def test_an_equal_file_passes_and_has_the_same_figures(audited):
    audit = audited(deployed="equal.pt2", trained_on="train")
    row = check(audit)
    assert row["passed"]
    assert row["required"]
    assert (row["value"], row["limit"], row["samples"]) == (0, 0.01, 24)
    assert "equal.pt2 scores 24 clean images at most 0 standard deviations of the clean scores" in row["evidence"]
    assert "96 attacked ones at most 0, allowed 0.01; 0 decisions on clean images differ, and 0" in row["evidence"]
    for metric in ("auroc", "miss_rate", "false_alarm_rate"):
        assert figure(audit, "deployed:clean", metric) == figure(audit, "clean", metric)
        for name in ("worst", "pgd-linf"):
            at = (metric, 8 / 255, "both")
            assert figure(audit, f"deployed:{name}", *at) == figure(audit, name, *at)
    assert figure(audit, "deployed:worst", "decisions_differ", 8 / 255, "both") == 0
    assert audit.to_arrow("deployed").num_rows == 96
    assert audit.remarks == ()


@pytest.mark.parametrize(("file", "least"), [("shifted", 0.2), ("resize", 0.05), ("bf16", 0.02)])
def test_a_file_that_scores_otherwise_makes_the_audit_invalid(audited, file, least):
    audit = audited(deployed=f"{file}.pt2", trained_on="train")
    row = check(audit)
    assert not row["passed"]
    assert row["value"] > least
    decided = audit.verdict(policy(AGREES, ROBUST))
    assert decided.verdict == "INVALID"
    assert decided.checks.failed == ("deployed_equal",)
    failed = {each["check"] for each in audit.to_arrow("checks").to_pylist() if each["required"] and not each["passed"]}
    assert failed == {"deployed_equal"}


def test_the_figures_of_a_shifted_file_stand_beside_the_audited_ones(audited):
    audit = audited(deployed="shifted.pt2", trained_on="train")
    assert figure(audit, "deployed:clean", "auroc") == figure(audit, "clean", "auroc")
    rates = [figure(audit, name, "false_alarm_rate") for name in ("clean", "deployed:clean")]
    assert rates[1] > rates[0]
    differ = figure(audit, "deployed:clean", "decisions_differ")
    assert differ > 0
    assert f"{round(24 * differ)} decisions on clean images differ" in check(audit)["evidence"]
    shown = text(as_deployed(audit.reader))
    assert "✕ It does not score and decide alike" in shown
    assert f"{rates[0]:.3f} [" in shown
    assert f"{rates[1]:.3f} [" in shown
    assert "Attacks on shifted.pt2 itself" in text(limitations(audit.reader))


def test_the_command_line_shows_both(audited):
    audit = audited(deployed="shifted.pt2", trained_on="train")
    console = Console(width=200, file=io.StringIO())
    console.print(_summary(audit))
    shown = console.file.getvalue()
    assert "as deployed" in shown
    [line] = [line for line in shown.splitlines() if "8/255" in line and "both" in line]
    for name in ("worst", "deployed:worst"):
        assert f"{figure(audit, name, 'auroc', 8 / 255, 'both'):.3f} [" in line
    console.print(_summary(audited(trained_on="train")))
    assert shown.count("as deployed") == console.file.getvalue().count("as deployed")


def test_gates_act_on_the_deployed_figures_where_the_check_is_waived(audited):
    audit = audited(deployed="shifted.pt2", trained_on="train")
    waiver = {"check": "deployed_equal", "granted_by": "Jane Doe", "reason": "8-bit weights", "expires": "2099-01-01"}
    none = {**AGREES, "at_most": 0.001, "bound": "value"}
    decided = audit.verdict(policy(none, ROBUST, waivers=[waiver]))
    assert [gate.decision for gate in decided.gates] == ["FAIL", "PASS"]
    assert decided.gates[0].text.startswith("clean share of decisions that differ as deployed at most")
    assert decided.gates[1].text.startswith("robust AUROC as deployed, worst case, both regimes, linf 2/255")
    assert decided.verdict == "FAIL"


def test_a_gate_on_a_deployed_file_that_there_is_not_is_not_decided(audited):
    decided = audited(trained_on="train").verdict(policy(AGREES))
    assert decided.verdict == "INCONCLUSIVE"
    assert "no figure for attack deployed:clean" in decided.gates[0].why


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({**AGREES, "attack": "clean"}, r"decisions_differ is of attack deployed:clean or deployed:worst"),
        ({**AGREES, "epsilon": "2/255"}, r"attack deployed:clean takes no epsilon"),
        ({**AGREES, "defect": "spot"}, r"give no regime and no defect"),
        ({**ROBUST, "attack": "deployed:certified", "metric": "curve_area"}, r"curve_area is of attack worst"),
    ],
)
def test_a_wrong_gate_is_a_fault(audited, gate, words):
    with pytest.raises(InputError, match=words):
        audited(trained_on="train").verdict(policy(gate))


def test_without_a_deployed_file_the_report_says_so(audited):
    audit = audited(trained_on="train")
    assert check(audit)["evidence"].startswith("not applicable")
    assert "No file was named that is deployed" in text(as_deployed(audit.reader))


def test_a_file_with_a_threshold_and_a_scale_of_its_own(audited):
    twin = audited(trained_on="train")
    threshold = float(twin.reader.info["threshold"]["value"])
    file = toy_deployed.Normalised(toy_deployed.twin(), threshold, 0.3)
    toy_deployed.save(file, audited.folder / "normalised.pt2")
    row = check(audited(deployed={"detector": "normalised.pt2", "threshold": 0.5}, trained_on="train"))
    assert row["passed"], row["evidence"]
    assert "on a scale of their own and were multiplied by 0.3" in row["evidence"]
    row = check(audited(deployed="normalised.pt2", trained_on="train"))
    assert not row["passed"]
    row = check(audited(deployed={"detector": "normalised.pt2", "threshold": 0.55}, trained_on="train"))
    assert not row["passed"]


def test_a_threshold_on_images_that_were_trained_on_is_in_doubt_everywhere(audited):
    audit = audited(trained_on="train and validation")
    rate = figure(audit, "clean", "false_alarm_rate")
    words = (
        f"the false-alarm rate 0.2 is not to be believed: 6 of the threshold's 6 validation normals .* {rate:.3f} \\["
    )
    assert re.search(words, "; ".join(audit.remarks))
    assert re.search(words, text(limitations(audit.reader)))
    assert re.search(f"(?i){words}", text(verdict(audit.reader)))
    assert any(re.search(f"(?i){words}", reason) for reason in audit.verdict("demo").reasons)


def test_a_card_that_does_not_say_is_a_finding(audited):
    [remark] = audited().remarks
    assert "the card does not say which images the detector was trained on" in remark
    assert not any("trained on" in reason for reason in audited().verdict("demo").reasons)
    assert audited().reader.info["findings"][-1]["name"] == "trained_on_unknown"


def test_an_object_in_memory_takes_both(audited, tmp_path):
    dataset = audited().reader.info["dataset"]["item"]
    file = audited.folder / "equal.pt2"
    audit = assay.audit(
        toy_deployed.twin(), SUITE, dataset=dataset, threshold=0.6, trained_on="train", deployed=file,
        store=tmp_path / "store",
    )  # fmt: skip
    assert check(audit)["passed"]
    with pytest.raises(InputError, match="deployed: goes with an nn"):
        assay.audit("demo:best", SUITE, deployed=file, store=tmp_path / "store")


def test_an_onnx_file_agrees_with_the_twin_it_was_made_of(audited, tmp_path):
    pytest.importorskip("onnxruntime")
    import torch

    images = torch.rand(2, 1, toy_audit.SIZE, toy_audit.SIZE)
    file = audited.folder / "line.onnx"
    torch.onnx.export(
        toy_deployed.Bright().eval(), (images,), file, dynamo=True, dynamic_shapes=({0: "batch"},), external_data=False
    )
    toy_deployed.save(toy_deployed.Bright(), audited.folder / "bright.pt2")
    values = {"detector": "bright.pt2", "deployed": "line.onnx", "trained_on": "train"}
    audit = audited(**values)
    row = check(audit)
    assert row["passed"], row["evidence"]
    assert 0 <= row["value"] < 1e-3
    manifest = model_folder.read_manifest(audit.store, audit.model)
    assert manifest["deployed"]["kind"] == "onnx"
    assert audit.store.exists(f"models/{audit.model}/deployed/detector.onnx")
    assert card.bring(Store(tmp_path), str(audited.folder / "card.yaml")) == audit.model
