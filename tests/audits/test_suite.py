"""Suites: reading them with all their faults, and what their hashes stand for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import toy_audit
import yaml

from assay.audits import suite
from assay.errors import InputError, SpecError, UnknownName


def read(tmp_path: Path, **changes: Any) -> suite.Suite:
    return suite.read(toy_audit.write_suite(tmp_path / "tiny.yaml", **changes))


def with_entry(**changes: Any) -> list[dict[str, Any]]:
    """The tiny suite's attacks, the PGD one changed."""
    attacks = copy.deepcopy(toy_audit.SUITE["attacks"])
    attacks[1] |= changes
    return attacks


def faults(tmp_path: Path, **changes: Any) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, **changes)
    return {fault.key: f"{fault.found}; {fault.allowed}" for fault in caught.value.faults}


@pytest.mark.parametrize("name", suite.shipped())
def test_a_shipped_suite_can_be_read(name):
    found = suite.read(name)
    assert (found.name, found.source) == (name, name)
    noise = {
        (entry.norm, epsilon) for entry in found.attacks if entry.knowledge == "none" for epsilon in entry.epsilons
    }
    assert ("linf", found.headline.epsilon) in noise, "without the control, no audit of the suite can be valid"
    assert 2 / 255 in {epsilon for entry in found.white_box() for epsilon in entry.epsilons}


def test_there_is_a_quick_and_a_standard_suite():
    assert {"quick", "standard"} <= set(suite.shipped())


def test_the_standard_suite_is_at_least_as_strong_as_the_quick_one():
    def cost(name):
        return sum(
            e.attack.arguments().get("steps", 1) * e.attack.arguments().get("restarts", 1)
            for e in suite.read(name).white_box()
        )

    assert cost("standard") > cost("quick")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'standard'"):
        suite.read("standrad")
    with pytest.raises(InputError, match="no such file"):
        suite.read("nowhere/mine.yaml")


def test_all_faults_are_told_at_once(tmp_path):
    attacks = [
        {"name": "a", "attack": "pdg", "threat": "linf", "epsilons": ["2/255"]},
        {"name": "b", "attack": {"pgd": {"stpes": 3}}, "threat": "linf", "epsilons": ["2/255"]},
        {"name": "c", "attack": "pgd", "threat": "l1", "epsilons": ["2/255"]},
        {"name": "d", "attack": "pgd", "threat": "linf", "epsilons": ["2/255", "1/255"]},
        {"name": "e/f", "attack": "pgd", "threat": "linf", "epsilons": []},
        {"name": "worst", "attack": "pgd", "threat": "linf", "epsilons": ["2/255"]},
    ]
    found = faults(tmp_path, attacks=attacks, headline={"epsilon": 2}, version=0, extra=1)
    text = "\n".join(f"{key}: {words}" for key, words in found.items())
    for words in (
        "did you mean 'pgd'?",
        "did you mean 'steps'?",
        'attacks.2.threat: "l1"; one of the threat models above: linf, l2',
        "rise",
        "attacks.4.epsilons",
        "attacks.4.name",
        "attacks.5.name",
        "headline.epsilon",
        "did you mean 2/255?",
        "version",
        "extra",
    ):
        assert words in text, f"{words} not in:\n{text}"


@pytest.mark.parametrize("epsilons", [["2/255", "2/255"], ["2/255", "1/255"], [0, "2/255"], ["-1/255", "2/255"]])
def test_epsilons_rise_from_above_zero(tmp_path, epsilons):
    assert any(key.startswith("attacks.1.epsilons") for key in faults(tmp_path, attacks=with_entry(epsilons=epsilons)))


def test_names_differ(tmp_path):
    found = faults(tmp_path, attacks=with_entry(name="noise-linf"))
    assert "twice: noise-linf" in found["attacks"]


@pytest.mark.parametrize("headline", [{"epsilon": "3/255"}, {"norm": "l2", "epsilon": "2/255"}])
def test_the_headline_is_one_of_the_white_box_budgets(tmp_path, headline):
    assert "white-box" in faults(tmp_path, headline=headline)["headline"]


def test_a_headline_that_only_noise_reaches_is_refused(tmp_path):
    attacks = with_entry(epsilons=["1/255", "8/255"])
    assert "white-box" in faults(tmp_path, attacks=attacks)["headline"]


def test_a_suite_without_attacks_is_refused(tmp_path):
    assert "attacks" in faults(tmp_path, attacks=[])
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    with pytest.raises(InputError, match="empty"):
        suite.read(str(empty))


def test_the_name_of_a_shipped_suite_stands_for_its_attacks(tmp_path):
    assert "another name" in faults(tmp_path, name="standard")["name"]
    copied = tmp_path / "copy.yaml"
    copied.write_text((Path(suite.__file__).parent / "suites" / "quick.yaml").read_text())
    assert suite.read(str(copied)).plain() == suite.read("quick").plain()


def test_the_path_it_was_read_from_reads_it_again(tmp_path):
    found = read(tmp_path)
    assert suite.read(found.source).plain() == found.plain()


def entry(tmp_path: Path, **changes: Any) -> suite.Entry:
    return read(tmp_path, attacks=with_entry(**changes)).attacks[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"attack": {"pgd": {"steps": 6}}},
        {"attack": {"pgd": {"steps": 5, "random_start": False}}},
        {"attack": {"apgd": {"steps": 5}}},
        {"epsilons": ["2/255"]},
    ],
)
def test_the_hash_changes_with_what_is_done(tmp_path, changes):
    assert entry(tmp_path, **changes).hash != entry(tmp_path).hash


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"attack": {"name": "pgd", "steps": 5}},
        {"attack": {"pgd": {"steps": 5, "restarts": 1}}},  # what the default is anyway
        {"epsilons": [1 / 255, 2 / 255, 8 / 255]},
    ],
)
def test_the_hash_does_not_change_with_how_it_is_written(tmp_path, changes):
    assert entry(tmp_path, **changes).hash == entry(tmp_path).hash


def test_plain_values_go_through_yaml_unchanged(tmp_path):
    plain = read(tmp_path).plain()
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain
    parameters = plain["attacks"][1]["parameters"]
    assert parameters["steps"] == 5
    assert {"restarts", "step_size", "random_start"} < set(parameters), "defaults are filled in"


def test_an_l2_budget_may_be_longer_than_a_pixel_is_bright(tmp_path):
    threats = {**toy_audit.SUITE["threats"], "l2": {"norm": "l2", "epsilons": [0.5, 3], "why": "far"}}
    assert read(tmp_path, threats=threats).attacks[2].epsilons == [0.5, 3]
    threats["l2"]["norm"] = "linf"
    found = faults(tmp_path, threats=threats)
    assert "did you mean 3/255" in found["threats.l2.epsilons.1"]
    assert not any(key.startswith("attacks") for key in found), "told where it is written, and once"


def test_a_threat_model_says_why(tmp_path):
    threats = copy.deepcopy(toy_audit.SUITE["threats"])
    del threats["linf"]["why"]
    assert "required" in faults(tmp_path, threats=threats)["threats.linf.why"]


def test_an_attack_knows_the_norm_of_its_threat_model(tmp_path):
    threats = {**toy_audit.SUITE["threats"], "l2": {"norm": "patch", "epsilons": [0.1], "why": "a sticker"}}
    assert "norm is patch, and apgd knows linf, l2" in faults(tmp_path, threats=threats)["attacks.2.threat"]


def test_an_attack_is_made_at_epsilons_of_its_threat_model(tmp_path):
    assert "1/255" in faults(tmp_path, attacks=with_entry(epsilons=["3/255"]))["attacks.1.epsilons"]


def test_a_norm_beside_a_threat_model_is_refused(tmp_path):
    assert "leave it out" in faults(tmp_path, attacks=with_entry(norm="l2"))["attacks.1.norm"]
