"""A sweep as a study of Optuna."""

from __future__ import annotations

import optuna
import pytest
import yaml
from click.testing import CliRunner
from pretend import Pretend, drive, search_space

from assay.cli import main
from assay.errors import InputError
from assay.store.store import Store
from assay.sweeps.study import Study
from assay.tracking import optuna_study


def test_a_sweep_is_a_study_that_optuna_reads_and_is_written_anew_each_time(tmp_path):
    found, store, url = search_space(tmp_path), Store(tmp_path / "store"), f"sqlite:///{tmp_path}/x.db"
    store.write("sweeps/toy/spec.yaml", yaml.safe_dump(found.plain()).encode())
    study = drive(Study(found, store), Pretend(fails=(2,)))
    for _ in range(2):
        told = CliRunner().invoke(main, ["trials", "toy", "--store", str(store.root), "--optuna", url])
        assert told.exit_code == 0, told.output
        assert told.stdout == f"8 trials written as study 'toy'; look at them with: optuna-dashboard {url}\n"
    read = optuna.load_study(study_name="toy", storage=url)
    assert read.metric_names == ["clean_auroc", "robust_auroc"]
    assert [trial.state.name for trial in read.trials].count("FAIL") == 1
    for trial, record in zip(read.trials, study.records.values(), strict=True):
        assert trial.params == record.parameters
        assert trial.values == (None if record.state == "failed" else list(record.values(found.directions).values()))


def test_a_storage_that_cannot_be_written_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot write to nosuch://x"):
        optuna_study.write(search_space(tmp_path), {}, "nosuch://x")
