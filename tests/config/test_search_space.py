"""Search-space files: everything that is wrong is said at once, and what is right means one thing."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import optuna
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.config import reader, space
from assay.errors import InputError, SpecError

optuna.logging.set_verbosity(optuna.logging.ERROR)

GOOD = {
    "name": "toy-64",
    "trainable": "toy_trainable:Toy",
    "dataset": {"name": "elpv", "cells": "mono"},
    "fixed": {"epochs": 12, "backbone": {"name": "small_resnet", "width": 8}, "loss": {"classification": 2}},
    "space": {
        "pseudo_anomaly": {"choice": [{"cutpaste": {"area": {"uniform": [0.02, 0.15]}}}, {"rotation": {}}]},
        "adversary.epsilon": {"uniform": [0, "6/255"]},
        "loss.opposite": {"uniform": [0, 2]},
        "backbone.blocks": {"integer": [1, 3]},
    },
    "evaluation": {"attack": "pgd", "epsilon": "2/255", "steps": 10},
    "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
    "search": {"sampler": "tpe", "trials": 24, "seed": 0},
    "stop_early": {"scheduler": "asha", "metric": "robust_auroc", "grace": 8, "reduction": 3},
    "resources": {"cpu": 1, "gpu": 0},
}


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "support"))


@pytest.fixture
def write(tmp_path):
    def to_file(values) -> Path:
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    return to_file


def changed(path: str, value):
    """GOOD with the value at a `/`-separated path set, or taken out if it is None."""
    values = copy.deepcopy(GOOD)
    *parents, last = path.split("/")
    inner = values
    for parent in parents:
        inner = inner.setdefault(parent, {})
    if value is None:
        inner.pop(last)
    else:
        inner[last] = value
    return values


def faults_of(values) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        reader.check(values, "toy.yaml")
    faults = caught.value.faults
    assert len({(fault.key, fault.allowed) for fault in faults}) == len(faults)
    return {fault.key: str(fault) for fault in faults}


def test_a_file_is_read_with_all_defaults(write):
    found = reader.read(write(GOOD))
    assert found.name == "toy-64"
    assert found.evaluation.epsilon == pytest.approx(2 / 255)
    assert found.evaluation.attack.arguments()["steps"] == 10
    assert (found.evaluation.every, found.evaluation.norm, found.evaluation.false_alarm_rate) == (5, "linf", 0.05)
    assert (found.search.startup, found.retries, found.best.maximize) == (10, 2, "mean")
    assert found.stop_metrics == ("robust_auroc",)
    assert found.resources.concurrent is None
    assert found.tracking.wandb
    assert found.summary() == "search space toy-64: 24 trials over 5 parameters"
    assert found.fixed["adversary"] == {"steps": 3}
    assert found.fixed["backbone"] == {"name": "small_resnet", "width": 8, "shrink": 2, "standardise": True}
    assert "pseudo_anomaly" not in found.fixed
    assert found.fixed["batch_size"] == 48


def test_a_configuration_is_plain_and_whole():
    found = reader.check(GOOD, "toy.yaml")
    assignment = {
        "pseudo_anomaly": {"name": "cutpaste", "area": 0.1},
        "adversary.epsilon": 0.01,
        "loss.opposite": 1.0,
        "backbone.blocks": 2,
    }
    assert found.config(assignment) == {
        "epochs": 12,
        "batch_size": 48,
        "optimizer": "adam",
        "widths": None,
        "backbone": {"name": "small_resnet", "width": 8, "blocks": 2, "shrink": 2, "standardise": True},
        "pseudo_anomaly": {"name": "cutpaste", "area": 0.1, "jitter": 0.1},
        "adversary": {"epsilon": 0.01, "steps": 3},
        "loss": {"classification": 2.0, "opposite": 1.0},
    }


def test_plain_reads_back_equal_and_the_hash_is_of_the_meaning():
    found = reader.check(GOOD, "toy.yaml")
    again = reader.check(json.loads(json.dumps(found.plain())), "again")
    assert again.plain() == found.plain()
    assert again.hash == found.hash
    assert len(found.hash) == 64
    turned = {key: GOOD[key] for key in reversed(GOOD)}
    assert reader.check(
        changed("space/pseudo_anomaly/choice", GOOD["space"]["pseudo_anomaly"]["choice"][::-1]), ""
    ).hash == (reader.check(turned, "turned").hash)
    assert reader.check(changed("search/seed", 1), "").hash != found.hash
    assert found.plain()["evaluation"]["steps"] == 10


def test_nothing_is_loaded_but_code(monkeypatch):
    from assay.datasets import elpv as module

    def refuse():
        raise AssertionError("the dataset was loaded")

    monkeypatch.setattr(module, "_folder", refuse)
    with pytest.raises(AssertionError):
        module.elpv()
    reader.check(GOOD, "toy.yaml")


def test_eight_faults_are_eight_lines(write):
    values = copy.deepcopy(GOOD)
    values["name"] = "toy 64"
    values["dataset"]["cells"] = "momo"
    values["fixed"]["epoch"] = 3
    values["space"]["adversary.epsilom"] = {"uniform": [0, 0.1]}
    values["space"]["loss.opposite"] = {"uniform": [2, 0]}
    values["evaluation"]["epsilon"] = 2
    values["search"]["trials"] = 0
    values["best"] = {"at_least": {"robust_auroc": 1.5}}
    path = write(values)
    with pytest.raises(SpecError) as caught:
        reader.read(path)
    assert [fault.key for fault in caught.value.faults] == [
        "name",
        "dataset.cells",
        "fixed.epoch",
        "space.loss.opposite",
        "space.adversary.epsilom",
        "evaluation.epsilon",
        "best.at_least.robust_auroc",
        "search.trials",
    ]
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: 8 faults"
    assert len(lines) == 9
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("path", "value", "key", "words"),
    [
        ("nmae", "x", "nmae", "did you mean 'name'?"),
        ("name", None, "name", "is required"),
        ("name", "a/b", "name", "names a folder"),
        ("name", "..", "name", "names a folder"),
        ("trainable", "cobar", "trainable", "did you mean 'cobra'?"),
        ("trainable", "toy_trainable:Tyo", "trainable", "cannot be imported"),
        ("trainable", "toy_trainable:Hidden", "trainable", "not under TYPE_CHECKING"),
        ("trainable", "math:pi", "trainable", "is a float"),
        ("trainable", ":", "trainable", "cannot be imported"),
        ("trainable", ".toy_trainable:Toy", "trainable", "cannot be imported"),
        ("dataset", "math:pi", "dataset", "is a float"),
        ("dataset", "toy_trainable:Hidden", "dataset", "not under TYPE_CHECKING"),
        ("trainable", "toy_trainable:not_a_trainable", "trainable", "it has no train_epoch"),
        ("dataset", "evlp", "dataset", "did you mean 'elpv'?"),
        ("dataset/image_size", 1, "dataset.image_size", "must be 16 to 4096 pixels"),
        ("fixed", [1], "fixed", "mapping"),
        ("fixed/epochs", 0, "fixed.epochs", "at least 1"),
        ("fixed/epoch", 3, "fixed.epoch", "did you mean 'epochs'?"),
        ("fixed/backbone", "small_resent", "fixed.backbone", "did you mean 'small_resnet'?"),
        ("fixed/backbone/widht", 3, "fixed.backbone.widht", "did you mean 'width'?"),
        ("fixed/loss/opposite", 1, "space.loss.opposite", "either fixed or searched"),
        ("fixed/pseudo_anomaly", "rotation", "space.pseudo_anomaly", "either fixed or searched"),
        ("space", None, "space", "is required"),
        ("space/loss.oposite", {"uniform": [0, 1]}, "space.loss.oposite", "did you mean 'loss.opposite'?"),
        ("space/backbone.widht", {"integer": [8, 9]}, "space.backbone.widht", "did you mean 'backbone.width'?"),
        ("space/adversary.epsilon", {"uniform": [0, 6]}, "space.adversary.epsilon", "did you mean 6/255?"),
        ("space/loss.opposite", {"uniform": [-1, 2]}, "space.loss.opposite", "at least 0"),
        ("space/batch_size", {"integer": [2, 8]}, "space.batch_size", "at least 4"),
        ("space/batch_size", {"uniform": [4.5, 8]}, "space.batch_size", "whole number"),
        ("space/optimizer", {"choice": ["adam", "adma"]}, "space.optimizer", "'adam' or 'sgd'"),
        ("space/optimizer", {"choice": []}, "space.optimizer", "at least one option"),
        ("space/pseudo_anomaly", {"choice": ["rotation", "cutpatse"]}, "space.pseudo_anomaly", "'cutpaste'?"),
        (
            "space/pseudo_anomaly",
            {"choice": ["rotation", {"cutpaste": {"area": {"uniform": [0.1, 1.5]}}}]},
            "space.pseudo_anomaly.cutpaste.area",
            "at most",
        ),
        (
            "space/pseudo_anomaly",
            {"choice": ["rotation", {"cutpaste": {"aera": {"uniform": [0.1, 0.2]}}}]},
            "space.pseudo_anomaly.cutpaste.aera",
            "did you mean 'area'?",
        ),
        ("evaluation", None, "evaluation", "is required"),
        ("evaluation/attack", "gpd", "evaluation.attack", "did you mean 'pgd'?"),
        ("evaluation/epsilon", 2, "evaluation.epsilon", "did you mean 2/255?"),
        ("evaluation/epsilon", 0, "evaluation.epsilon", "more than 0"),
        ("evaluation/steps", 0, "evaluation.steps", "at least 1"),
        ("evaluation/stesp", 3, "evaluation.stesp", "did you mean 'steps'?"),
        ("evaluation/evry", 3, "evaluation.evry", "did you mean 'every'?"),
        ("evaluation/norm", "l3", "evaluation.norm", "must be one of 'linf', 'l2'"),
        ("evaluation/false_alarm_rate", 1, "evaluation.false_alarm_rate", "less than 1"),
        ("objectives", {}, "objectives", "at least 1"),
        ("objectives/robust_auc", "max", "objectives.robust_auc", "did you mean 'robust_auroc'?"),
        ("objectives/clean_auroc", "maximise", "objectives.clean_auroc", "max, min"),
        ("best/maximize", "robust", "best.maximize", "mean, clean_auroc, robust_auroc, certified_auroc"),
        ("objectives/robust_auroc", "min", "objectives.robust_auroc", "must be max"),
        ("space/backbone.blocks", [1, 2], "space.backbone.blocks", "write `{choice: [1, 2]}`"),
        ("best/at_least", {"clean_auroc": 87}, "best.at_least.clean_auroc", "at most 1"),
        ("search/sampler", "grid", "space.adversary.epsilon", "is continuous"),
        ("search/sampler", "tep", "search.sampler", "'tpe'"),
        ("search/seed", -1, "search.seed", "at least 0"),
        ("search/trails", 3, "search.trails", "did you mean 'trials'?"),
        ("search/startup", 0, "search.startup", "at least 1"),
        ("stop_early/grace", 13, "stop_early.grace", "epochs of a trial, 12"),
        ("stop_early/reduction", 1, "stop_early.reduction", "at least 2"),
        ("stop_early/metric", "loss", "stop_early.metric", "must be all"),
        ("stop_early/metric", [], "stop_early.metric", "must be all"),
        ("resources/cpu", 0, "resources.cpu", "more than 0"),
        ("resources/concurrent", 0, "resources.concurrent", "at least 1"),
        ("budget/wall_minutes", -5, "budget.wall_minutes", "more than 0"),
        ("retries", -1, "retries", "at least 0"),
        ("tracking/wandb", "perhaps", "tracking.wandb", "true or false"),
    ],
)
def test_each_fault_is_found_alone(path, value, key, words):
    faults = faults_of(changed(path, value))
    assert key in faults
    assert words in faults[key]
    assert path == "search/sampler" or len(faults) == 1


def test_grid_names_every_endless_domain():
    assert set(faults_of(changed("search/sampler", "grid"))) == {
        "space.adversary.epsilon",
        "space.loss.opposite",
        "space.pseudo_anomaly.cutpaste.area",
    }


def test_grid_takes_a_finite_space():
    values = changed("space", {"adversary.epsilon": {"uniform": [0, "6/255"], "step": "2/255"}})
    values["search"]["sampler"] = "grid"
    assert space.size(reader.check(values, "grid").space) == 4


def test_metrics_and_choice_of_the_best_are_about_objectives():
    values = changed("objectives", {"robust_auroc": "max"})
    values["best"] = {"maximize": "clean_auroc", "at_least": {"clean_auroc": 0.8}}
    values["stop_early"]["metric"] = "clean_auroc"
    faults = faults_of(values)
    assert set(faults) == {"best.maximize", "best.at_least.clean_auroc", "stop_early.metric"}
    assert all("objectives: robust_auroc" in fault for fault in faults.values())


def test_stopping_ranks_by_two_objectives_at_most():
    values = changed("objectives", {"clean_auroc": "max", "robust_auroc": "max", "certified_auroc": "max"})
    values["stop_early"]["metric"] = "all"
    assert "one or two of the objectives" in faults_of(values)["stop_early.metric"]
    values["stop_early"]["metric"] = ["robust_auroc", "certified_auroc"]
    assert reader.check(values, "two").stop_metrics == ("robust_auroc", "certified_auroc")


def test_epsilon_0_is_allowed_where_nothing_robust_is_asked():
    values = changed("objectives", {"clean_auroc": "max"})
    values["evaluation"]["epsilon"] = 0
    values["stop_early"]["metric"] = "all"
    assert reader.check(values, "clean").stop_metrics == ("clean_auroc",)


def test_a_required_parameter_of_the_trainable_is_asked_for():
    values = changed("trainable", "toy_trainable:Needy")
    values["fixed"], values["space"], values["stop_early"] = {}, {}, None
    faults = faults_of(values)
    assert list(faults) == ["fixed.rank"]
    assert "is required" in faults["fixed.rank"]


def test_a_path_into_a_default_item_needs_nothing_fixed():
    values = changed("fixed/backbone", None)
    found = reader.check(values, "toy.yaml")
    config = found.config(space.corners(found.space)[0])
    assert config["backbone"] == {"name": "small_resnet", "width": 16, "blocks": 1, "shrink": 2, "standardise": True}


def test_an_item_may_be_written_in_each_of_its_forms():
    forms = [{"small_resnet": {"width": 8}}, {"name": "small_resnet", "width": 8}]
    hashes = {reader.check(changed("fixed/backbone", form), "toy.yaml").hash for form in forms}
    assert len(hashes) == 1
    assert reader.check(changed("fixed/backbone", "small_resnet"), "toy.yaml").fixed["backbone"]["width"] == 16


@pytest.mark.parametrize(
    ("change", "reads"),
    [
        ("search.trials=3", lambda found: found.search.trials == 3),
        ("resources.concurrent=2", lambda found: found.resources.concurrent == 2),
        ("budget.wall_minutes=5", lambda found: found.budget.wall_minutes == 5),
        ("stop_early=null", lambda found: found.stop_early is None),
        ("name=other", lambda found: found.name == "other"),
        ("dataset.cells=poly", lambda found: found.dataset.parameters["cells"] == "poly"),
        ("dataset=elpv", lambda found: found.dataset.parameters == {}),
        ("fixed.backbone.width=32", lambda found: found.fixed["backbone"]["width"] == 32),
        ("fixed.adversary.steps=7", lambda found: found.fixed["adversary"]["steps"] == 7),
        ("evaluation.restarts=2", lambda found: found.evaluation.attack.parameters["restarts"] == 2),
        ("evaluation.epsilon=4/255", lambda found: found.evaluation.epsilon == 4 / 255),
        ("space.adversary.epsilon.uniform=[0, 0.5]", lambda found: found.space["adversary.epsilon"].high == 0.5),
        ("space.adversary.epsilon={choice: [0, 0.1]}", lambda found: space.size(found.space) is None),
        ("space.adversary.epsilon=2/255", lambda found: found.space["adversary.epsilon"].value == 2 / 255),
        ("space.adversary.steps={integer: [1, 3]}", lambda found: "adversary.steps" in found.space),
    ],
)
def test_a_change_from_the_command_line(write, change, reads):
    assert reads(reader.read(write(GOOD), [change]))


def test_a_change_leads_into_an_item_named_alone(write):
    found = reader.read(write(changed("dataset", "elpv")), ["dataset.cells=poly"])
    assert found.dataset.parameters == {"cells": "poly"}


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ("search.trails=3", "search.trails", "did you mean 'trials'?"),
        ("serach.trials=3", "serach", "did you mean 'search'?"),
        ("space.adversary.epsilom={uniform: [0, 1]}", "space.adversary.epsilom", "did you mean 'adversary.epsilon'?"),
        ("fixed.epoch=3", "fixed.epoch", "did you mean 'epochs'?"),
        ("search.trials.x=3", "--set search.trials.x", "set 'search.trials' itself"),
        ("search.trials", "--set search.trials", "dotted.path=value"),
        ("=3", "--set =3", "dotted.path=value"),
        ("search.trials=[1", "--set search.trials", "YAML"),
        ("search.trials=1\nname: x", "--set search.trials", "one YAML value"),
    ],
)
def test_a_wrong_change_is_a_fault_among_the_others(write, change, key, words):
    path = write(changed("retries", -1))
    with pytest.raises(SpecError) as caught:
        reader.read(path, [change])
    faults = {fault.key: str(fault) for fault in caught.value.faults}
    assert set(faults) == {key, "retries"}
    assert words in faults[key]


def several(*options, **sections):
    """GOOD with a choice of trainables in place of one, and other sections."""
    values = {key: value for key, value in GOOD.items() if key not in ("fixed", "space", "stop_early")}
    return values | {"trainable": {"choice": list(options)}} | sections


TOY = {"toy_trainable:Toy": {"epochs": 9, "loss": {"opposite": {"uniform": [0, 1]}}, "optimizer": {"choice": ["adam"]}}}


def test_a_choice_of_trainables_brings_the_parameters_of_each():
    found = reader.check(several(TOY, "draem", {"patchcore": {"coreset": {"uniform": [0.1, 0.5]}}}), "toy.yaml")
    assert set(space.varied(found.domains)) == {
        "trainable",
        "trainable.toy_trainable:Toy.loss.opposite",
        "trainable.toy_trainable:Toy.optimizer",
        "trainable.patchcore.coreset",
    }
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = {}
    for _ in range(20):
        assignment = space.suggest(found.domains, study.ask())
        seen[found.trainable_of(assignment)] = found.config(assignment)
    assert set(seen) == {"toy_trainable:Toy", "draem", "patchcore"}
    assert seen["toy_trainable:Toy"]["epochs"] == 9
    assert 0 < seen["toy_trainable:Toy"]["loss"]["opposite"] < 1
    assert seen["toy_trainable:Toy"]["loss"]["classification"] == 1
    assert 0.1 < seen["patchcore"]["coreset"] < 0.5
    assert seen["patchcore"]["levels"] == [2, 3]


def test_a_choice_of_trainables_reads_back_equal():
    found = reader.check(several(TOY, "draem"), "toy.yaml")
    again = reader.check(json.loads(json.dumps(found.plain())), "again")
    assert (again.plain(), again.hash) == (found.plain(), found.hash)
    assert reader.check(several("draem", TOY), "turned").hash == found.hash
    assert reader.check(several("patchcore", TOY), "other").hash != found.hash


def test_an_option_may_use_dotted_paths_as_the_space_does():
    dotted = {"toy_trainable:Toy": {"loss.opposite": {"uniform": [0, 1]}, "loss.classification": 3}}
    found = reader.check(several(dotted), "toy.yaml")
    config = found.config({"trainable": {"name": "toy_trainable:Toy", "loss.opposite": 0.5, "loss.classification": 3}})
    assert config["loss"] == {"classification": 3.0, "opposite": 0.5}


@pytest.mark.parametrize(
    ("options", "sections", "key", "words"),
    [
        (["dream"], {}, "trainable", "did you mean 'draem'?"),
        ([3], {}, "trainable", "name of a trainable"),
        (["draem", "draem"], {}, "trainable", "an option twice"),
        ([{"patchcore": {"corset": 0.1}}], {}, "trainable.patchcore.corset", "did you mean 'coreset'?"),
        ([{"patchcore": {"coreset": {"uniform": [0.1, 2]}}}], {}, "trainable.patchcore.coreset", "at most 1"),
        ([{"patchcore": {"coreset": 0}}], {}, "trainable.patchcore.coreset", "more than 0"),
        ([{"patchcore": {"coreset": {"uniform": [1, 0]}}}], {}, "trainable.patchcore.coreset", "lowest comes first"),
        (["toy_trainable:Needy"], {}, "trainable.toy_trainable:Needy.rank", "is required"),
        ([TOY], {"fixed": {"epochs": 3}}, "fixed", "beside the name of each"),
        ([TOY], {"space": {"epochs": {"integer": [1, 3]}}}, "space", "beside the name of each"),
        ([TOY], {"stop_early": {"grace": 10}}, "stop_early.grace", "epochs of a trial, 9"),
        (
            [TOY],
            {"search": {"sampler": "grid", "trials": 3}},
            "trainable.toy_trainable:Toy.loss.opposite",
            "is continuous",
        ),
    ],
)
def test_each_fault_in_a_choice_of_trainables_is_found_alone(options, sections, key, words):
    faults = faults_of(several(*options, **sections))
    assert set(faults) == {key}
    assert words in faults[key]


@pytest.mark.parametrize("written", [{"choise": ["draem"]}, {"draem": {}}, {}, {"choice": "draem"}, 3, ["draem"]])
def test_what_is_neither_a_name_nor_a_choice_is_no_trainable(written):
    assert set(faults_of(several() | {"trainable": written, "space": {}})) == {"trainable"}


def test_all_trainables_of_a_choice_are_checked_at_once():
    options = [{"patchcore": {"corset": 0.1}}, {"draem": {"width": 1, "epochs": 0}}, "dream"]
    keys = set(faults_of(several(*options, search={"trials": 0})))
    assert keys == {
        "trainable",
        "trainable.patchcore.corset",
        "trainable.draem.width",
        "trainable.draem.epochs",
        "search.trials",
    }


def test_a_grid_over_trainables_has_as_many_trials_as_points():
    finite = {"patchcore": {"reweight": {"choice": [0, 3, 9]}}}
    found = reader.check(several(finite, "draem", search={"sampler": "grid", "trials": 99}), "toy.yaml")
    assert found.trials == 4
    said = "search space toy-64: 4 trials over 2 parameters"
    assert found.summary() == f"{said} (there are no more configurations, and 99 trials were asked for)"


def test_an_unreadable_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        reader.read(tmp_path / "none.yaml")


def ranges(low: float, high: float):
    ends = st.tuples(st.floats(low, high), st.floats(low, high)).map(sorted)
    return ends.map(lambda pair: {"uniform": pair})


DOMAINS = {
    "adversary.epsilon": ranges(0, 1) | st.just({"uniform": [0, 1], "step": "1/3"}),
    "loss.opposite": ranges(0, 100),
    "loss.classification": ranges(0.01, 9).map(lambda domain: {"loguniform": domain["uniform"]}),
    "batch_size": st.tuples(st.integers(4, 99), st.integers(4, 99)).map(lambda pair: {"logint": sorted(pair)}),
    "backbone.width": st.tuples(st.integers(4, 64), st.integers(4, 64)).map(lambda pair: {"integer": sorted(pair)}),
    "optimizer": st.sets(st.sampled_from(["adam", "sgd"]), min_size=1).map(lambda names: {"choice": list(names)}),
    "pseudo_anomaly": st.lists(
        ranges(0.02, 0.3).map(lambda area: {"cutpaste": {"area": area}})
        | ranges(0.2, 1).map(lambda opacity: {"name": "perlin", "opacity": opacity})
        | st.just("rotation"),
        min_size=1,
        max_size=3,
        unique_by=lambda option: option if isinstance(option, str) else option.get("name", "cutpaste"),
    ).map(lambda options: {"choice": options}),
}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({}, optional=DOMAINS), st.integers(0, 2**31))
def test_whatever_a_valid_space_suggests_is_a_valid_configuration(written, seed):
    found = reader.check(changed("space", written) | {"fixed": {}, "stop_early": None}, "drawn")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    assignment = space.suggest(found.space, trial)
    config = found.config(assignment)
    assert json.loads(json.dumps(config)) == config
    assert space.parameters(assignment).items() >= trial.params.items()
    again = reader.check(found.plain(), "again")
    assert again.config(assignment) == config
    assert again.hash == found.hash


def places(values, at=()):
    """The path of every value inside nested values."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        yield (*at, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*at, key))


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["name", "pgd"])
)
KEYS = st.sampled_from(["name", "uniform", "choice", "step", "a.b", "cutpaste", "attack", "", "area"])
SEVERAL = several(TOY, "draem", {"patchcore": {"coreset": {"uniform": [0.1, 0.5]}}})
JUNK = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([(GOOD, place) for place in places(GOOD)] + [(SEVERAL, place) for place in places(SEVERAL)]), JUNK
)
def test_junk_anywhere_is_a_fault_and_never_a_crash(spot, junk):
    whole, place = spot
    values = copy.deepcopy(whole)
    inner = values
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = junk
    try:
        found = reader.check(values, "junk")
    except SpecError as error:
        faults = error.faults
    else:
        faults = ()
        assert reader.check(found.plain(), "again").hash == found.hash
    assert all(fault.key and fault.allowed for fault in faults)
