"""Sweeps on Ray, run by the command line in a process of their own: killed, stopped, broken, resumed.

What an uninterrupted sweep would have found is computed without Ray, one trial after another in this process.
"""

from __future__ import annotations

import os
import shutil
import signal
import time

import pyarrow.parquet as pq
import pytest
import toy_runs
from click.testing import CliRunner
from sweep_process import PATIENCE, Sweep, figures, outcome, wait_for, without_ray

from assay.cli import main
from assay.data import splits
from assay.models import model_folder
from assay.store import references, schemas, trial_log
from assay.store.store import Store
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial, TrialConfig


def listed(store: Store) -> str:
    """What `assay trials` prints."""
    words = ["trials", "toy", "--store", str(store.root)]
    return CliRunner().invoke(main, words, env={"COLUMNS": "200"}).output


@pytest.fixture
def sweep(tmp_path, own_cache):
    found = Sweep(tmp_path)
    yield found
    assert not found.running()


def test_a_sweep_of_a_users_own_trainable_survives_what_single_trials_do(sweep, monkeypatch):
    """Own module in the working folder, two trials at a time: they complete, break, diverge, die and eat all memory."""
    shutil.copy(toy_runs.__file__, sweep.folder / "own_runs.py")
    monkeypatch.syspath_prepend(str(sweep.folder))
    troubles = ["none", "error", "nan_loss", "nan_score", "dies_once", "dies", "hungry"]
    found = sweep.write(
        space={"trouble": {"choice": troubles}, "learning_rate": {"uniform": [0.01, 0.01]}},
        search={"sampler": "grid", "trials": 20, "seed": 0},
        resources={"cpu": 0.5, "concurrent": 2},
        retries=1,
    )
    raw = (sweep.folder / "toy.yaml").read_text().replace("toy_runs:", "own_runs:")
    (sweep.folder / "toy.yaml").write_text(raw)
    code, output = sweep.run("toy.yaml", path=False)
    assert code == 0, output
    assert "sweep toy: " in output
    assert "failed (bug: an error in the code" in output
    assert "RuntimeError: the wheel [/came] off" in output

    records = {r.parameters["trouble"]: r for r in trial_log.records(sweep.events()).values()}
    assert {name: (r.state, r.failure) for name, r in records.items()} == {
        "none": ("complete", ""),
        "error": ("failed", "bug"),
        "nan_loss": ("failed", "diverged"),
        "nan_score": ("failed", "diverged"),
        "dies_once": ("complete", ""),
        "dies": ("failed", "worker"),
        "hungry": ("failed", "host_memory"),
    }
    assert records["dies_once"].retried == records["dies"].retried == ["worker"]
    assert records["hungry"].retried == ["host_memory"], "once more, then a clear end"
    assert "failed (host_memory: out of host memory: run fewer trials" in output
    assert "own_runs.py" in records["error"].message
    again, plain = records["dies_once"], found.plain()
    assert [report["attempts"] for report in again.reports] == [1, 2, 2, 2]
    order = TrialConfig(
        sweep="toy",
        number=again.number,
        seed=again.reports[0]["seed"],
        config=found.config(again.assignment),
        **{key: plain[key] for key in ("trainable", "dataset", "evaluation", "objectives")},
    )
    training = splits.training_data(found.dataset.function(**found.dataset.arguments()))
    alone = Trial(order, training, Store(sweep.folder / "alone"))
    assert [figures(report) for report in again.reports] == [figures(alone.step()) for _ in range(4)]

    table = pq.read_table(sweep.store.path("sweeps/toy/trials.parquet"))
    fixed = [name for name, _ in schemas.TRIALS]
    assert table.column_names == [
        *fixed,
        *(f"{figure}.{name}" for figure in ("lower", "objective") for name in ("clean_auroc", "robust_auroc")),
        "parameter.learning_rate",
        "parameter.trouble",
        "retried",
        "upper.clean_auroc",
        "upper.robust_auroc",
    ]
    rows = {row["parameter.trouble"]: row for row in table.to_pylist()}
    assert (rows["dies_once"]["attempts"], rows["dies_once"]["retried"]) == (2, "worker")
    assert (rows["hungry"]["attempts"], rows["hungry"]["retried"]) == (2, "host_memory")
    assert f"trial {records['dies_once'].number}:" in listed(sweep.store)
    assert "begun 2 times (lost: worker)" in listed(sweep.store)
    assert (rows["none"]["epochs"], rows["none"]["state"]) == (4, "complete")
    assert rows["nan_loss"]["model"] == ""
    [best] = references.models(sweep.store, "toy:best")
    assert best in {rows["none"]["model"], rows["dies_once"]["model"]}
    assert model_folder.read_manifest(sweep.store, best)["trainable"] == "own_runs:Runs"
    outside = sorted(records[trouble].number for trouble in ("dies", "hungry"))  # a resume goes on with them
    assert sweep.store.names("sweeps/toy/checkpoints") == [f"trial-{number:05d}.pt" for number in outside]


def test_a_driver_killed_in_the_middle_and_resumed_finds_what_it_would_have_found(sweep):
    found = sweep.write(stop_early={"grace": 2, "reduction": 2}, fixed={"pause": 0.1})
    expected = outcome(without_ray(found, Store(sweep.folder / "whole")).records)
    process = sweep.start("toy.yaml")
    wait_for(lambda: sweep.reports() >= 6 or process.poll() is not None, "six reports")
    process.kill()
    assert sweep.end(process)[0] == -signal.SIGKILL
    assert sweep.outcome() != expected
    code, output = sweep.run("--resume", "toy")
    assert code == 0, output
    assert sweep.outcome() == expected
    assert sweep.store.names("sweeps/toy/log") == ["0000.jsonl", "0001.jsonl"]


@pytest.mark.parametrize(("send", "number", "ends"), [(os.killpg, signal.SIGINT, 130), (os.kill, signal.SIGTERM, 143)])
def test_a_signal_ends_a_sweep_in_order_and_a_resume_finishes_it(sweep, send, number, ends):
    """Ctrl-C as a terminal sends it, to all processes; SIGTERM to the driver alone."""
    found = sweep.write(fixed={"pause": 0.3}, search={"trials": 3, "startup": 2})
    expected = outcome(without_ray(found, Store(sweep.folder / "whole")).records)
    process = sweep.start("toy.yaml")
    wait_for(lambda: sweep.reports() >= 2 or process.poll() is not None, "two reports")
    pressed = time.monotonic()
    send(process.pid, number)
    code, output = sweep.end(process)
    assert code == ends, output
    assert "SIGTERM" not in output, "Ray's own account of it"
    assert time.monotonic() - pressed < PATIENCE / 2
    assert f"stopped early; go on with: assay sweep --resume toy --store {sweep.store.root}" in output
    assert "running" in {record.state for record in trial_log.records(sweep.events()).values()}
    assert sweep.events()[-1]["event"] == "spent", "the last note"
    assert sweep.store.exists("sweeps/toy/trials.parquet")
    code, output = sweep.run("--resume", "toy")
    assert code == 0, output
    assert sweep.outcome() == expected


def test_the_wall_time_budget_ends_a_sweep_which_can_be_resumed(sweep):
    found = sweep.write(fixed={"pause": 0.01, "epochs": 300}, budget={"wall_minutes": 0.05}, search={"trials": 2})
    code, output = sweep.run("toy.yaml")
    assert code == 0, output
    assert "stopped early; go on with" in output
    before = sweep.reports()
    assert before < 600
    short = [event for event in sweep.events() if event["event"] == "report"]
    study = Study(found, sweep.store)
    assert study.remaining == 2
    order = study.next_order()
    training = splits.training_data(found.dataset.function(**found.dataset.arguments()))
    again = Trial(order, training, sweep.store)
    if short:
        assert again.step()["epoch"] >= short[-1]["epoch"]
    study.log.close()


def test_a_sweep_in_which_all_trials_fail_says_why(sweep):
    sweep.write(fixed={"trouble": "nan_loss"}, search={"trials": 2})
    code, output = sweep.run("toy.yaml")
    assert code == 1, output
    assert "failed (diverged: a loss, score or figure became NaN" in output
    assert f"Error: no trial of sweep 'toy' completed; see `assay trials toy --store {sweep.store.root}`" in output
    assert sweep.store.names("models") == []


def test_a_demand_that_cannot_be_met_is_refused_and_takes_no_name(sweep):
    sweep.write(resources={"memory_gb": 100000})
    code, output = sweep.run("toy.yaml")
    assert code == 1, output
    assert "a trial needs 100000 memory_gb and the cluster has" in output
    assert "lower resources.memory_gb" in output
    assert sweep.store.names("sweeps") == []


def test_an_error_of_the_store_ends_the_sweep_in_words(sweep):
    sweep.write()
    code = (
        "import errno, os\n"
        "from assay.store import trial_log\n"
        "from assay.cli import main\n"
        "append, count = trial_log.TrialLog.append, iter(range(99))\n"
        "def full(log, event):\n"
        "    if 'assay-probe-' in str(log.store.root): return append(log, event)\n"  # not the sweep's own
        "    with log.store.explain(log.folder):\n"
        "        if next(count) >= 4: raise OSError(errno.ENOSPC, 'full')\n"
        "    append(log, event)\n"
        "trial_log.TrialLog.append = full\n"
        "main()\n"
    )
    ended, output = sweep.run("toy.yaml", code=code)
    assert ended == 1, output
    assert "no space left on the disk; free some and run the same command again" in output
    assert len(sweep.events()) == 4
