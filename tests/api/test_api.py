"""What the API promises beyond what the stages do: inputs it takes, results it gives, errors it raises, silence."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import toy_audit
import toy_runs
from click.testing import CliRunner
from torch import nn

import assay
from assay.cli import main
from assay.errors import AssayError, InputError, SpecError, UnknownName
from assay.store.store import Store


def test_everything_public_is_there_and_documented():
    for name in assay.__all__:
        assert inspect.getdoc(getattr(assay, name)) or name == "__version__", name
    assert set(assay.__all__) <= set(dir(assay))
    with pytest.raises(AttributeError, match="no attribute 'sweeps_and_more'"):
        assay.sweeps_and_more  # noqa: B018 - that it cannot be had is the test


def test_import_needs_no_heavy_library():
    code = (
        "import sys, assay; print(sorted({'torch', 'ray', 'numpy', 'pyarrow', 'pydantic', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "change", [{"trails": 3}, {"search": {"trials": "many"}}, {"objectives": {"clean_auroc": "most"}}]
)
def test_a_mapping_gets_the_same_faults_in_the_same_words_as_a_file(tmp_path, change):
    import yaml

    values = {**toy_runs.search_space(tmp_path), **change}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(SpecError) as of_file:
        assay.sweep(tmp_path / "toy.yaml", store=tmp_path / "store")
    with pytest.raises(SpecError) as of_mapping:
        assay.sweep(values, store=tmp_path / "store")
    lines = [str(error.value).splitlines()[1:] for error in (of_file, of_mapping)]
    assert lines[0] == lines[1] != []
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: assay.sweep(42), "search space: found 42; give the path of a YAML file, or a mapping"),
        (lambda: assay.sweep(), "give a search space, or the name of a sweep"),
        (lambda: assay.sweep("none.yaml"), "none.yaml: no such file"),
        (lambda: assay.sweep(resume="none", store="s"), "sweep 'none' is not known"),
        (lambda: assay.open_sweep("none", store="s"), "sweep 'none' is not known"),
        (lambda: assay.open_audit("none", store=3.5), "store: found 3.5; give a folder"),
        (lambda: assay.open_audit(store="s"), "holds no audit"),
        (lambda: assay.audit(object(), store="s"), "model: found <object object"),
        (lambda: assay.audit("abcd1234", "quack", store="s"), "suite 'quack' is not known"),
        (lambda: assay.audit("abcd1234", {"name": "x"}, store="s"), "the suite: "),
        (lambda: assay.audit("abcd1234", dataset="elpv", store="s"), "dataset: goes with an nn.Module"),
        (lambda: assay.audit(nn.Flatten(), toy_audit.SUITE, store="s"), "the detector's arguments: 2 faults"),
        (lambda: assay.load("abcd1234", store="s"), "model 'abcd1234' is not known"),
        (lambda: assay.compare("a", "b", store="s"), "holds no audit"),
        (lambda: assay.promote("abcd1234", store="s"), "model 'abcd1234' is not known"),
    ],
)
def test_what_is_wrong_is_one_of_assay_s_errors(call, words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as raised:
        call()
    assert words in str(raised.value)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return toy_audit.pictures(tmp_path_factory.mktemp("pictures") / "images", normals=60, anomalies=40)


@pytest.fixture(scope="module")
def audited(tmp_path_factory, images, own_cache):
    """A store whose path has brackets, a blank and an umlaut, with an audit of a detector in memory."""
    store = Store(tmp_path_factory.mktemp("stores") / "a [b] ü c")
    module = toy_audit.Detector("none").train()
    found = assay.audit(module, toy_audit.SUITE, dataset=images, threshold={"false_alarm_rate": 0.2}, store=store)
    return found, module


def test_a_module_in_memory_is_audited_and_left_as_it_was(audited):
    found, module = audited
    assert module.training
    assert all(weight.requires_grad for weight in module.parameters())
    assert "a [b] ü c" in found.location
    assert found.suite == "tiny"
    assert (
        found.reader.info["samples"] == {"normals": 15, "anomalies": 20} or found.reader.info["samples"]["normals"] > 10
    )


def test_scores_are_those_of_the_module(audited, images):
    found, module = audited
    detector = assay.load(found.model, store=found.store)
    batch = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(detector(batch), module.eval()(batch))
    module.train()


def test_another_process_says_that_the_module_is_gone(audited):
    found, _ = audited
    code = f"import assay; assay.load({found.model!r}, store={found.store.root!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "was an object in the memory of a process that has ended" in done.stderr


def test_tables_of_an_audit(audited):
    found, _ = audited
    metrics = found.to_pandas()
    assert isinstance(metrics, pd.DataFrame)
    assert {"attack", "norm", "epsilon", "metric", "value", "lower", "upper"} <= set(metrics.columns)
    scores = found.to_arrow("scores")
    assert scores.num_rows == sum(len(entry.get("epsilons", [0.1, 0.3])) for entry in toy_audit.SUITE["attacks"]) * len(
        set(scores["sample"].to_pylist())
    )
    assert found.to_arrow("corrupted").num_rows == 0
    with pytest.raises(InputError, match="table 'socres' is not known; there is: metrics"):
        found.to_arrow("socres")


def test_an_audit_shows_itself(audited):
    html = audited[0]._repr_html_()
    assert "<svg" in html
    assert "<script" not in html


def test_a_second_audit_by_the_same_module_goes_on_and_prints_nothing(audited, images, capfd):
    found, module = audited
    progress = []
    again = assay.audit(
        module,
        toy_audit.SUITE,
        dataset=images,
        threshold={"false_alarm_rate": 0.2},
        store=found.store,
        on_progress=progress.append,
    )
    assert again.id == found.id
    assert {one.seconds for one in progress if not one.work.startswith("check ")} == {0.0}
    assert capfd.readouterr() == ("", "")


def test_a_module_cannot_be_sent_to_workers(images, tmp_path):
    with pytest.raises(InputError, match="in memory is audited in this process"):
        assay.audit(nn.Flatten(), toy_audit.SUITE, dataset=images, threshold=0.5, workers=2, store=tmp_path / "s")


def test_the_command_line_and_the_api_see_the_same(audited):
    found, _ = audited
    result = CliRunner().invoke(main, ["models", "--json", "--store", found.store.root])
    assert result.exit_code == 0, result.output
    assert found.model in result.output


def test_a_sweep_in_python(tmp_path, images, own_cache, capfd):
    space = {
        "name": "notebook",
        "trainable": "neighbours",
        "dataset": images,
        "fixed": {"backbone": {"pixels": {"side": 8}}},
        "space": {"k": {"integer": [1, 5]}},
        "evaluation": {"attack": "pgd", "epsilon": "1/255", "steps": 2},
        "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
        "search": {"sampler": "random", "trials": 3},
        "tracking": {"wandb": False},
    }
    events = []
    store = tmp_path / "store"
    found = assay.sweep(space, store=store, on_progress=lambda record, event: events.append((record.number, event)))
    assert capfd.readouterr().out == ""
    assert found.states == {"complete": 3}
    assert {number for number, _ in events} == {0, 1, 2}
    assert found.spent.cpu_hours > 0
    assert found.best in found.pareto
    opened = assay.open_sweep("notebook", store=store)
    assert [trial.number for trial in opened.trials] == [0, 1, 2]
    assert opened.best.number == found.best.number
    frame = opened.to_pandas()
    assert np.isclose(frame["objective.clean_auroc"].max(), max(t.objectives["clean_auroc"] for t in found.trials))
    assert "<svg" in found._repr_html_()
    again = assay.sweep(resume="notebook", store=store, budget=["wall_minutes=60"])
    assert again.states == {"complete": 3}
    with pytest.raises(AssayError, match="sweep 'notebook' exists"):
        assay.sweep(space, store=store)
    with pytest.raises(UnknownName):
        assay.load("notebooks:best", store=store)
