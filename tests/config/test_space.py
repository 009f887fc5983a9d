"""Search spaces: reading domains, drawing from them, their corners and sizes."""

from __future__ import annotations

import warnings

import optuna
import pytest

from assay.config import space, space_syntax
from assay.config.domains import Choice, Constant, Integer, LogUniform, Record, Uniform

optuna.logging.set_verbosity(optuna.logging.ERROR)

WRITTEN = {
    "pseudo_anomaly": {
        "choice": [
            {"rotation": {}},
            {"cutpaste": {"area": {"uniform": [0.02, 0.15]}, "jitter": 0.2}},
            {"name": "perlin", "opacity": {"choice": ["1/2", 1]}},
        ]
    },
    "adversary.epsilon": {"uniform": [0, "6/255"]},
    "loss.classification": {"loguniform": [0.1, "1e1"]},
    "adversary.steps": {"integer": [1, 5]},
    "batch_size": {"logint": [16, 256]},
    "optimizer": {"choice": ["sgd", "adam"]},
    "widths": {"choice": [[16, 32], [8]]},
    "loss.opposite": 1.5,
}


def read(written):
    found, faults = space_syntax.read(written)
    assert faults == []
    return found


def study(seed: int = 0) -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))


def test_every_form_is_read():
    found = read(WRITTEN)
    assert found["adversary.epsilon"] == Uniform(0.0, 6 / 255)
    assert found["loss.classification"] == LogUniform(0.1, 10.0)
    assert found["adversary.steps"] == Integer(1, 5)
    assert found["batch_size"] == Integer(16, 256, log=True)
    assert found["loss.opposite"] == Constant(1.5)
    assert isinstance(found["pseudo_anomaly"], Choice)
    options = dict(found["pseudo_anomaly"].options)
    assert list(options) == ["cutpaste", "perlin", "rotation"]
    assert options["rotation"] == Record({}, "rotation")
    assert options["cutpaste"] == Record({"area": Uniform(0.02, 0.15), "jitter": Constant(0.2)}, "cutpaste")


def test_what_was_read_reads_again_the_same():
    found = read(WRITTEN)
    assert read(space.plain(found)) == found


def test_the_order_of_a_file_changes_nothing():
    turned = {key: WRITTEN[key] for key in reversed(WRITTEN)}
    turned["pseudo_anomaly"] = {"choice": WRITTEN["pseudo_anomaly"]["choice"][::-1]}
    assert space.plain(read(turned)) == space.plain(read(WRITTEN))
    draws = [space.suggest(read(written), study().ask()) for written in (WRITTEN, turned)]
    assert draws[0] == draws[1]


def test_suggestions_are_flat_items_under_stable_names():
    found, seen = read(WRITTEN), {}
    running = study()
    for _ in range(30):
        trial = running.ask()
        assignment = space.suggest(found, trial)
        item = assignment["pseudo_anomaly"]
        seen[item["name"]] = sorted(item)
        assert 0 <= assignment["adversary.epsilon"] <= 6 / 255
        assert isinstance(assignment["batch_size"], int)
        assert assignment["widths"] in ([8], [16, 32])
        assert assignment["loss.opposite"] == 1.5
        flat = space.parameters(assignment)
        assert trial.params.items() <= flat.items()
        assert set(trial.params) <= set(space.varied(found))
        assert ("pseudo_anomaly.cutpaste.area" in flat) == (item["name"] == "cutpaste")
    assert seen == {
        "cutpaste": ["area", "jitter", "name"],
        "perlin": ["name", "opacity"],
        "rotation": ["name"],
    }


def test_choices_nest():
    first = {"choice": ["rotation", {"cutpaste": {"area": {"uniform": [0.1, 0.2]}}}]}
    found = read({"pseudo_anomaly": {"choice": [{"mixture": {"first": first}}]}})
    assert list(space.varied(found)) == [
        "pseudo_anomaly",
        "pseudo_anomaly.mixture.first",
        "pseudo_anomaly.mixture.first.cutpaste.area",
    ]
    running = study()
    drawn = [(trial := running.ask(), space.suggest(found, trial)) for _ in range(10)]
    assert any("pseudo_anomaly.mixture.first.cutpaste.area" in trial.params for trial, _ in drawn)
    assert all(space.parameters(assignment) == trial.params for trial, assignment in drawn)


def test_a_step_is_kept_exactly_and_quietly():
    found = read({"a": {"uniform": [0, 1], "step": 0.1}, "b": {"uniform": [0, "6/255"], "step": "1/255"}})
    running = study()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draws = [space.suggest(found, running.ask()) for _ in range(200)]
    assert {draw["a"] for draw in draws} == {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1}
    assert sorted({draw["b"] for draw in draws}) == pytest.approx([k / 255 for k in range(7)], abs=1e-10)


def test_merge_sets_paths_and_leaves_what_is_fixed():
    fixed = {"epochs": 5, "backbone": {"name": "small_resnet", "width": 16}, "adversary": {"steps": 3}}
    whole = space.merge(fixed, {"backbone.width": 8, "adversary.epsilon": 0.1, "loss.opposite": 2})
    assert whole == {
        "epochs": 5,
        "backbone": {"name": "small_resnet", "width": 8},
        "adversary": {"steps": 3, "epsilon": 0.1},
        "loss": {"opposite": 2},
    }
    assert fixed["backbone"]["width"] == 16


def test_corners_hold_both_ends_and_every_option():
    corners = space.corners(read(WRITTEN))
    values = {key: [corner[key] for corner in corners] for key in WRITTEN}
    assert {0, 6 / 255} <= set(values["adversary.epsilon"])
    assert {0.1, 10} <= set(values["loss.classification"])
    assert {1, 5} <= set(values["adversary.steps"])
    assert {"adam", "sgd"} <= set(values["optimizer"])
    items = values["pseudo_anomaly"]
    assert {item["area"] for item in items if item["name"] == "cutpaste"} == {0.02, 0.15}
    assert {item["opacity"] for item in items if item["name"] == "perlin"} == {0.5, 1}
    assert {"name": "rotation"} in items
    assert len(corners) == 5  # those of the longest domain, not the product


def test_a_space_of_nothing_has_one_corner():
    assert space.corners({}) == [{}]
    assert space.size({}) == 1


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ({"a": {"integer": [1, 5]}, "b": {"choice": [1, 2]}}, 10),
        ({"a": {"uniform": [0, 1], "step": 0.25}}, 5),
        ({"a": {"uniform": [0, 1]}}, None),
        ({"a": {"loguniform": [1, 2]}}, None),
        ({"a": {"choice": ["x", {"y": {"n": {"integer": [1, 3]}, "m": {"choice": [0, 1]}}}]}}, 7),
        ({"a": {"choice": ["x", {"y": {"n": {"uniform": [0, 1]}}}]}}, None),
        ({"a": 3, "b": {"choice": [True, False]}}, 2),
    ],
)
def test_size_counts_configurations(written, size):
    assert space.size(read(written)) == size


def test_size_is_what_brute_force_finds():
    found = read({"a": {"choice": ["x", {"y": {"n": {"integer": [1, 3]}}}]}, "b": {"uniform": [0, 1], "step": 0.5}})
    running = optuna.create_study(sampler=optuna.samplers.BruteForceSampler(seed=0))
    drawn = []
    running.optimize(lambda trial: drawn.append(space.suggest(found, trial)) or 0.0, n_trials=100)
    assert len(drawn) == len({str(assignment) for assignment in drawn}) == space.size(found) == 12


@pytest.mark.parametrize(
    ("written", "key", "words"),
    [
        ({"a": {"uniform": [1, 0]}}, "space.a", "lowest comes first: [0, 1]"),
        ({"a": {"uniform": [0, 1, 2]}}, "space.a", "two numbers"),
        ({"a": {"uniform": [0, True]}}, "space.a", "two numbers"),
        ({"a": {"uniform": [0, float("inf")]}}, "space.a", "two numbers"),
        ({"a": {"uniform": 3}}, "space.a", "two numbers"),
        ({"a": {"uniform": [0, 1], "step": 0.3}}, "space.a", "highest would be 0.9"),
        ({"a": {"uniform": [0, 1], "step": 0}}, "space.a", "step must be"),
        ({"a": {"uniform": [0, 1], "stpe": 0.1}}, "space.a", "did you mean 'step'?"),
        ({"a": {"uniform": [0, 1], "integer": [0, 1]}}, "space.a", "one domain"),
        ({"a": {"integer": [0, 1], "step": 2}}, "space.a", "one domain"),
        ({"a": {"loguniform": [0, 1]}}, "space.a", "more than 0"),
        ({"a": {"loguniform": [-1, 1]}}, "space.a", "more than 0"),
        ({"a": {"integer": [0.5, 2]}}, "space.a", "whole numbers"),
        ({"a": {"logint": [0, 2]}}, "space.a", "at least 1"),
        ({"a": {"choice": []}}, "space.a", "at least one option"),
        ({"a": {"choice": "adam"}}, "space.a", "at least one option"),
        ({"a": {"choice": ["x", "x"]}}, "space.a", "option twice"),
        ({"a": {"choice": [1, True]}}, "space.a", "option twice"),
        ({"a": {"choice": ["x", {"x": {"n": 1}}]}}, "space.a", "wider domains"),
        ({"a": {"choice": [{"uniform": [0, 1]}]}}, "space.a", "not a domain"),
        ({"a": {"choice": [{"x": {"uniform": [0, 1]}}]}}, "space.a.x", "name the parameter"),
        ({"a": {"choice": [{"x": 1, "y": 2}]}}, "space.a", "an option is"),
        ({"a": {"choice": [{"x": {"n": {"unifrom": [0, 1]}}}]}}, "space.a.x.n", "did you mean 'uniform'?"),
        ({"a": {"choice": [{"x": {"n": {"uniform": [2, 1]}}}]}}, "space.a.x.n", "lowest comes first"),
        ({"a": {"unifrom": [0, 1]}}, "space.a", "did you mean 'uniform'?"),
        ({"a": {"b": {"uniform": [0, 1]}}}, "space.a", "write `a.b: ...`"),
        ({"a": {"name": "cutpaste", "area": 1}}, "space.a", "in `fixed`"),
        ({"a..b": {"uniform": [0, 1]}}, "space.a..b", "single dots"),
        ({"a": {"choice": ["x"]}, "a.b": {"uniform": [0, 1]}}, "space.a.b", "lies inside 'a'"),
        ([1], "space", "must be a mapping"),
    ],
)
def test_a_fault_names_its_place_and_the_way_out(written, key, words):
    _, [fault] = space_syntax.read(written)
    assert fault.key == key
    assert words in fault.allowed


def test_faults_come_all_at_once_and_the_rest_is_read():
    found, faults = space_syntax.read(
        {"a": {"uniform": [1, 0]}, "b": {"choice": [{"x": {"n": {"integer": [2, 1]}}}, 1, 1]}, "c": {"integer": [1, 2]}}
    )
    assert [fault.key for fault in faults] == ["space.a", "space.b.x.n", "space.b"]
    assert list(found) == ["c"]
