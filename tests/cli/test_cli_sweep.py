"""`assay sweep` and `assay trials`, all that needs no Ray: what is refused, what a dry run says, what a list shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import toy_runs
import yaml
from PIL import Image

from assay.config import reader, search_space
from assay.data import splits
from assay.metrics.detection import auroc
from assay.store import trial_log
from assay.store.store import Store
from assay.store.trial_log import Record
from assay.sweeps import progress
from assay.sweeps.budget import Meter, Spent
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial

ASSAY = str(Path(sys.executable).with_name("assay"))


def write(tmp_path, **changes) -> search_space.Spec:
    raw = toy_runs.search_space(tmp_path, **changes)
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(raw))
    return reader.read(tmp_path / "toy.yaml")


def made(tmp_path, found: search_space.Spec, trials: int = 99) -> Study:
    """A sweep of the store, run without Ray, of which so many trials have ended and one more has begun."""
    store = Store(tmp_path / "store")
    store.write("sweeps/toy/spec.yaml", yaml.safe_dump(found.plain()).encode())
    training, study = splits.training_data(found.dataset.function(**found.dataset.arguments())), Study(found, store)
    study.log.append({"event": "start", "dataset": training.description["hash"]})
    while order := study.next_order():
        running = Trial(order, training, store)
        while not study.report(order.number, running.step()) and order.number < trials:
            pass
        if order.number >= trials:
            break
    study.log.close()
    return study


UNKNOWN = "sweep 'toy' is not known; the store {store} has none; --store or ASSAY_STORE names another"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give a search-space FILE, or --resume NAME"),
        (("a.yaml", "--resume", "toy"), UNKNOWN),
        (("--resume", "toy", "--set", "name=x"), "a sweep is resumed as it was started"),
        (("a.yaml", "--json"), "--json goes with --dry-run"),
        (("no.yaml",), "no.yaml"),
        (("--resume", "toy"), UNKNOWN),
        (("--resume", "../../toy"), "points outside the store"),
    ],
)
def test_what_was_written_wrongly_is_said_and_nothing_is_made(assay, tmp_path, arguments, words):
    result = assay("sweep", *arguments)
    assert result.exit_code == 2, result.output
    assert words.format(store=tmp_path / "store") in result.stderr
    assert not (tmp_path / "store").exists()


def test_faults_of_the_file_come_before_anything_else(assay, tmp_path):
    raw = toy_runs.search_space(tmp_path, fixed={"epoch": 3}, search={"trials": 0})
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(raw))
    result = assay("sweep", str(tmp_path / "toy.yaml"))
    assert result.exit_code == 2
    assert "2 faults" in result.stderr
    assert not (tmp_path / "squares").exists()


def test_a_name_that_is_taken_is_refused(assay, tmp_path):
    made(tmp_path, write(tmp_path), trials=0)
    before = Store(tmp_path / "store").read("sweeps/toy/log/0000.jsonl")
    result = assay("sweep", str(tmp_path / "toy.yaml"))
    assert result.exit_code == 1
    assert "sweep 'toy' exists in" in result.stderr
    assert "continue it with `assay sweep --resume toy`" in result.stderr
    assert Store(tmp_path / "store").read("sweeps/toy/log/0000.jsonl") == before


def test_an_unknown_name_to_resume_gets_a_suggestion(assay, tmp_path):
    made(tmp_path, write(tmp_path), trials=0)
    result = assay("sweep", "--resume", "tyo")
    assert result.exit_code == 2
    assert "sweep 'tyo' is not known (did you mean 'toy'?); available: toy" in result.stderr


def test_a_sweep_that_is_running_is_not_resumed_beside_itself(assay, tmp_path):
    made(tmp_path, write(tmp_path), trials=0)
    with Store(tmp_path / "store").locked("sweeps/.toy.lock", "the test"):
        result = assay("sweep", "--resume", "toy")
    assert result.exit_code == 1
    assert "sweep 'toy' is running in" in result.stderr


def test_a_sweep_is_not_resumed_on_other_images(assay, tmp_path):
    made(tmp_path, write(tmp_path), trials=0)
    Image.new("L", (16, 16)).save(tmp_path / "squares" / "train" / "0-0.png")
    result = assay("sweep", "--resume", "toy")
    assert result.exit_code == 1
    assert "images of dataset 'squares' are not those that sweep 'toy' was started on" in result.stderr


def test_resuming_a_sweep_that_has_ended_starts_nothing_and_shows_it(assay, tmp_path):
    made(tmp_path, write(tmp_path))
    result = assay("sweep", "--resume", "toy")
    assert result.exit_code == 0, result.output
    assert "sweep toy: 4 complete in" in result.stdout
    assert "best: trial" in result.stdout
    assert Store(tmp_path / "store").exists("sweeps/toy/trials.parquet")


def test_trials_lists_what_the_log_holds_of_a_running_sweep(assay, tmp_path):
    study = made(tmp_path, write(tmp_path), trials=2)
    study.end(2, "failed", "bug", "RuntimeError: it [/broke]\nTraceback")
    study.next_order()
    study.began(3)
    study.log.close()
    result = assay("trials", "toy")
    assert result.exit_code == 0, result.output
    assert "trials of toy (validation split)" in result.stdout
    assert "failed (bug)" in result.stdout
    assert "trial 0: toy_runs:Runs, learning_rate=" in result.stdout
    assert "training since" in result.stdout
    assert time.strftime("%m-%d ") in result.stdout
    assert re.search(r"\[\d?\.\d{3}, \d?\.\d{3}\]", result.stdout)
    assert "…" not in result.stdout  # 80 columns hold it
    assert "complete *" in result.stdout
    rows = json.loads(assay("trials", "toy", "--json").stdout)
    assert [row["trial"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["lower.clean_auroc"] < rows[0]["objective.clean_auroc"] <= rows[0]["upper.clean_auroc"]
    assert rows[0]["detector"] == "toy_runs:Runs"
    scores = pd.read_parquet(tmp_path / "store" / "sweeps" / "toy" / "scores" / "trial-00000.parquet")
    assert auroc(scores["label"], scores["adversarial_score"]) == rows[0]["objective.robust_auroc"]
    assert (rows[2]["state"], rows[2]["failure"], rows[2]["epochs"]) == ("failed", "bug", 1)
    assert rows[0]["parameters"].keys() <= {"learning_rate", "pseudo_anomaly", "pseudo_anomaly.cutpaste.area"}
    assert rows[0]["config"]["epochs"] == 4
    front = json.loads(assay("trials", "toy", "--json", "--pareto").stdout)
    assert front == [row for row in rows if row["pareto"]]
    assert front
    assert "Pareto front of toy" in assay("trials", "toy", "--pareto").stdout


def test_trials_are_listed_without_pytorch_and_without_the_code_of_what_was_trained(assay, tmp_path):
    made(tmp_path, write(tmp_path), trials=2)
    stored = tmp_path / "store" / "sweeps" / "toy" / "spec.yaml"
    raw = yaml.safe_load(stored.read_text())
    stored.write_text(yaml.safe_dump(raw | {"trainable": "nobody_has_this:Trainable"}))
    run = "from assay.cli import main; main(sys.argv[1:], standalone_mode=False)"
    code = f"import sys; {run}; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "trials", "toy", "--store", str(tmp_path / "store")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=tmp_path).stdout
    assert "complete" in told
    assert told.endswith("False\n")
    assert "'nobody_has_this:Trainable' cannot be imported" in assay("trials", "toy", "--json").stderr


def test_trials_before_the_first_report(assay, tmp_path):
    found = write(tmp_path)
    study = Study(found, Store(tmp_path / "store"))
    study.store.write("sweeps/toy/spec.yaml", yaml.safe_dump(found.plain()).encode())
    study.next_order()
    study.log.close()
    assert "waiting" in assay("trials", "toy").stdout
    [row] = json.loads(assay("trials", "toy", "--json").stdout)
    assert (row["objective.clean_auroc"], row["model"], row["state"]) == (None, "", "running")
    assert assay("trials", "tyo").exit_code == 2


def test_a_damaged_log_is_an_error_in_a_line(assay, tmp_path):
    study = made(tmp_path, write(tmp_path), trials=1)
    whole = study.store.read("sweeps/toy/log/0000.jsonl")
    study.store.write("sweeps/toy/log/0000.jsonl", whole[10:])
    result = assay("trials", "toy")
    assert result.exit_code == 1
    assert "0000.jsonl line 1 is damaged" in result.stderr
    assert trial_log.read(Store(tmp_path / "elsewhere"), "toy") == []


def test_a_users_own_trainable_is_found_where_the_command_is_given_and_beside_the_file(tmp_path):
    shutil.copy(toy_runs.__file__, tmp_path / "own_runs.py")
    raw = toy_runs.search_space(tmp_path)
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(raw).replace("toy_runs:", "own_runs:"))
    run = subprocess.run([ASSAY, "validate", "toy.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    other = tmp_path / "other"
    other.mkdir()
    run = subprocess.run([ASSAY, "validate", "../toy.yaml"], cwd=other, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    shutil.move(tmp_path / "toy.yaml", other / "toy.yaml")
    run = subprocess.run([ASSAY, "validate", "toy.yaml"], cwd=other, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "'own_runs:Runs' cannot be imported" in run.stdout


def test_a_sweep_with_a_module_beside_its_file_is_resumed_from_another_folder(tmp_path, own_cache):
    shutil.copy(toy_runs.__file__, tmp_path / "own_runs.py")
    made(tmp_path, write(tmp_path))
    for place in (tmp_path / "toy.yaml", tmp_path / "store/sweeps/toy/spec.yaml"):
        place.write_text(place.read_text().replace("toy_runs:Runs", "own_runs:Runs"))
    other = tmp_path / "other"
    other.mkdir()

    def run(*arguments: str):
        command = [ASSAY, "sweep", *arguments, "--resume", "toy", "--store", "../store"]
        return subprocess.run(command, cwd=other, capture_output=True, text=True, check=False, env=environment)

    environment = {**os.environ, "PYTHONPATH": str(Path(toy_runs.__file__).parent)}  # the data set of the test
    refused = run()
    assert refused.returncode == 2
    assert "No module named 'own_runs'" in refused.stderr
    assert "give that, too: assay sweep FILE --resume toy" in refused.stderr
    done = run("../toy.yaml")
    assert done.returncode == 0, done.stderr
    assert "sweep toy: 4 complete in" in done.stdout


def test_the_file_given_with_resume_is_that_of_the_sweep(assay, tmp_path):
    raw = toy_runs.search_space(tmp_path, search={"trials": 3})
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(raw))
    made(tmp_path, write(tmp_path))
    result = assay("sweep", str(tmp_path / "other.yaml"), "--resume", "toy", "--set", "purpose.intended_use=cells")
    assert result.exit_code == 1
    assert "sweep 'toy' cannot be resumed with these changes: purpose differs; search.startup differs" in result.stderr
    assert "search.trials is 3, fewer than the 4 of" in result.stderr
    assert "other.yaml as it was" in result.stderr
    result = assay("sweep", str(tmp_path / "toy.yaml"), "--resume", "toy", "--set", "budget.wall_minutes=60")
    assert result.exit_code == 0, result.output  # a budget may be another one


def test_events_of_a_sweep_in_a_line_each():
    record = Record(7, {}, {}, {})
    assert progress.line(record, "ask", 1.5) == "    1.5 s  trial   7  waits for a worker"
    record.apply({"event": "begin", "trial": 7})
    assert progress.line(record, "begin", 1.6) == "    1.6 s  trial   7  trains"
    values = {"clean_auroc": 0.8}
    report = {"event": "report", "epoch": 1, "epochs": 4, "values": values, "kept": {"epoch": 1, **values}}
    measured = Record(7, {}, {}, {}, reports=[{**report, "intervals": {"clean_auroc": [0.7, 0.9]}}])
    said = "    1.7 s  trial   7  epoch 1/4  clean_auroc 0.800 [0.700, 0.900]"
    assert progress.line(measured, "report", 1.7) == said
    record.apply({"event": "retry", "failure": "node", "message": "gone"})
    assert progress.line(record, "retry", 2) == "    2.0 s  trial   7  continues from its last saved state (node)"
    record.apply({"event": "end", "state": "failed", "failure": "bug", "message": "RuntimeError: no\nTraceback"})
    assert progress.line(record, "end", 3) == "    3.0 s  trial   7  failed  bug: RuntimeError: no"


def test_the_table_shows_detectors_intervals_and_since_when_a_trial_trains(tmp_path):
    found = write(tmp_path)
    waits, trains = Record(0, {}, {}, {}), Record(1, {}, {}, {})
    trains.apply({"event": "begin", "trial": 1, "at": 0.0})
    values = {"clean_auroc": 0.8, "robust_auroc": 0.4}
    report = {"event": "report", "epoch": 1, "epochs": 4, "values": values, "kept": {"epoch": 1, **values}}
    trains.apply({**report, "intervals": {"clean_auroc": [0.7, 0.9], "robust_auroc": [0.3, 0.5]}})
    shown = progress.table(found, {0: waits, 1: trains}, 3.0)
    cells = {column.header: list(column.cells) for column in shown.columns}
    assert cells["detector"] == ["toy_runs:Runs"] * 2
    assert cells["state"] == ["waiting", f"training since {time.strftime('%H:%M', time.localtime(0))}"]
    assert cells["clean_auroc"] == ["", "0.800 [0.700, 0.900]"]


def test_the_table_of_a_sweep_says_what_was_spent(tmp_path):
    found = write(tmp_path, budget={"price": {"cpu_hour": 2}})
    shown = progress.table(found, {}, 3.0, Meter(found.budget, Spent(cpu_hours=1.5)))
    assert shown.caption == "spent: 1.50 CPU-hours, 3.00 USD"


def test_what_lies_where_the_command_is_given_hides_no_library(tmp_path):
    (tmp_path / "yaml.py").write_text("raise SystemExit('the wrong yaml')")
    run = subprocess.run([ASSAY, "ls", "attacks"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_trials_say_what_a_sweep_taught(assay, tmp_path):
    made(tmp_path, write(tmp_path))
    told = assay("trials", "toy", "--advice")
    assert told.exit_code == 0, told.output
    assert told.stdout == (
        "too few complete trials to say anything: 8 are needed, and 20 for the importance of parameters\n"
    )
    log = tmp_path / "store" / "sweeps" / "toy" / "log" / "0000.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    of_first = [event for event in events if event.get("trial") == 0]
    with log.open("a") as file:
        for number in range(4, 9):
            file.writelines(json.dumps({**event, "trial": number}) + "\n" for event in of_first)
    told = assay("trials", "toy", "--advice")
    assert told.exit_code == 0, told.output
    assert "next: " in told.stdout
